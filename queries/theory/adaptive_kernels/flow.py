"""Two-layer networks of infinite width under descent with weight decay: the trajectory of their neurons.

In the limit N -> infinity the law of the neurons moves without chance, each neuron by

    da/dt = gamma sum Delta phi(h) - lambda a        dw/dt = gamma a sum Delta phi'(h) x - lambda w        Delta = y - f

and 4,000 of them, begun in pairs, are the solution of the dynamical field theory. Where they come to rest, a neuron has
a = (gamma / lambda) Delta . phi(w), so f is regression with the kernel of the last features and the ridge lambda; those
that end with a = 0 are dead. How far one network of N neurons is from that is said by smaller systems: their scatter
falls as the root of their size.

Source: Lauditi, Bordelon and Pehlevan 2025 (arXiv:2502.07998); Bordelon and Pehlevan 2022 (arXiv:2205.09653).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoflop.lakehouse.models.mean_field import ACTIVATIONS, DrawnTask
from isoflop.queries.theory.adaptive_kernels.readings import Neurons, error, kernel_facts
from isoflop.queries.theory.adaptive_kernels.saddle import Problem
from isoflop.queries.theory.equivalents import Array

NEURONS = 4000  # of the limit
SMALL, SYSTEMS = 250, 8  # neurons of a smaller system, and how many of these say the scatter, to about a quarter


@dataclass(frozen=True)
class Motion:
    """How time passes in steps.

    Parameters
    ----------
    time : of a step
    substeps : parts of a step, by Runge and Kutta; 0 for an Euler step
    """

    time: float
    substeps: int


@dataclass(frozen=True)
class FlowCurves:
    """Metrics at T steps.

    Parameters
    ----------
    limit : (T,) of each metric, at infinite width
    scatter : (T,) of each metric, the deviation of a network of one neuron by the law of large numbers
    """

    limit: dict[str, Array]
    scatter: dict[str, Array]


def flow_curves(problem: Problem, task: DrawnTask, tests: Array, motion: Motion, at: Array, seed: int) -> FlowCurves:
    """Return the metrics of a two-layer network at some steps.

    Parameters
    ----------
    problem : its ridge is the weight decay lambda
    task : labels and targets of the errors
    tests : (T, D), scaled inputs of the test points
    at : steps, in order
    seed : of the neurons

    Raises
    ------
    ArithmeticError : if the neurons run away, since the steps are too long
    """
    generator = np.random.default_rng(seed)
    curves = []
    for count in (NEURONS, *[SMALL] * SYSTEMS):
        system, rows, step = _System(problem, count, generator), list[dict[str, float]](), 0
        for place in at.tolist():
            with np.errstate(over="ignore", invalid="ignore"):
                system.advance(motion, place - step)
            rows.append(system.read(task, tests))
            step = place
        curves.append({name: np.array([row[name] for row in rows]) for name in rows[0]})
    limit = curves[0]
    scatter = {name: np.std([each[name] for each in curves[1:]], axis=0, ddof=1) * np.sqrt(SMALL) for name in limit}
    return FlowCurves(limit, scatter)


class _System:
    """Some neurons: W (n, D) and a (n,)."""

    def __init__(self, problem: Problem, count: int, generator: np.random.Generator) -> None:
        half = generator.standard_normal((count // 2, problem.inputs.shape[1]))
        readout = generator.standard_normal(count // 2)
        self._problem, self._phi = problem, ACTIVATIONS[problem.activation]
        self._inner, self._outer = np.concatenate([half, half]), np.concatenate([readout, -readout])
        self._first = self._kernel(problem.features(self._inner))

    def advance(self, motion: Motion, num_steps: int) -> None:
        """Take steps."""
        part = motion.time / max(motion.substeps, 1)
        for _ in range(num_steps * max(motion.substeps, 1)):
            inner, outer = self._inner, self._outer
            first = self._speed(inner, outer)
            if not motion.substeps:
                self._inner, self._outer = inner + part * first[0], outer + part * first[1]
                continue
            second = self._speed(inner + part / 2 * first[0], outer + part / 2 * first[1])
            third = self._speed(inner + part / 2 * second[0], outer + part / 2 * second[1])
            fourth = self._speed(inner + part * third[0], outer + part * third[1])
            self._inner, self._outer = (
                begun + part / 6 * (one + 2 * two + 2 * three + four)
                for begun, one, two, three, four in zip((inner, outer), first, second, third, fourth, strict=True)
            )

    def read(self, task: DrawnTask, tests: Array) -> dict[str, float]:
        """Return every metric now."""
        problem, count = self._problem, len(self._outer)
        seen, tested = problem.features(self._inner), problem.features(self._inner, tests)
        kernel, scale = self._kernel(seen), 1 / (problem.richness * count)
        if not (np.isfinite(kernel).all() and np.isfinite(self._outer).all()):
            raise ArithmeticError("the neurons run away: the learning rate is too large for such a richness")
        facts = kernel_facts(Neurons(seen, tested, np.full(count, 1 / count)), task, problem.ridge)
        return {
            "loss": error(self._outer @ tested * scale, task.test_targets),
            "train_loss": error(self._outer @ seen * scale, task.labels),
            **{name: fact.value for name, fact in facts.items()},
            "kernel_change": float(np.linalg.norm(kernel - self._first) / np.linalg.norm(self._first)),
        }

    def _kernel(self, seen: Array) -> Array:
        found: Array = seen.T @ seen / len(seen)
        return found

    def _speed(self, inner: Array, outer: Array) -> tuple[Array, Array]:
        """Velocities of W and a."""
        problem = self._problem
        fields = inner @ problem.inputs.T
        values = self._phi.value(fields)
        pull = problem.richness * (problem.labels - outer @ values / (problem.richness * len(outer)))
        turned = self._phi.slope(fields, values) @ (pull[:, None] * problem.inputs)
        return outer[:, None] * turned - problem.ridge * inner, values @ pull - problem.ridge * outer
