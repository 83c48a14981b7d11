"""The grokking family: a two-layer network of quadratic neurons whose samples are learned long before their rule.

    x ~ N(0, I / D)        y = (beta . x)^2 / 2, |beta|^2 = D        phi(h) = h + eps h^2 / 2
    f(x) = (alpha / N) sum over neurons of phi(w . x) - phi(w(0) . x), w(0) ~ N(0, I)
    dw/dt = -(N / alpha^2) d/dw of half the mean squared error of P samples; no weight decay

The output scale alpha is how lazy training is: the tangent kernel is O(1) whatever it is, neurons move as 1 / alpha.
eps is how much of the initial kernel x.x' + eps^2 (x.x')^2 is of the target's kind. Time is eta a step.

Runs are computed one by one, so their bits depend on no other run. `isoflop.lakehouse.models.grokking` has what a run
draws and what is measured.

Source: Kumar et al. 2024 (arXiv:2310.06110).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from isoflop.lakehouse.models.counts import Counts
from isoflop.lakehouse.models.grokking import WEIGHTS, draw_neurons, draw_task, measures, neurons_of, population_loss
from isoflop.lakehouse.models.runge_kutta import stepped
from isoflop.workers.components import AnyDescent, GradientDescent, GradientFlow, Scalar
from isoflop.workers.devices import Device
from isoflop.workers.families.one_by_one import OneByOne
from isoflop.workers.families.packed import PackedExperiment, Program
from isoflop.workers.families.refusal import wrong_field

LEARNED = 0.05  # of the loss before training; below it samples, or their rule, are learned
WATCHED_PER_OCTAVE = 64  # steps at which that is looked for, all of the first ones: times are right to 1 in 64
MOST_ENTRIES = 2**27  # of weights, samples and their products: 1 GiB, and a few times that in a step
BYTES = 8  # of a float64
CROSSINGS = ("t_train", "test_ratio_at_t_train", "alignment_at_t_train", "t_test", "alignment_at_t_test")

Floats = NDArray[np.float64]


class Grokking(PackedExperiment):
    """Two-layer quadratic networks from lazy (a large `output_scale`) to rich, on samples of a quadratic rule.

    `loss` is the exact test loss, `train_loss` that of the samples, both mean squared errors. `alignment` says how far
    neurons point along the rule, `kernel_alignment` how much of the tangent kernel on the samples is the labels',
    `weight_norm` the mean square of weights.

    `results` has the times `t_train` and `t_test` at which train and test loss fell below 5 per cent of what they were
    at first, their ratio `gap`, and at these times the alignments and the part of the test loss that was left; what was
    not reached is not there. Weight decay is zero, and the config says so. Runs of one shape and length train in one
    program.
    """

    name: ClassVar[str] = "grokking"
    example: ClassVar[Mapping[str, object]] = {
        "dimension": 8, "width": 20, "samples": 50, "output_scale": 2.0, "epsilon": 0.5, "learning_rate": 1.0,
        "steps": 200,
    }  # fmt: skip
    length_settings: ClassVar[tuple[str, ...]] = ("steps",)

    steps: int = Field(gt=0, description="updates of all weights")
    dimension: int = Field(ge=1, description="D, of the inputs")
    width: int = Field(ge=1, description="N, neurons")
    samples: int = Field(ge=1, description="P; a quadratic form with a linear term has D (D + 3) / 2 numbers")
    output_scale: float = Field(default=1.0, gt=0, description="alpha; large is lazy, small learns features")
    epsilon: float = Field(gt=0, description="eps of phi, by which the initial kernel is aligned with the rule")
    paired: bool = Field(
        default=False, description="whether neurons begin as w and -w: their mean is 0, as if N were infinite"
    )
    optimizer: AnyDescent = Field(default_factory=GradientDescent, description="steps of descent, or the flow")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.paired and self.width % 2:
            raise wrong_field("width", f"is {self.width}; paired neurons come in twos, so give an even number")
        entries = (self.width + self.samples) * self.dimension + self.width * self.samples + self.samples**2
        if entries > MOST_ENTRIES:
            size = f"weights, samples and their products have {entries:.2g} entries, {BYTES * entries / 2**30:.3g} GiB"
            raise wrong_field("samples", f"is {self.samples}: {size}; at most 1")
        return self

    @property
    def length(self) -> int:
        """The updates of the run."""
        return self.steps

    def config(self) -> dict[str, Scalar]:
        """Return the settings as scalars; that there is no weight decay is one of them."""
        return {**super().config(), "weight_decay": 0.0}

    def metrics(self) -> Mapping[str, str]:
        """Return losses, in units of the target squared, which has none, and what was learned."""
        return {"loss": "1", "train_loss": "1", "alignment": "1", "kernel_alignment": "1", "weight_norm": "1"}

    def counts(self) -> Counts:
        """Return weights, operations and memory; what a step moves in memory is not counted.

        A gradient is a product of all weights with all samples and one back, and six operations at each neuron and
        sample; descent adds two an entry, Runge and Kutta take four gradients and 13 an entry a part of a step.
        """
        params = self.width * self.dimension
        gradient = 4 * params * self.samples + 6 * self.width * self.samples
        flow = self.optimizer if isinstance(self.optimizer, GradientFlow) else None
        return Counts(
            params=params,
            params_non_embedding=params,
            flops_per_step=gradient + 2 * params if flow is None else flow.substeps * (4 * gradient + 13 * params),
            memory_bytes=BYTES * (2 * params + self.samples * (self.dimension + 3 * self.width)),
        )

    def extra(self) -> dict[str, Scalar]:
        """Return the time of the whole run, eta times steps."""
        return {**super().extra(), "time": self.optimizer.learning_rate * self.steps}

    def pack_key(self) -> Hashable:
        """Runs whose arrays have one shape and one length go together."""
        return (self.name, self.dimension, self.width, self.samples, self.steps)

    @classmethod
    def program(cls, runs: Sequence[Self], device: Device) -> Program:
        """Return the program that advances these runs together, on a core."""
        return OneByOne([_Network(run) for run in runs], runs[0].metrics())


class _Network:
    """One run: w (N, D)."""

    def __init__(self, run: Grokking) -> None:
        self._run, self.step = run, 0
        self._task = draw_task(run.dimension, run.samples, run.seed)
        self.weights = draw_neurons(run.dimension, run.width, run.paired, np.random.default_rng([run.seed, WEIGHTS]))
        self._first = neurons_of(self.weights)
        self._before = self._outputs(self._task.inputs @ self.weights.T)
        self._initial = self._losses()
        self.crossings = dict.fromkeys(CROSSINGS, math.nan)

    def advance(self) -> None:
        """Take one step, and look whether something was learned."""
        optimizer = self._run.optimizer
        substeps = optimizer.substeps if isinstance(optimizer, GradientFlow) else None
        self.weights = stepped(self.weights, self._velocity, optimizer.learning_rate, substeps)
        self.step += 1
        if self.step % max(1, 2 ** self.step.bit_length() // (2 * WATCHED_PER_OCTAVE)) == 0:
            self._watch()

    def measure(self) -> dict[str, float]:
        """Return losses and what was learned."""
        run = self._run
        now = neurons_of(self.weights)
        train_loss, _ = self._losses()
        return {"train_loss": train_loss, **measures(self._task, now, self._first, run.output_scale, run.epsilon)}

    def state(self) -> dict[str, Any]:
        """Return the weights, and when what was learned."""
        return {
            "weights": self.weights.copy(),
            "crossings": np.array([self.crossings[name] for name in CROSSINGS]),
        }

    def restore(self, step: int, state: Mapping[str, Any]) -> None:
        """Continue from weights after some steps."""
        self.step, self.weights = step, np.array(state["weights"])
        self.crossings = dict(zip(CROSSINGS, np.asarray(state["crossings"]).tolist(), strict=True))

    def results(self) -> dict[str, float]:
        """Return when samples and rule were learned, and what was so then."""
        reached = {name: value for name, value in self.crossings.items() if not math.isnan(value)}
        if "t_train" in reached and "t_test" in reached:
            reached["gap"] = reached["t_test"] / reached["t_train"]
        return reached

    def _watch(self) -> None:
        """Write down the time at which a loss has fallen so far for the first time."""
        if not math.isnan(self.crossings["t_test"]) and not math.isnan(self.crossings["t_train"]):
            return
        time = self.step * self._run.optimizer.learning_rate
        train_loss, loss = self._losses()
        for name, now, first in (("train", train_loss, self._initial[0]), ("test", loss, self._initial[1])):
            if math.isnan(self.crossings[f"t_{name}"]) and now < LEARNED * first:
                self.crossings[f"t_{name}"] = time
                self.crossings[f"alignment_at_t_{name}"] = self.measure()["alignment"]
                if name == "train":
                    self.crossings["test_ratio_at_t_train"] = loss / self._initial[1]

    def _losses(self) -> tuple[float, float]:
        """Train and test loss."""
        run, task = self._run, self._task
        errors = self._outputs(task.inputs @ self.weights.T) - self._before - task.target
        now = neurons_of(self.weights)
        return float(np.mean(errors**2)), population_loss(task, now, self._first, run.output_scale, run.epsilon)

    def _outputs(self, fields: Floats) -> Floats:
        """The outputs (P,) of w . x, (P, N), before those at the beginning are taken off."""
        run = self._run
        total = fields.sum(axis=1) + run.epsilon / 2 * np.einsum("pn,pn->p", fields, fields)
        outputs: Floats = run.output_scale / run.width * total
        return outputs

    def _velocity(self, weights: Floats) -> Floats:
        """How fast weights move, (N, D)."""
        run, inputs = self._run, self._task.inputs
        fields = inputs @ weights.T
        errors = self._outputs(fields) - self._before - self._task.target
        fields *= run.epsilon
        fields += 1
        fields *= errors[:, None] / (-run.output_scale * run.samples)
        return fields.T @ inputs
