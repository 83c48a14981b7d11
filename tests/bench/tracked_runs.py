"""The runs that every store of the benchmarks is given: 1,000 steps of five metrics each.

Losses, norms and accuracies are single-precision numbers, as training code has them; the learning rate is
not; seconds are a clock's, to the microsecond.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

STEPS = 1_000
METRICS = ("loss", "val_loss", "accuracy", "lr", "norm")
POINTS = STEPS * len(METRICS)  # of one run


@dataclass(frozen=True)
class TrackedRun:
    """One run: what it is, and a list of 1,000 numbers for each metric."""

    number: int
    width: int
    dataset: str
    params: float
    seconds: list[float]
    values: Mapping[str, list[float]]

    @property
    def steps(self) -> list[tuple[float, dict[str, float]]]:
        """Return (seconds, metrics) of each step, as a training loop has them."""
        rows = zip(*(self.values[metric] for metric in METRICS), strict=True)
        return [(at, dict(zip(METRICS, row, strict=True))) for at, row in zip(self.seconds, rows, strict=True)]


def tracked_runs(count: int) -> list[TrackedRun]:
    """Return `count` runs of several widths and two datasets; the same ones every time."""
    generator = np.random.default_rng(0)
    step = np.arange(STEPS)
    runs = []
    for number in range(count):
        loss = np.float32(2 + 2 / np.sqrt(1 + step / 10) + generator.normal(0, 0.05, STEPS))
        values = {
            "loss": loss,
            "val_loss": np.float32(loss + generator.normal(0, 0.02, STEPS)),
            "accuracy": generator.integers(0, 513, STEPS) / 512,
            "lr": 1e-3 * (1 + np.cos(np.pi * step / STEPS)) / 2,
            "norm": np.float32(generator.lognormal(0, 0.3, STEPS)),
        }
        runs.append(
            TrackedRun(
                number, 2 ** (5 + number % 5), ("web", "code")[number % 2], 1e6 * (1 + number % 5),
                np.round(np.cumsum(generator.gamma(20, 0.0005, STEPS)), 6).tolist(),
                {metric: column.astype(float).tolist() for metric, column in values.items()},
            )
        )  # fmt: skip
    return runs
