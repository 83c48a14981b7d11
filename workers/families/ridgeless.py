"""The ridgeless family: random features and samples at the end of training, by least squares without a ridge.

    psi_i ~ N(0, lambda_i), lambda_i = i^-2alpha, i = 1..M        y = w . psi, w_i ~ N(0, 1), drawn anew
    f = <theta, A psi>, A (P x M), A_pi ~ N(0, 1)                 theta the shortest of least error on D samples

D is `samples` and P `width`; either may be without end. Without end of samples theta is the best there is, and without
end of features f is the shortest interpolation in psi itself. With n the lesser and m the larger of D and P the loss is
infinite in the mean for m - n < 2, the peak at which the student just interpolates.

A draw is a teacher, features and samples, each from a stream of its own, row by row: runs of one seed that differ in
D have the same teachers and features, and the first samples in common; those that differ in P share what there is to
share too. Differences between such runs are far less noisy than the runs.

Source: Bahri et al. 2021 (arXiv:2102.06701), teacher and student; alpha_K there is 2 alpha - 1.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from isoflop.lakehouse.models.counts import Counts
from isoflop.lakehouse.models.spectrum import power_law
from isoflop.workers.devices import Device
from isoflop.workers.families.packed import PackedExperiment, Program
from isoflop.workers.families.refusal import wrong_field

BYTES = 8  # of a float64
MOST_ENTRIES = 2**28  # of one matrix: 2 GiB
DRAWN_TOGETHER = 256  # samples, of M modes each, that lie in memory at once
TEACHER, FEATURES, SAMPLES = 0, 1, 2  # streams of random numbers of a draw

Floats = NDArray[np.float64]


class Ridgeless(PackedExperiment):
    """Least squares without a ridge on random features of samples of a random linear teacher, again and again.

    `loss` is the exact test loss, averaged over the draws so far, and `scatter` the standard deviation of single ones.
    """

    name: ClassVar[str] = "ridgeless"
    axis: ClassVar[str] = "draw"
    example: ClassVar[Mapping[str, object]] = {
        "dimension": 100, "samples": 12, "width": 30, "spectrum_exponent": 0.75, "draws": 40,
    }  # fmt: skip
    length_settings: ClassVar[tuple[str, ...]] = ("draws",)

    draws: int = Field(default=100, gt=0, description="of teacher, features and samples, which are averaged")
    dimension: int = Field(ge=1, description="M, modes of the data")
    spectrum_exponent: float = Field(ge=0, description="alpha, of the data's standard deviations")
    samples: int | None = Field(default=None, ge=1, description="D; by default without end")
    width: int | None = Field(default=None, ge=1, description="P, features; by default without end")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        given = {name: size for name in ("samples", "width") if (size := getattr(self, name)) is not None}
        if not given:
            raise wrong_field("samples", "and width are both without end, and nothing is left to learn; give one")
        name = min(given, key=lambda each: given[each])
        if given[name] >= self.dimension:
            raise wrong_field(
                name, f"is {given[name]}: as many as the {self.dimension} modes leave nothing to learn; give fewer"
            )
        rows, columns = self._largest()
        if rows * columns > MOST_ENTRIES:
            size, most = BYTES * rows * columns / 2**30, BYTES * MOST_ENTRIES / 2**30
            raise wrong_field(name, f"needs a matrix of {rows} x {columns}, {size:.3g} GiB; at most {most:g}")
        return self

    def _largest(self) -> tuple[int, int]:
        """Return rows and columns of the largest matrix that is drawn whole."""
        if self.width is None:
            return self.samples or 1, self.dimension
        return self.width, max(self.dimension, self.samples or 1)

    @property
    def length(self) -> int:
        """The draws of the run."""
        return self.draws

    def metrics(self) -> Mapping[str, str]:
        """Return the mean loss and the deviation of single draws, in units of a coefficient of the teacher squared."""
        return {"loss": "1", "scatter": "1"}

    def counts(self) -> Counts:
        """Return features and operations a draw: products with all modes, and least squares by its leading terms."""
        samples, width, modes = self.samples, self.width, self.dimension
        if samples is None:
            assert width is not None
            flops = 2 * width**2 * modes + 2 * width**3 / 3 + 6 * width * modes
        elif width is None:
            flops = 2 * samples**2 * modes + 2 * samples**3 / 3 + 6 * samples * modes
        else:
            flops = 2 * samples * width * modes + 2 * samples * width * min(samples, width) + 2 * width * modes
        rows, columns = self._largest()
        return Counts(
            params=width,
            params_non_embedding=width,
            flops_per_step=flops,
            memory_bytes=2 * BYTES * rows * columns,  # the matrix and the copy that a decomposition works on
        )

    def pack_key(self) -> Hashable:
        """Runs of as many draws go together; each is drawn by itself."""
        return (self.name, self.dimension, self.samples, self.width, self.draws)

    @classmethod
    def program(cls, runs: Sequence[Self], device: Device) -> Program:
        """Return the program that draws for these runs together, on a core."""
        return _Draws(runs)


class _Draws:
    """R runs, one after another: sums over their draws of the loss and of its square, (R, 2)."""

    def __init__(self, runs: Sequence[Ridgeless]) -> None:
        self._runs, self._draw = runs, 0
        self._spectra = [np.sqrt(power_law(run.dimension, 2 * run.spectrum_exponent)) for run in runs]
        self._sums = np.zeros((len(runs), 2))

    def advance(self, num_steps: int) -> None:
        """Draw `num_steps` times more in every run."""
        for draw in range(self._draw, self._draw + num_steps):
            for number, (run, spread) in enumerate(zip(self._runs, self._spectra, strict=True)):
                loss = drawn_loss(run.samples, run.width, spread, (run.seed, draw))
                self._sums[number] += loss, loss**2
        self._draw += num_steps

    def measure(self) -> dict[str, Floats]:
        """Return mean and deviation of every run's draws, each (R,); before the first, the loss of no student."""
        if self._draw == 0:
            return {
                "loss": np.array([float(np.sum(spread**2)) for spread in self._spectra]),
                "scatter": np.zeros(len(self._runs)),
            }
        means, squares = self._sums.T / self._draw
        spare = np.maximum(squares - means**2, 0.0) * self._draw / max(self._draw - 1, 1)
        return {"loss": means, "scatter": np.sqrt(spare)}

    def state(self, run: int) -> dict[str, Any]:
        """Return the sums of one run."""
        return {"sums": self._sums[run].copy()}

    def restore(self, step: int, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue every run from its sums after `step` draws."""
        self._draw = step
        self._sums = np.array([state["sums"] for state in states])

    def results(self, run: int) -> dict[str, float]:
        """Return the standard error of the mean loss."""
        return {"standard_error": float(self.measure()["scatter"][run] / np.sqrt(max(self._draw, 1)))}


def drawn_loss(samples: int | None, width: int | None, spread: Floats, seed: tuple[int, ...]) -> float:
    """Return the test loss of one draw.

    Parameters
    ----------
    samples, width : D and P; None for no end, of one of the two
    spread : (M,) standard deviations of the modes
    seed : of the draw
    """
    streams = [np.random.default_rng([*seed, stream]) for stream in (TEACHER, FEATURES, SAMPLES)]
    missing = spread * streams[TEACHER].standard_normal(len(spread))  # Lambda^1/2 (w - what is learned)
    if width is None:
        assert samples is not None
        inputs = streams[SAMPLES].standard_normal((samples, len(spread)))  # z, (D, M)
        kernel = (inputs * spread**2) @ inputs.T
        missing -= spread**2 * (inputs.T @ np.linalg.solve(kernel, inputs @ missing))
        return float(missing @ missing)
    features = streams[FEATURES].standard_normal((width, len(spread))) * spread  # A Lambda^1/2, (P, M)
    if samples is None:
        missing -= features.T @ np.linalg.solve(features @ features.T, features @ missing)
        return float(missing @ missing)
    seen, labels = np.empty((samples, width)), np.empty(samples)
    for first in range(0, samples, DRAWN_TOGETHER):
        rows = slice(first, min(first + DRAWN_TOGETHER, samples))
        inputs = streams[SAMPLES].standard_normal((rows.stop - rows.start, len(spread)))
        seen[rows], labels[rows] = inputs @ features.T, inputs @ missing
    missing -= features.T @ _least_squares(seen, labels)
    return float(missing @ missing)


def _least_squares(seen: Floats, labels: Floats) -> Floats:
    """Return the shortest theta (P,) of least error on features (D, P) that are in general position."""
    if len(seen) >= seen.shape[1]:
        basis, triangle = np.linalg.qr(seen)
        return np.linalg.solve(triangle, basis.T @ labels)
    basis, triangle = np.linalg.qr(seen.T)
    return basis @ np.linalg.solve(triangle.T, labels)
