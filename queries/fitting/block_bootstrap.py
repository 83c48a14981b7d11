"""Resamples of the points of a curve whose neighbors are alike: blocks of neighbors stay together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isoflop.queries.fitting.data import Data
from isoflop.queries.fitting.dependence import Places, Serial
from isoflop.queries.fitting.resampling import Array, Resamples, Resampling, expanded_tail

TIMES = 2.0  # length of a block in autocorrelation times: shorter ones cut what belongs together
FEWEST_BLOCKS = 5  # of a curve, however far its points are alike


@dataclass(frozen=True, eq=False)
class BlockBootstrap(Resampling):
    """Blocks of neighboring points drawn with replacement, at any place of the curves, until there are as many points.

    Parameters
    ----------
    along : positions (R,) of the rows along their curves, one curve after another; the end is followed by the beginning
    length : points in a block
    effective : how many independent rows say as much as these

    Source: Kuensch 1989, Ann. Stat. 17, 1217; Politis and Romano 1992 (circular blocks).
    """

    name: ClassVar[str | None] = "block"
    draws: ClassVar[str] = "blocks of neighboring points are drawn with replacement"

    along: Places
    length: int
    effective: float

    @classmethod
    def of(cls, serial: Serial) -> BlockBootstrap:
        """Return the bootstrap of curves whose neighboring residuals are alike."""
        longest = max(len(serial.along) // FEWEST_BLOCKS, 1)
        return cls(serial.along, min(math.ceil(TIMES * serial.time), longest), serial.effective)

    def chosen(self, rows: Data, predicted: Array, num_free: int) -> tuple[Resampling, str]:
        """Return itself, and why."""
        return (
            self,
            f"because neighbors are alike: {len(rows)} rows say as much as {self.effective:.0f} independent ones",
        )

    def tail(self, rows: Data, num_free: int, level: float, curved: float = 1.0) -> float:
        """Return the share to leave out at each end."""
        return expanded_tail(level, max(round(self.effective), num_free + 1), num_free, curved)

    def draw(
        self, rows: Data, predicted: Array, num_free: int, count: int, generator: np.random.Generator
    ) -> Resamples:
        """Return counts of each row times its weight."""
        size = len(rows)
        counts = np.empty((count, size))
        for version in range(count):
            begins = generator.integers(0, size, math.ceil(size / self.length))
            drawn = (begins[:, None] + np.arange(self.length)).reshape(-1)[:size] % size
            counts[version] = np.bincount(self.along[drawn], minlength=size)
        return Resamples(counts * rows.weight, rows.target[None])
