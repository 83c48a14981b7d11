"""Chosen runs that are nearly one point, made one point: it is then trained with several seeds.

Where cost counts and small runs are cheap, the best use of many of them is often to average their scatter at one place;
the search, which moves each run by itself, leaves them some per cent apart, and that difference says nothing: in ten
designs of planted worlds merging left 3 to 5 places of 3 to 8, and each forecast as narrow as before to five digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.planning.design import ROOM, Choices, choose
from isoflop.queries.planning.problem import Array, Variable

NEAR = 0.1  # relative difference [1] in every variable up to which runs are one point: the search comes no closer


def merged(
    points: Array,
    variables: Sequence[Variable],
    possible: Callable[[Array], NDArray[np.bool_]],
    choices_of: Callable[[Array], Choices],
    seed: int,
) -> tuple[Array, Choices, list[int]]:
    """Return chosen runs with those that are nearly one point at one point, within the conditions and the budgets.

    Parameters
    ----------
    points : (n, V) the runs
    possible : (M, V) points to (M,) whether each is a run that may be chosen
    choices_of : makes candidates of (M, V) points
    seed : of the exchanges between what is left

    Returns
    -------
    the (M, V) candidates, as choices too, and the n positions among them that are chosen, the most helpful first
    """
    places = points.copy()
    for group in _groups(points, variables):
        tried = np.concatenate([points[group], _middle(points[group], variables)])
        best: tuple[float, Array] | None = None
        for place in tried[possible(tried)]:
            moved = places.copy()
            moved[group] = place
            choices = choices_of(moved)
            if (choices.left(range(len(moved))) < -ROOM * choices.limits).any():
                continue
            score = choices.score(range(len(moved)))
            if best is None or score > best[0]:
                best = score, moved
        if best is not None:
            places = best[1]
    candidates, positions = np.unique(places, axis=0, return_inverse=True)
    choices, start = choices_of(candidates), [int(position) for position in positions.ravel()]
    return candidates, choices, choose(choices, len(points), seed=seed, start=start) or start


def _groups(points: Array, variables: Sequence[Variable]) -> list[list[int]]:
    """Return the positions of several runs each that are near the first of them in every variable."""
    groups: list[list[int]] = []
    for position, point in enumerate(points):
        for group in groups:
            if _is_near(point, points[group[0]], variables):
                group.append(position)
                break
        else:
            groups.append([position])
    return [group for group in groups if len(group) > 1]


def _is_near(one: Array, other: Array, variables: Sequence[Variable]) -> bool:
    fixed = np.array([bool(variable.values) for variable in variables])
    difference = np.abs(one - other)
    return bool((difference <= np.where(fixed, 0.0, NEAR * np.minimum(np.abs(one), np.abs(other)))).all())


def _middle(points: Array, variables: Sequence[Variable]) -> Array:
    """Return (1, V) the geometric mean of points, whole where only whole numbers count; plain at and below zero."""
    middle = points.mean(axis=0)
    for v, variable in enumerate(variables):
        if (points[:, v] > 0).all():
            middle[v] = np.exp(np.log(points[:, v]).mean())
        if variable.values:
            middle[v] = points[0, v]
        elif variable.is_integer:
            middle[v] = np.clip(np.rint(middle[v]), np.ceil(variable.lower), np.floor(variable.upper))
        else:
            middle[v] = np.clip(middle[v], variable.lower, variable.upper)
    found: Array = middle[None]
    return found
