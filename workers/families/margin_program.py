"""Two-layer classifiers that are trained past their last mistake, and what is measured of their hidden layer.

Arrays: P samples or probes, D dimensions, N neurons; labels are 1 and -1. Runs are computed one by one, so their bits
depend on no other run. Every draw, that of a decoder's neurons and noise too, comes from the run's seed and is the same
at every step, so that curves show training alone.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from isoflop.workers.components import Odor, Xor
from isoflop.workers.components.classification import MIXTURE

TASK, WEIGHTS, DECODER = 0, 1, 2  # streams of random numbers of a run
RMS = 2.0  # |x| of an input of xor, so that fields of neurons are of order 1
SATURATED = 0.99  # train accuracy at which behavior is at its ceiling
RELEARNED = 0.9  # train accuracy at which flipped labels are learned
SOFT_FROM = 0.5  # train loss times samples below which the soft margin only grows along the flow
HARDNESS = 1e4  # C of the support vector machine; larger ones settle late and change no digit that is shown
MOST_ITERATIONS = 200_000  # of it, 0.2 s; activity that a plane separates takes a thousand to a hundred thousand
FOLDS = 5
DECODED = (20, 50, 100)  # neurons that a decoder sees, as many as are recorded at once

Floats = NDArray[np.float64]


class MarginRun(Protocol):
    """What the program needs to know of a run; see `isoflop.workers.families.margin_growth`."""

    @property
    def seed(self) -> int:
        """Of everything that is drawn."""

    @property
    def task(self) -> Xor | Odor:
        """What is told apart."""

    @property
    def width(self) -> int:
        """N, neurons."""

    @property
    def samples(self) -> int:
        """P, trained on."""

    @property
    def probes(self) -> int:
        """Not trained on."""

    @property
    def output_scale(self) -> float:
        """Output scale, alpha."""

    @property
    def frozen(self) -> bool:
        """Whether the features stay."""

    @property
    def learning_rate(self) -> float:
        """Rate, eta."""

    @property
    def readout_noise(self) -> float:
        """Of a decoded neuron."""

    @property
    def reversal_steps(self) -> int:
        """At most, with flipped labels."""


@dataclass(frozen=True)
class Trials:
    """Inputs (P, D) with their labels (P,)."""

    inputs: Floats
    labels: Floats


@dataclass(frozen=True)
class Weights:
    """Features w (N, D) and readout a (N,)."""

    features: Floats
    readout: Floats


def draw_trials(task: Xor | Odor, samples: int, probes: int, seed: int) -> tuple[Trials, Trials]:
    """Return what a run is trained on and its probes."""
    generator = np.random.default_rng([seed, TASK])
    if isinstance(task, Xor):
        normal = generator.standard_normal((samples + probes, task.dimension))
        both = Trials(RMS / np.sqrt(task.dimension) * normal, np.where(normal[:, 0] * normal[:, 1] > 0, 1.0, -1.0))
        return Trials(both.inputs[:samples], both.labels[:samples]), Trials(
            both.inputs[samples:], both.labels[samples:]
        )
    patterns = generator.standard_normal((task.molecules, task.dimension)) / np.sqrt(task.dimension)
    order = generator.permutation(task.molecules)
    target, outside = order[:MIXTURE], order[MIXTURE:]
    return _odors(task, patterns, target, outside, samples, generator), _odors(
        task, patterns, target, outside, probes, generator
    )  # fmt: skip


def _odors(
    task: Odor, patterns: Floats, target: NDArray[np.int64], outside: NDArray[np.int64], count: int,
    generator: np.random.Generator,
) -> Trials:  # fmt: skip
    """Return mixtures, one of each class in turn."""
    labels = np.where(np.arange(count) % 2 == 0, 1.0, -1.0)
    mixed = np.empty((count, task.dimension))
    for trial, label in enumerate(labels):
        shared = MIXTURE - 1 if label > 0 else int(generator.integers(2, 4))
        ours = generator.choice(target, shared, replace=False)
        others = generator.choice(outside, MIXTURE - shared, replace=False)
        mixed[trial] = patterns[ours].sum(axis=0) + patterns[others].sum(axis=0)
    noise = task.noise * np.sqrt(MIXTURE / task.dimension) * generator.standard_normal(mixed.shape)
    return Trials((mixed + noise) / np.sqrt(MIXTURE), labels)


def draw_weights(width: int, dimension: int, seed: int) -> Weights:
    """Return weights whose second half takes back what the first half says."""
    generator = np.random.default_rng([seed, WEIGHTS])
    features, readout = generator.standard_normal((width // 2, dimension)), generator.standard_normal(width // 2)
    return Weights(np.concatenate([features, features]), np.concatenate([readout, -readout]))


def representation_margin(activity: Floats, labels: Floats) -> float:
    """Return the margin of a hard linear support vector machine, NaN where it does not settle.

    Parameters
    ----------
    activity : (P, N), which is centered and brought to a mean square norm of 1 first
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import SVC

    machine = SVC(kernel="linear", C=HARDNESS, max_iter=MOST_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine.fit(_standardized(activity), labels)
    return math.nan if machine.fit_status_ else float(1 / np.linalg.norm(machine.coef_))


def separation(activity: Floats, labels: Floats) -> float:
    """Return the squared distance of the means of two classes by the sum of their variances, over all neurons."""
    ours, others = activity[labels > 0], activity[labels < 0]
    apart = ours.mean(axis=0) - others.mean(axis=0)
    return float(apart @ apart / (ours.var(axis=0).sum() + others.var(axis=0).sum()))


def decoding_accuracy(activity: Floats, labels: Floats) -> float:
    """Return the accuracy of linear decoders of activity (P, n), each on a fifth that it was not fitted to."""
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import cross_val_score

    return float(np.mean(cross_val_score(RidgeClassifier(), activity, labels, cv=FOLDS)))


def _standardized(activity: Floats) -> Floats:
    centered = activity - activity.mean(axis=0)
    scaled: Floats = centered / np.sqrt(np.mean(np.sum(centered**2, axis=1)))
    return scaled


class _Descent:
    """Gradient descent of one network on some trials, with what it says of them now."""

    def __init__(self, run: MarginRun, trials: Trials, weights: Weights) -> None:
        self._run, self._trials, self.weights = run, trials, weights
        self._look()

    def _look(self) -> None:
        self._fields = self._trials.inputs @ self.weights.features.T  # (P, N)
        self._activity = np.maximum(self._fields, 0.0)
        outputs = self._run.output_scale / self._run.width * (self._activity @ self.weights.readout)
        self.right: Floats = self._trials.labels * outputs  # y f, (P,)

    @property
    def accuracy(self) -> float:
        """The share of trials on their side; those on the border are not."""
        return float(np.mean(self.right > 0))

    def advance(self) -> None:
        """Take one step."""
        run, labels = self._run, self._trials.labels
        pull = labels * np.exp(-np.logaddexp(0.0, self.right)) / len(labels)  # y / (1 + exp(y f)) / P
        rate = run.learning_rate / run.output_scale
        readout = self.weights.readout + rate * (self._activity.T @ pull)
        features = self.weights.features
        if not run.frozen:
            moved = ((self._fields > 0) * pull[:, None]).T @ self._trials.inputs
            features = features + rate * self.weights.readout[:, None] * moved
        self.weights = Weights(features, readout)
        self._look()


class MarginNetwork:
    """One run."""

    def __init__(self, run: MarginRun) -> None:
        self._run, self._step = run, 0
        self._trials, self._probes = draw_trials(run.task, run.samples, run.probes, run.seed)
        self._descent = _Descent(run, self._trials, draw_weights(run.width, run.task.dimension, run.seed))
        self.saturated: tuple[int, Weights] | None = None  # t99, and the weights then
        generator = np.random.default_rng([run.seed, DECODER])
        self._decoded = [generator.choice(run.width, count, replace=False) for count in DECODED if count <= run.width]
        self._noise = generator.standard_normal((run.probes, run.width))
        self._kept: tuple[Floats, dict[str, float]] | None = None  # features, and what was measured of them

    @property
    def weights(self) -> Weights:
        """The weights now."""
        return self._descent.weights

    def advance(self) -> None:
        """Take one step, and keep the weights where behavior reaches its ceiling."""
        self._descent.advance()
        self._step += 1
        if self.saturated is None and self._descent.accuracy >= SATURATED:
            self.saturated = self._step, self.weights

    def state(self) -> dict[str, Any]:
        """Return the weights, and those at t99."""
        now = {"features": self.weights.features.copy(), "readout": self.weights.readout.copy()}
        if self.saturated is None:
            return now
        t99, then = self.saturated
        return {**now, "t99": np.array(t99), "features_at_t99": then.features, "readout_at_t99": then.readout}

    def restore(self, step: int, state: Mapping[str, Any]) -> None:
        """Continue from weights after some steps."""
        self._step, self.saturated = step, None
        if "t99" in state:
            then = Weights(np.array(state["features_at_t99"]), np.array(state["readout_at_t99"]))
            self.saturated = int(state["t99"]), then
        now = Weights(np.array(state["features"]), np.array(state["readout"]))
        self._descent = _Descent(self._run, self._trials, now)

    def measure(self) -> dict[str, float]:
        """Return every measure now."""
        return self._measured(self.weights)

    def results(self) -> dict[str, float]:
        """Return t99, the measures then, and the steps of reversals."""
        found = self._reversal("end", self.weights)
        if self.saturated is not None:
            t99, then = self.saturated
            measured = {f"{name}_at_t99": value for name, value in self._measured(then).items()}
            found |= {"t99": float(t99), **measured, **self._reversal("t99", then)}
        return {name: value for name, value in found.items() if not math.isnan(value)}

    def _measured(self, weights: Weights) -> dict[str, float]:
        run = self._run
        right = _Descent(run, self._trials, weights).right
        probed = _Descent(run, self._probes, weights).right
        size = run.output_scale * float(weights.readout @ weights.readout + np.sum(weights.features**2)) / run.width
        train_loss = float(np.mean(np.logaddexp(0.0, -right)))
        soft = -float(np.logaddexp.reduce(-right)) / size
        return {
            "loss": float(np.mean(np.logaddexp(0.0, -probed))),
            "train_loss": train_loss,
            "train_accuracy": float(np.mean(right > 0)),
            "probe_accuracy": float(np.mean(probed > 0)),
            "margin": float(right.min()) / size,
            "soft_margin": soft if train_loss * run.samples < SOFT_FROM else math.nan,
            **self._of_features(weights.features),
        }

    def _of_features(self, features: Floats) -> dict[str, float]:
        """Return what is measured of the hidden layer alone, once where it has not changed."""
        if self._kept is not None and self._kept[0] is features:
            return dict(self._kept[1])
        activity = np.maximum(self._probes.inputs @ features.T, 0.0)
        noisy = activity + self._run.readout_noise * np.sqrt(np.mean(activity**2)) * self._noise
        found = {
            "representation_margin": math.nan, "separation": math.nan,
            **{f"decoding_accuracy_{len(chosen)}": math.nan for chosen in self._decoded},
        }  # fmt: skip
        if np.isfinite(activity).all():
            found["representation_margin"] = representation_margin(
                np.maximum(self._trials.inputs @ features.T, 0.0), self._trials.labels
            )
            found["separation"] = separation(activity, self._probes.labels)
            for chosen in self._decoded:
                accuracy = decoding_accuracy(noisy[:, chosen], self._probes.labels)
                found[f"decoding_accuracy_{len(chosen)}"] = accuracy
        self._kept = features, found
        return dict(found)

    def _reversal(self, name: str, weights: Weights) -> dict[str, float]:
        """Return the steps until flipped labels are learned, nothing where they are not."""
        descent = _Descent(self._run, Trials(self._trials.inputs, -self._trials.labels), weights)
        for step in range(1, self._run.reversal_steps + 1):
            descent.advance()
            if descent.accuracy >= RELEARNED:
                return {f"reversal_at_{name}": float(step)}
        return {}
