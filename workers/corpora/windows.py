"""Token arrays cut into windows, each seen once an epoch in an order drawn from the seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import RecordError
from isoflop.workers.corpora.corpus import Tokens

TokenArray = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.uint32] | NDArray[np.int64]


class Windows:
    """Windows of s + 1 tokens over arrays, none crossing from one array to the next.

    Window i of an array begins at token i*s, so every token is predicted once an epoch and the last
    token of a window is the first of the next.

    Parameters
    ----------
    arrays : one-dimensional token arrays, usually memory-mapped
    sequence_length : s
    what : names the arrays in errors
    """

    def __init__(self, arrays: Sequence[TokenArray], sequence_length: int, what: str) -> None:
        self._arrays = arrays
        self._length = sequence_length
        counts = [max(0, (len(array) - 1) // sequence_length) for array in arrays]
        self._first = np.concatenate([[0], np.cumsum(counts)])  # first window of each array
        self.what = what

    def __len__(self) -> int:
        return int(self._first[-1])

    def take(self, indices: NDArray[np.int64]) -> Tokens:
        """Return windows by number, (len(indices), s + 1)."""
        offsets = np.arange(self._length + 1)
        if len(self._arrays) == 1:
            taken: Tokens = self._arrays[0][indices[:, None] * self._length + offsets].astype(np.int64)
            return taken
        taken = np.empty((len(indices), self._length + 1), np.int64)
        owners = np.searchsorted(self._first, indices, side="right") - 1
        for row, (owner, index) in enumerate(zip(owners, indices, strict=True)):
            start = int(index - self._first[owner]) * self._length
            taken[row] = self._arrays[owner][start : start + self._length + 1]
        return taken

    def batches(self, *, batch_size: int, seed: int, first_step: int = 0) -> Iterator[Tokens]:
        """Yield batches (batch_size, s + 1) without end; each epoch visits every window once.

        Raises
        ------
        RecordError : if there is not one window
        """
        num_windows = len(self)
        if num_windows == 0:
            total = sum(len(array) for array in self._arrays)
            raise RecordError(
                f"{self.what} has {total} training tokens, which is less than one sequence of {self._length} and its "
                "target; use a shorter sequence_length or more text"
            )
        epoch, order = -1, np.empty(0, np.int64)
        position = first_step * batch_size
        while True:
            parts = []
            missing = batch_size
            while missing:
                if position // num_windows != epoch:
                    epoch = position // num_windows
                    order = np.random.default_rng([seed, epoch]).permutation(num_windows)
                start = position - epoch * num_windows
                parts.append(order[start : start + missing])
                missing -= len(parts[-1])
                position += len(parts[-1])
            yield self.take(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def spread(self, num_windows: int) -> Tokens:
        """Return at most `num_windows` windows spread evenly from the first to the last."""
        total = len(self)
        if total <= num_windows:
            return self.take(np.arange(total))
        return self.take(np.arange(num_windows) * total // num_windows)
