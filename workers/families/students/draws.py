"""What a run of linear students draws: features, samples, and the singular bases in which it learns and is tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.models.counts import Counts
from isoflop.lakehouse.models.linear_descent import LinearDescent
from isoflop.lakehouse.models.spectrum import power_law
from isoflop.workers.components import Teacher
from isoflop.workers.families.refusal import wrong_field

FEATURES, SAMPLES = 0, 1  # streams of random numbers of a run
MOST_ENTRIES = 2**29  # of features and samples: 4 GiB, and as much again while they are factored

Floats = NDArray[np.float64]


class StudentRun(Protocol):
    """What the program needs to know of a run; see `random_features` and `linear_sgd`."""

    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def task(self) -> Teacher: ...  # noqa: D102
    @property
    def dimension(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int | None: ...  # noqa: D102
    @property
    def samples(self) -> int | None: ...  # noqa: D102
    @property
    def batch_size(self) -> int | None: ...  # noqa: D102
    @property
    def noise(self) -> float: ...  # noqa: D102
    @property
    def students(self) -> int: ...  # noqa: D102
    @property
    def students_draw(self) -> Literal["features", "samples", "both"]: ...  # noqa: D102
    @property
    def tested_exponent(self) -> float: ...  # noqa: D102
    @property
    def descent(self) -> LinearDescent: ...  # noqa: D102


@dataclass(frozen=True)
class Member:
    """One student: what it sees of its data, and of the population in their singular basis.

    Parameters
    ----------
    rows, labels : (P, N), (P,), of its samples; None where data have no end
    scale, basis, target : (K,) s, (N, K) right vectors and (K,) c, of its rows or of the population
    residual : what no theta learns of the labels
    """

    rows: Floats | None
    labels: Floats | None
    scale: Floats
    basis: Floats
    target: Floats
    residual: float


class World:
    """What one run draws: its members, and the triangle that measures the loss of their mean."""

    def __init__(self, run: StudentRun) -> None:
        variances = power_law(run.dimension, 2 * run.task.spectrum_exponent)
        tested = power_law(run.dimension, 2 * run.tested_exponent)
        target = power_law(run.dimension, run.task.target_exponent)
        num_features = run.students if run.students_draw != "samples" else 1
        num_samples = run.students if run.students_draw != "features" else 1
        features = [self._features(run, number) for number in range(num_features)]
        data = [self._samples(run, variances, target, number) for number in range(num_samples)]
        self.members = [
            self._member(run, features[member % num_features], data[member % num_samples], variances, target)
            for member in range(run.students)
        ]
        root = np.sqrt(tested)
        seen = [root[:, None] * each if each is not None else np.diag(root) for each in features]
        joined = np.column_stack([*seen, root * target])
        self._triangle: Floats = np.linalg.qr(joined, mode="r")  # type: ignore[assignment]  # stubs forget this mode
        self._num_features = num_features

    def loss(self, thetas: Floats) -> float:
        """Return the loss of the mean student, of the weights (E, N) of all."""
        weights = thetas.mean(axis=0) if self._num_features == 1 else thetas.ravel() / len(thetas)
        missing = self._triangle[:, :-1] @ weights - self._triangle[:, -1]
        return float(missing @ missing)

    @staticmethod
    def _features(run: StudentRun, number: int) -> Floats | None:
        """Return B^T, (M, N), or None for the identity."""
        if run.width is None:
            return None
        generator = np.random.default_rng([run.seed, FEATURES, number])
        features: Floats = generator.standard_normal((run.dimension, run.width)) / np.sqrt(run.width)
        return features

    @staticmethod
    def _samples(run: StudentRun, variances: Floats, target: Floats, number: int) -> tuple[Floats, Floats] | None:
        """Return inputs (P, M) and labels (P,), or None where data have no end."""
        if run.samples is None:
            return None
        generator = np.random.default_rng([run.seed, SAMPLES, number])
        inputs = generator.standard_normal((run.samples, run.dimension)) * np.sqrt(variances)
        return inputs, inputs @ target + np.sqrt(run.noise) * generator.standard_normal(run.samples)

    @staticmethod
    def _member(
        run: StudentRun, features: Floats | None, data: tuple[Floats, Floats] | None, variances: Floats, target: Floats
    ) -> Member:
        if data is None:
            root = np.sqrt(variances)
            rows, labels = np.diag(root) if features is None else root[:, None] * features, root * target
        else:
            inputs, labels = data
            rows = inputs if features is None else inputs @ features
            rows, labels = rows / np.sqrt(len(labels)), labels / np.sqrt(len(labels))
        left, scale, right = np.linalg.svd(rows, full_matrices=False)
        seen = left.T @ labels
        beyond = labels - left @ seen
        residual = float(beyond @ beyond) + (run.noise if data is None else 0.0)
        if data is None:
            return Member(None, None, scale, right.T, seen, residual)
        num_samples = np.sqrt(len(labels))
        return Member(rows * num_samples, labels * num_samples, scale, right.T, seen, residual)


def check_size(run: StudentRun) -> None:
    """Refuse a run whose arrays do not fit, inside a validator."""
    entries = run.dimension * (run.students * (run.width or run.dimension) + (run.samples or 0))
    if entries > MOST_ENTRIES:
        size = f"features and samples have {entries:.2g} entries, {8 * entries / 2**30:.3g} GiB; at most 4"
        raise wrong_field("dimension", f"is {run.dimension}: {size}")


def student_counts(run: StudentRun) -> Counts:
    """Return what a step costs as it is defined: a product with the batch's rows, and one with their transpose.

    The population's gradient is a product with the covariance of the features. That the whole gradient is taken in
    closed form is not counted.
    """
    width, seen = run.width or run.dimension, run.batch_size or run.samples
    once = 2 * width**2 if seen is None else 4 * seen * width
    return Counts(
        params=run.students * width,
        params_non_embedding=run.students * width,
        flops_per_step=run.students * (once + 2 * width),
        memory_bytes=8 * (2 * run.dimension * (run.students * width + (run.samples or 0))),
    )
