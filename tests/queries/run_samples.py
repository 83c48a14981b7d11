"""Rows of runs as the fitting tests pass them around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Runs:
    """Inputs (R, 2), params and tokens, and losses (R,)."""

    inputs: Array
    loss: Array

    def some(self, count: int, seed: int = 1) -> Runs:
        """A random selection of the rows."""
        kept = np.sort(np.random.default_rng(seed).choice(len(self.loss), count, replace=False))
        return Runs(self.inputs[kept], self.loss[kept])
