"""The nearest-neighbour family: a smooth function on a torus, known at samples, taken from the nearest one elsewhere.

    x uniform on the torus [0, 1]^d        f(x) = sum_i sin 2 pi x_i        f^(x) = f(the nearest of D samples)

Samples are added one by one, so that one run is a whole learning curve; the axis is the sample. Nothing knows of the
data but their dimension: the mean squared error falls as D^-2/d, whatever is fitted to it.

Source: Bahri et al. 2021 (arXiv:2102.06701), resolution-limited scaling.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from isoflop.lakehouse.models.counts import Counts
from isoflop.workers.devices import Device
from isoflop.workers.families.packed import PackedExperiment, Program

TESTED, SAMPLES = 0, 1  # streams of random numbers of a run
DRAWN_TOGETHER = 256  # samples; their distances from all tested points lie in memory at once
MOST_TESTED = 100_000  # whose distances from so many samples take 205 MB

Floats = NDArray[np.float64]


class NearestNeighbours(PackedExperiment):
    """A function that is taken from the nearest sample, as samples are added one by one.

    `loss` is the mean squared error at points that are no samples, and `distance` how far from them the nearest sample
    is in the mean.
    """

    name: ClassVar[str] = "nearest_neighbours"
    axis: ClassVar[str] = "sample"
    example: ClassVar[Mapping[str, object]] = {"dimension": 2, "samples": 200, "tested": 100}

    samples: int = Field(gt=0, description="D, drawn one after another")
    dimension: int = Field(ge=1, description="d, of the torus")
    tested: int = Field(default=1000, ge=1, le=MOST_TESTED, description="points at which the error is measured")

    @property
    def length(self) -> int:
        """The samples of the run."""
        return self.samples

    def metrics(self) -> Mapping[str, str]:
        """Return the error, in units of f squared, and the distance, in sides of the torus."""
        return {"loss": "1", "distance": "side"}

    def counts(self) -> Counts:
        """Return the operations of a sample, its distance from every tested point: 4 a coordinate."""
        return Counts(
            flops_per_step=4 * self.tested * self.dimension,
            memory_bytes=8 * self.tested * (DRAWN_TOGETHER + self.dimension),
        )

    def pack_key(self) -> Hashable:
        """Runs whose arrays have one shape and one length go together."""
        return (self.name, self.dimension, self.tested, self.samples)

    @classmethod
    def program(cls, runs: Sequence[Self], device: Device) -> Program:
        """Return the program that adds samples to these runs together, on a core."""
        return _Nearest(runs)


class _Nearest:
    """R runs, T tested points of each: the squared distance of the nearest sample, and f there, each (R, T)."""

    def __init__(self, runs: Sequence[NearestNeighbours]) -> None:
        self._runs, self._sample = runs, 0
        self._points = [
            np.random.default_rng([run.seed, TESTED]).uniform(size=(run.tested, run.dimension)) for run in runs
        ]
        self._truth = np.array([smooth(points) for points in self._points])
        self._squares = np.full(self._truth.shape, np.inf)
        self._said = np.zeros_like(self._truth)  # before the first sample, the mean of f

    def advance(self, num_steps: int) -> None:
        """Add `num_steps` samples to every run; a chunk of them has a seed of its own, so that any stop is one."""
        last = self._sample + num_steps
        while self._sample < last:
            chunk, first = divmod(self._sample, DRAWN_TOGETHER)
            stop = min(DRAWN_TOGETHER, first + last - self._sample)
            for number, run in enumerate(self._runs):
                generator = np.random.default_rng([run.seed, SAMPLES, chunk])
                self._look(number, generator.uniform(size=(DRAWN_TOGETHER, run.dimension))[first:stop])
            self._sample += stop - first

    def measure(self) -> dict[str, Floats]:
        """Return error and distance of every run now, each (R,); without a sample the distance is that of the corner.

        No two points of the torus are farther apart than sqrt(d) / 2.
        """
        farthest = np.array([run.dimension / 4 for run in self._runs])
        distances = np.sqrt(np.minimum(self._squares, farthest[:, None]))
        return {"loss": np.mean((self._truth - self._said) ** 2, axis=1), "distance": np.mean(distances, axis=1)}

    def state(self, run: int) -> dict[str, Any]:
        """Return what the nearest samples of one run are."""
        return {"squares": self._squares[run].copy(), "said": self._said[run].copy()}

    def restore(self, step: int, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue every run from its nearest samples after `step` of them."""
        self._sample = step
        self._squares = np.array([state["squares"] for state in states])
        self._said = np.array([state["said"] for state in states])

    def results(self, run: int) -> dict[str, float]:
        """Return the power of the samples that the dimension gives."""
        return {"power": -2 / self._runs[run].dimension}

    def _look(self, number: int, samples: Floats) -> None:
        """Take the samples (n, d) that are nearer than any before."""
        squares = np.zeros((len(self._points[number]), len(samples)))
        for points, places in zip(self._points[number].T, samples.T, strict=True):
            apart = np.abs(points[:, None] - places)
            squares += np.minimum(apart, 1 - apart) ** 2
        nearest = np.argmin(squares, axis=1)
        found = squares[np.arange(len(squares)), nearest]
        is_nearer = found < self._squares[number]
        self._squares[number][is_nearer] = found[is_nearer]
        self._said[number][is_nearer] = smooth(samples)[nearest[is_nearer]]


def smooth(points: Floats) -> Floats:
    """Return f of points (n, d), (n,)."""
    found: Floats = np.sum(np.sin(2 * np.pi * points), axis=1)
    return found
