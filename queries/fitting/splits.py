"""Ways to split rows into those a law learns from and those it is judged on, in scikit-learn's manner.

Random folds ask whether a law describes the rows; `LargestHoldout` and `ForwardCuts` ask what a scaling law is for:
whether the small runs foretell the large ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import UsageError

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Split = tuple[Indices, Indices]
Key = int | str | Sequence[float] | Array | None


def key_values(X: Any, by: Key) -> Array:
    """Return the (R,) numbers rows are ordered by.

    Parameters
    ----------
    X : (R, P) inputs, an array or a data frame
    by : position or name of a column, R numbers, or None for the product of all inputs

    Raises
    ------
    UsageError : if the key has another length than X, or a missing value
    """
    if isinstance(by, str):
        values = np.asarray(X[by], dtype=np.float64)
    elif isinstance(by, int):
        values = np.asarray(X, dtype=np.float64)[:, by]
    elif by is None:
        inputs = np.asarray(X, dtype=np.float64)
        inputs = inputs[:, None] if inputs.ndim == 1 else inputs
        with np.errstate(all="ignore"):
            values = np.sum(np.log(np.where(inputs > 0, inputs, 1.0)), axis=1)
    else:
        values = np.asarray(by, dtype=np.float64)
    if len(values) != len(X):
        raise UsageError(f"the key has {len(values)} values for {len(X)} rows")
    if np.isnan(values).any():
        raise UsageError(f"the key is missing in {np.count_nonzero(np.isnan(values))} rows; leave them out first")
    return values


@dataclass(frozen=True, eq=False)
class LargestHoldout:
    """One split: the rows with the largest keys are held out.

    Parameters
    ----------
    n : number of distinct key values held out, with all rows that have them
    percent : or the share of rows held out [%]; rows with equal keys stay together, so it may be a few more
    by : what is large: a column, R numbers, or None for the product of all inputs

    Raises
    ------
    UsageError : unless exactly one of n and percent is given and leaves something on both sides

    Example
    -------
    >>> [(train.tolist(), test.tolist()) for train, test in LargestHoldout(1).split(np.array([[3.0], [9.0], [5.0]]))]
    [([0, 2], [1])]
    """

    n: int | None = None
    percent: float | None = None
    by: Key = None

    def __post_init__(self) -> None:
        if (self.n is None) == (self.percent is None):
            raise UsageError("give either how many of the largest to hold out, or what percent")
        if self.n is not None and self.n < 1:
            raise UsageError(f"cannot hold out the largest {self.n}; hold out 1 or more")
        if self.percent is not None and not 0 < self.percent < 100:
            raise UsageError(f"cannot hold out {self.percent} percent; choose between 0 and 100")

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return 1."""
        return 1

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Split]:
        """Yield the positions of the rows to learn from and of those to predict."""
        values = key_values(X, self.by)
        levels = np.unique(values)
        if self.n is not None:
            if self.n >= len(levels):
                raise UsageError(f"holding out the largest {self.n} of {len(levels)} distinct keys leaves none")
            edge = levels[-self.n]
        else:
            share = (self.percent or 0.0) / 100
            edge = np.sort(values)[-max(1, math.ceil(share * len(values)))]
        held = values >= edge
        if held.all():
            raise UsageError("holding out that many rows leaves none to learn from: too many share the largest key")
        yield np.flatnonzero(~held), np.flatnonzero(held)


@dataclass(frozen=True)
class KFold:
    """Random folds of rows, or of whole groups when `groups` is given to `split`.

    Parameters
    ----------
    n : number of folds, 2 or more
    seed : of the shuffle
    """

    n: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n < 2:
            raise UsageError(f"cannot make {self.n} folds; make 2 or more")

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        return self.n

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Split]:
        """Yield the positions of the rows to learn from and of those to predict."""
        labels = _labels(len(X), groups)
        count = int(labels.max()) + 1 if len(labels) else 0
        if self.n > count:
            raise UsageError(f"cannot make {self.n} folds of {count} {'rows' if groups is None else 'groups'}")
        fold_of = np.empty(count, dtype=int)
        fold_of[np.random.default_rng(self.seed).permutation(count)] = np.arange(count) % self.n
        for fold in range(self.n):
            held = fold_of[labels] == fold
            yield np.flatnonzero(~held), np.flatnonzero(held)


@dataclass(frozen=True)
class LeaveOneOut:
    """As many splits as rows, or as groups when `groups` is given to `split`, each without one."""

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of rows or groups."""
        return int(_labels(len(X), groups).max()) + 1

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Split]:
        """Yield the positions of the rows to learn from and of those to predict."""
        labels = _labels(len(X), groups)
        if len(labels) < 2 or labels.max() < 1:
            raise UsageError("leaving one out needs two rows or groups")
        for group in range(int(labels.max()) + 1):
            held = labels == group
            yield np.flatnonzero(~held), np.flatnonzero(held)


@dataclass(frozen=True, eq=False)
class ForwardCuts:
    """Splits that learn from the smallest rows and predict all larger ones, with more to learn from each time.

    Parameters
    ----------
    shares : shares of rows to learn from [1], each between 0 and 1
    by : what is large: a column, R numbers, or None for the product of all inputs
    """

    shares: tuple[float, ...] = (0.5, 0.65, 0.8)
    by: Key = None

    def __post_init__(self) -> None:
        if not self.shares or not all(0 < share < 1 for share in self.shares):
            raise UsageError(f"cuts at {self.shares} are not all between 0 and 1")

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of cuts; ties may leave fewer."""
        return len(self.shares)

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Split]:
        """Yield the positions of the rows to learn from and of those to predict."""
        values = key_values(X, self.by)
        ordered = np.sort(values)
        edges = {float(ordered[max(0, math.floor(share * len(values)) - 1)]) for share in self.shares}
        for edge in sorted(edges):
            held = values > edge
            if held.any() and not held.all():
                yield np.flatnonzero(~held), np.flatnonzero(held)


def _labels(count: int, groups: Any) -> Indices:
    """Integer group of every row, in order of first appearance; every row its own without groups."""
    if groups is None:
        return np.arange(count)
    if len(groups) != count:
        raise UsageError(f"there are {len(groups)} group labels for {count} rows")
    seen: dict[Any, int] = {}
    return np.array([seen.setdefault(label, len(seen)) for label in np.asarray(groups).tolist()], dtype=np.int64)
