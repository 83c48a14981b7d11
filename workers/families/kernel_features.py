"""The kernel-features family: how well random features estimate a Gaussian kernel, by two samplings of the features.

    estimate(x, y) = (1/m) sum over m features of (p / q)(w_i) phi(x, w_i) phi(y, w_i),  w_i ~ q

on points of a normal law, the pairs of a point with itself among them. Nothing is trained; the axis is the feature.
`isoflop.lakehouse.models.kernel_features` has the representations and samplings.

Source: Sernau et al. 2024 (arXiv:2406.18802).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from isoflop.lakehouse.models.counts import Counts
from isoflop.lakehouse.models.kernel_features import DrawnFeatures, draw_kernel_features, draw_points
from isoflop.workers.devices import Device
from isoflop.workers.families.packed import PackedExperiment, Program

FEATURES = 1  # stream of random numbers of a run from which its features are drawn
DRAWN_TOGETHER = 64  # features; seeding a generator costs as much as drawing a few
MOST_POINTS = 10_000  # whose kernel takes 800 MB

Floats = NDArray[np.float64]


class KernelFeatures(PackedExperiment):
    """The error of an estimated Gaussian kernel as features are added one by one; nothing is trained.

    `loss` is the mean squared error over all pairs of points, `ratio` that over the least that independent features can
    have, and `effective_features` how many equally large ones the features are worth. Runs with as many points and
    features go in one program.
    """

    name: ClassVar[str] = "kernel_features"
    axis: ClassVar[str] = "feature"
    example: ClassVar[Mapping[str, object]] = {"points": 40, "dimension": 3, "features": 64, "sampling": "optimal"}

    features: int = Field(gt=0, description="m, drawn one after another")
    points: int = Field(ge=2, le=MOST_POINTS, description="n, of the data")
    dimension: int = Field(ge=1, description="of the data")
    variance: float = Field(default=0.25, gt=0, description="of the first coordinate, in squared widths of the kernel")
    variance_decay: float = Field(default=0.0, ge=0, description="coordinate j has the variance times j^-this")
    representation: Literal["cosine", "positive"] = Field(
        default="positive", description="cosines with a random phase, or exponentials"
    )
    sampling: Literal["default", "optimal"] = Field(
        default="default", description="of the representation's own law, or of that with the least error"
    )

    @property
    def length(self) -> int:
        """The features of the run."""
        return self.features

    def metrics(self) -> Mapping[str, str]:
        """Return the error, its ratio to the least one, and what the features are worth."""
        return {"loss": "1", "ratio": "1", "effective_features": "1"}

    def counts(self) -> Counts:
        """Return features and operations: products with all points, and an outer product, a feature."""
        return Counts(
            params=self.features,
            params_non_embedding=self.features,
            flops_per_step=2 * self.points**2 + 2 * self.points * self.dimension,
            memory_bytes=16 * self.points**2,
        )

    def pack_key(self) -> Hashable:
        """Runs whose arrays have one shape and one length go together."""
        return (self.name, self.points, self.dimension, self.features)

    @classmethod
    def program(cls, runs: Sequence[Self], device: Device) -> Program:
        """Return the program that draws for these runs together, on a core."""
        return _Estimates(runs)


class _Estimates:
    """R estimates, one after another: their sums over features (n, n), and the sizes of the features."""

    def __init__(self, runs: Sequence[KernelFeatures]) -> None:
        self._runs, self._feature = runs, 0
        drawn = [draw_points(run.points, run.dimension, run.variance, run.variance_decay, run.seed) for run in runs]
        self._points, self._kernels = [each.points for each in drawn], [each.kernel for each in drawn]
        self._bounds = [float(1 - np.mean(kernel**2)) for kernel in self._kernels]
        self._sums = [np.zeros_like(kernel) for kernel in self._kernels]
        self._sizes = np.zeros((len(runs), 2))  # sums of the mean squares of features, and of their squares
        self._chunk, self._drawn = -1, list[DrawnFeatures]()

    def advance(self, num_steps: int) -> None:
        """Draw `num_steps` features more in every run."""
        for feature in range(self._feature, self._feature + num_steps):
            chunk, place = divmod(feature, DRAWN_TOGETHER)
            if chunk != self._chunk:
                self._draw(chunk)
            for number, drawn in enumerate(self._drawn):
                value, weight = drawn.values[place], drawn.weights[place]
                self._sums[number] += np.multiply.outer(weight * value, value)
                size = float(weight * np.mean(value**2))
                self._sizes[number] += size, size**2
        self._feature += num_steps

    def measure(self) -> dict[str, Floats]:
        """Return error, ratio and effective features of every run now, each (R,)."""
        count = max(self._feature, 1)
        losses = [
            np.mean((total / count - kernel) ** 2) for total, kernel in zip(self._sums, self._kernels, strict=True)
        ]
        sums, squares = self._sizes.T
        return {
            "loss": np.array(losses),
            "ratio": np.array(losses) * self._feature / np.array(self._bounds),
            "effective_features": np.divide(sums**2, squares, out=np.zeros(len(losses)), where=squares > 0),
        }

    def state(self, run: int) -> dict[str, Any]:
        """Return the sums of one run."""
        return {"sum": self._sums[run].copy(), "sizes": self._sizes[run].copy()}

    def restore(self, step: int, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue every run from its sums after `step` features."""
        self._feature, self._chunk = step, -1
        self._sums = [np.array(state["sum"]) for state in states]
        self._sizes = np.array([state["sizes"] for state in states])

    def results(self, run: int) -> dict[str, float]:
        """Return the least error that as many independent features can have."""
        return {"bound": self._bounds[run] / self._runs[run].features}

    def _draw(self, chunk: int) -> None:
        self._chunk = chunk
        self._drawn = [
            draw_kernel_features(
                points, run.representation, run.sampling, DRAWN_TOGETHER,
                np.random.default_rng([run.seed, FEATURES, chunk]),
            )
            for run, points in zip(self._runs, self._points, strict=True)
        ]  # fmt: skip
