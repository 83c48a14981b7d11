"""The rows of a fit: which ones can be used, why the others cannot, and what identifies them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.lakehouse.errors import EmptySelection, FitError
from isoflop.queries.fitting.scatter import MULTIPLICATIVE, Scatter, scatter_of, takes_any_sign
from isoflop.queries.laws.law import Law, input_names
from isoflop.queries.laws.objectives import Objective

Array = NDArray[np.float64]

LARGEST = 1e100  # weight, or value whose squares are summed: a square is still far from the largest double


@dataclass(frozen=True, eq=False)
class Data:
    """The usable rows of a fit; `usable_rows` makes them of what was measured.

    Parameters
    ----------
    inputs : (R, P) float array, in the law's order
    target : (R,) measured values, in the target's unit; positive unless the scatter is additive
    weight : (R,) positive row weights
    group : (R,) integer label of the group of each row, or None
    label : what a note calls the row at a position among those given; `row` and the position from 0 when None
    kept : (R,) positions of the rows among those given
    dropped : number of rows left out, by reason
    scatter : how values scatter about a law; that of all rows also where these are some of them
    """

    inputs: Array
    target: Array
    weight: Array
    group: NDArray[np.int64] | None
    label: Callable[[int], str] | None
    kept: NDArray[np.int64]
    dropped: Mapping[str, int]
    scatter: Scatter = MULTIPLICATIVE

    def __len__(self) -> int:
        return len(self.target)

    @property
    def num_dropped(self) -> int:
        """Number of rows left out."""
        return sum(self.dropped.values())

    @property
    def num_distinct(self) -> int:
        """Number of rows that differ in an input: what a law can be told from."""
        return len(np.unique(self.inputs, axis=0))

    @property
    def labels(self) -> NDArray[np.int64]:
        """(R,) label of the group of each row; a row without groups is a group of its own."""
        return np.arange(len(self)) if self.group is None else self.group

    @property
    def num_groups(self) -> int:
        """Number of rows, or of groups where rows belong together."""
        return len(self) if self.group is None else int(self.group.max()) + 1

    @functools.cached_property
    def support(self) -> Array:
        """(P, 2) lowest and largest value of each input."""
        return np.stack([self.inputs.min(axis=0), self.inputs.max(axis=0)], axis=1)

    @functools.cached_property
    def data_hash(self) -> str:
        """16 hexadecimal digits of the inputs, targets and weights, whatever order the rows came in."""
        table = np.column_stack([self.inputs, self.target, self.weight]) + 0.0  # turns -0 into 0
        ordered = table[np.lexsort(table.T[::-1])]
        return hashlib.sha256(np.ascontiguousarray(ordered, dtype="<f8").tobytes()).hexdigest()[:16]

    def take(self, rows: NDArray[np.int64]) -> Data:
        """Return some of the rows, by their positions among these; groups are numbered anew."""
        group = None if self.group is None else _numbered(self.group[rows].tolist())
        return Data(
            self.inputs[rows], self.target[rows], self.weight[rows], group, self.label, self.kept[rows], dropped={},
            scatter=self.scatter,
        )  # fmt: skip

    def thinned(self, count: int) -> Data:
        """Return `count` of the rows, spread evenly over their sizes."""
        with np.errstate(all="ignore"):
            size = np.sum(np.log(np.where(self.inputs > 0, self.inputs, 1.0)), axis=1)
        order = np.lexsort((self.target, size))
        return self.take(np.sort(order[np.linspace(0, len(self) - 1, count).astype(int)]))


def usable_rows(
    law: Law,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    label: Callable[[int], str] | None = None,
    objective: Objective | None = None,
) -> Data:
    """Return the rows a law can be fitted to, with the others counted by reason.

    Parameters
    ----------
    law : says which inputs must be positive
    X : (R, P) inputs in the law's order; missing is nan
    y : (R,) measured values in the target's unit; missing is nan
    sample_weight : (R,) weights >= 0, or None for ones
    groups : (R,) labels of rows that belong together, e.g. the run of a point of a curve
    label : what notes call the row at a position; `row` and the position from 0 when None
    objective : what is to be minimized, which says whether values must be positive; the law's own when None

    Raises
    ------
    FitError : if shapes do not match or a weight is negative
    EmptySelection : if no row is usable
    """
    inputs = np.asarray(X, dtype=np.float64)
    inputs = inputs[:, None] if inputs.ndim == 1 and len(law.inputs) == 1 else inputs
    values = np.asarray(y, dtype=np.float64).reshape(-1)
    if inputs.ndim != 2 or inputs.shape != (len(values), len(law.inputs)):
        names = ", ".join(input_names(law))
        raise FitError(
            f"inputs have shape {inputs.shape}, expected ({len(values)}, {len(law.inputs)}): "
            f"one row per measured value, one column for each of {names}"
        )
    weights = np.ones(len(values)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64).reshape(-1)
    if len(weights) != len(values):
        raise FitError(f"there are {len(weights)} weights for {len(values)} rows")
    if (weights < 0).any():
        raise FitError(f"weight {weights.min():g} is negative; weights count how often a row stands, so 0 or more")
    usable = np.ones(len(values), dtype=bool)
    dropped: dict[str, int] = {}
    objective = objective or law.objective
    weights = _in_range(weights)
    for reason, bad in _defects(law, inputs, values, weights, takes_any_sign(objective)):
        if count := int(np.count_nonzero(bad & usable)):
            dropped[reason] = count
        usable &= ~bad
    if not usable.any():
        why = "; ".join(f"{count} because {reason}" for reason, count in dropped.items())
        raise EmptySelection(f"no usable rows: {why}" if why else "no usable rows: none were given")
    kept = np.flatnonzero(usable)
    group = _group(groups, len(values), kept)
    if takes_any_sign(objective) and (largest := float(np.max(np.abs(values[kept])))) > LARGEST:
        raise FitError(
            f"{law.target} reaches {largest:g}, which is too large to be squared and summed",
            hint="divide it by a power of ten",
        )
    scatter = scatter_of(objective, values[kept])
    return Data(inputs[kept], values[kept], weights[kept], group, label, kept, dropped, scatter)


def _in_range(weights: Array) -> Array:
    """Weights, which count in relation to each other, divided by the largest where sums of them would overflow."""
    largest = float(np.max(weights, initial=0.0, where=np.isfinite(weights)))
    return weights if largest == 0 or 1 / LARGEST < largest < LARGEST else weights / largest


def _defects(
    law: Law, inputs: Array, values: Array, weights: Array, any_sign: bool
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Reasons to drop a row, each with the rows it applies to; the first that applies counts."""
    yield f"{law.target} is missing", np.isnan(values)
    yield f"{law.target} is infinite", np.isinf(values)
    if not any_sign:
        yield f"{law.target} is zero or less", values <= 0
    for p, input_ in enumerate(law.inputs):
        column = inputs[:, p]
        yield f"{input_.name} is missing", np.isnan(column)
        yield f"{input_.name} is infinite", np.isinf(column)
        if input_.positive:
            yield f"{input_.name} is zero or less", column <= 0
    own = law.faults(inputs)
    if own is not None:
        for reason in sorted({each for each in own if each}):
            yield reason, np.array([each == reason for each in own])
    yield "weight is missing or infinite", ~np.isfinite(weights)
    yield "weight is zero", weights == 0


def _group(
    groups: Sequence[Any] | NDArray[Any] | None, count: int, kept: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Integer labels of the groups of the kept rows."""
    if groups is None:
        return None
    if len(groups) != count:
        raise FitError(f"there are {len(groups)} group labels for {count} rows")
    return _numbered(groups[int(k)] for k in kept)


def _numbered(labels: Iterable[Any]) -> NDArray[np.int64]:
    """Integers from 0 for labels, in order of first appearance."""
    seen: dict[Any, int] = {}
    return np.array([seen.setdefault(label, len(seen)) for label in labels], dtype=np.int64)
