"""How far a place lies beyond rows, along the ray from their middle.

Rows and places have coordinates: the natural logarithm of an input that is positive, the value of any other in units
in which the rows span `SHORTEST_SPAN`. The rows lie in a hull with faces across every input and across every sum and
difference of two: a corner that no run has visited lies outside, and so does compute that none has spent, though each
input by itself is usual. An input that hardly varies is stretched until it spans `SHORTEST_SPAN`, so that a factor of
two beyond five nearly equal sizes counts as the large step that it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.laws.algebra.expression import sql_number
from isoflop.queries.laws.law import Law

Array = NDArray[np.float64]

SHORTEST_SPAN = 3.0  # coordinates [1] that rows are taken to span at least: a factor of 20
BEFORE_THE_FACE = 0.5  # of the way to a face [1] that counts too: a bend beyond the rows has begun among them


@dataclass(frozen=True)
class Hull:
    """Where rows lie.

    Parameters
    ----------
    scales : (P,) coordinates per natural logarithm of an input, or per unit of one that is taken as it is; 0 for a
        setting, which no distance is counted in
    are_logs : (P,) whether the logarithm of the input is taken
    middle : (P,) mean coordinates of the rows
    low, high : (D,) how far the rows reach from the middle to either side of each direction: first every coordinate
        itself, then the sum and the difference of each two
    size : root mean square length of the rays from the middle to the rows
    """

    scales: tuple[float, ...]
    are_logs: tuple[bool, ...]
    middle: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    size: float

    def coordinates(self, inputs: Array) -> Array:
        """Return the coordinates (R, P) of inputs (R, P) from the middle; nan where there are none."""
        with np.errstate(all="ignore"):
            logs = np.log(np.where(inputs > 0, inputs, np.nan))
        return np.asarray(np.where(self.are_logs, logs, inputs) * self.scales - self.middle)

    def distance(self, inputs: Array) -> Array:
        """Return how far places lie beyond the rows.

        With r from the middle to the face and d from there to the place, along the ray, sqrt(d (d + r / 2)): nothing
        among the rows, growing from the face without a step, and d far outside.

        Parameters
        ----------
        inputs : (R, P) places

        Returns
        -------
        (R,) >= 0, in coordinates; 0 where an input is not finite
        """
        ray = self.coordinates(inputs)
        length = np.sqrt((ray**2).sum(axis=1))
        outside = np.zeros(len(inputs))
        for direction, low, high in zip(_directions(len(self.scales)), self.low, self.high, strict=True):
            along = sum(sign * ray[:, position] for position, sign in direction)
            with np.errstate(all="ignore"):
                share = np.where(along > high, 1 - high / along, np.where(along < low, 1 - low / along, 0.0))
            outside = np.fmax(outside, share)
        found = length * np.sqrt(outside * (outside + BEFORE_THE_FACE * (1 - outside)))
        return np.asarray(np.where(np.isfinite(found), found, 0.0))

    def sql(self, inputs: Sequence[str], name: str) -> str:
        """Return SQL for `distance` at one place.

        Parameters
        ----------
        inputs : P texts, SQL of type DOUBLE for each input
        name : of a lambda's variable that the texts do not use
        """
        values = [
            f"{f'ln({text})' if is_log else text} * {sql_number(scale)} - {sql_number(middle)}"
            for text, scale, is_log, middle in zip(inputs, self.scales, self.are_logs, self.middle, strict=True)
        ]
        length = f"sqrt({' + '.join(f'pow({name}[{position + 1}], 2)' for position in range(len(values)))})"
        shares = []
        for direction, low, high in zip(_directions(len(values)), self.low, self.high, strict=True):
            along = " ".join(f"{'+' if sign > 0 else '-'} {name}[{position + 1}]" for position, sign in direction)
            along = f"({along.removeprefix('+ ')})"
            shares.append(
                f"CASE WHEN {along} > {sql_number(high)} THEN 1e0 - {sql_number(high)} / {along} "
                f"WHEN {along} < {sql_number(low)} THEN 1e0 - {sql_number(low)} / {along} ELSE 0e0 END"
            )
        inner = f"{name}[1] * sqrt({name}[2] * ({name}[2] + {sql_number(BEFORE_THE_FACE)} * (1e0 - {name}[2])))"
        rays = f"list_transform([[{', '.join(values)}]], lambda {name}: [{length}, greatest(0e0, {', '.join(shares)})])"
        return f"list_transform({rays}, lambda {name}: {inner})[1]"

    def kept(self) -> dict[str, Any]:
        """Return what JSON keeps of it."""
        return {
            "scales": list(self.scales), "are_logs": list(self.are_logs), "middle": list(self.middle),
            "low": list(self.low), "high": list(self.high), "size": self.size,
        }  # fmt: skip


def hull_of(law: Law, inputs: Array) -> Hull:
    """Return where rows lie.

    Parameters
    ----------
    law : says which inputs are positive
    inputs : (R, P) usable rows, one or more
    """
    with np.errstate(all="ignore"):
        are_logs = tuple(
            bool(input_.positive and not input_.is_setting and (column > 0).all())
            for input_, column in zip(law.inputs, inputs.T, strict=True)
        )
        plain = np.where(are_logs, np.log(np.where(inputs > 0, inputs, np.nan)), inputs)
    scales = [
        0.0 if input_.is_setting else _scale(plain[:, position], is_log)
        for position, (input_, is_log) in enumerate(zip(law.inputs, are_logs, strict=True))
    ]
    coordinates = plain * scales
    middle = coordinates.mean(axis=0)
    rays = coordinates - middle
    along = [sum(sign * rays[:, position] for position, sign in each) for each in _directions(len(scales))]
    low, high = ([float(end(values)) for values in along] for end in (np.min, np.max))
    size = float(np.sqrt((rays**2).sum(axis=1).mean()))
    return Hull(tuple(scales), are_logs, tuple(middle.tolist()), tuple(low), tuple(high), size)


def size_edge(law: Law, inputs: Array) -> tuple[float, float] | None:
    """Return the lowest and largest size of rows: the logarithm of the product of their positive inputs.

    Parameters
    ----------
    law : says which inputs are positive
    inputs : (R, P) usable rows
    """
    positive = [position for position, input_ in enumerate(law.inputs) if input_.positive and not input_.is_setting]
    if not positive or not len(inputs):
        return None
    columns = inputs[:, positive]
    with np.errstate(all="ignore"):
        logs = np.log(np.where(columns > 0, columns, np.nan)).sum(axis=1)
    return float(logs.min()), float(logs.max())


def kept_hull(kept: Mapping[str, Any]) -> Hull:
    """Return what `Hull.kept` gave."""
    scales, middle, low, high = (tuple(map(float, kept[name])) for name in ("scales", "middle", "low", "high"))
    return Hull(scales, tuple(map(bool, kept["are_logs"])), middle, low, high, float(kept["size"]))


def _scale(values: Array, is_log: bool) -> float:
    """Coordinates per unit of a column."""
    span = float(np.ptp(values))
    if is_log:
        return max(1.0, SHORTEST_SPAN / span) if span > 1e-3 else SHORTEST_SPAN * 1e3  # one value, and its rounding
    largest = float(np.max(np.abs(values)))
    return SHORTEST_SPAN / (span if span > 1e-3 * largest else largest or 1.0)


def boxed(law: Law, support: Array, edge: tuple[float, float] | None) -> Hull | None:
    """Return the hull of rows of which only the range of each input is known, and of the product of all.

    Parameters
    ----------
    support : (P, 2) lowest and largest value of each input; None is returned where one is not finite
    edge : lowest and largest log of the product of the inputs, or None
    """
    if not len(support) or not np.isfinite(support).all():
        return None
    hull = hull_of(law, corners(support))
    if edge is None or len(support) != 2 or not all(hull.are_logs) or hull.scales != (1.0, 1.0):
        return hull
    low, high = (end - sum(hull.middle) for end in edge)
    return replace(hull, low=(*hull.low[:2], low, hull.low[3]), high=(*hull.high[:2], high, hull.high[3]))


def corners(support: Array) -> Array:
    """Return the corners (2 ** P, P) of a range (P, 2)."""
    return np.array(list(itertools.product(*support.tolist())), dtype=np.float64)


def _directions(count: int) -> list[tuple[tuple[int, int], ...]]:
    """Each direction across which a hull has faces: positions of coordinates and the sign of each."""
    pairs = list(itertools.combinations(range(count), 2))
    single = [((position, 1),) for position in range(count)]
    return [*single, *(((first, 1), (second, sign)) for first, second in pairs for sign in (1, -1))]
