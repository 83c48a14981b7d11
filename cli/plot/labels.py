"""Where the names of lines stand beside their ends: near them, in their order, none over another."""

from __future__ import annotations

from collections.abc import Sequence


def spread(places: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """Return places moved apart until each is `least` from the next, as little as that takes; their order stays.

    Parameters
    ----------
    places : of the ends of lines, on one straight scale
    least : distance from one name to the next, in its unit
    low, high : ends of the scale, which the names keep to where they all fit

    Example
    -------
    >>> spread([0.9, 0.1, 0.9], 0.2, 0.0, 1.0)
    [0.8, 0.1, 1.0]
    >>> spread([0.5, 0.7], 0.1, 0.0, 1.0)
    [0.5, 0.7]
    """
    order = sorted(range(len(places)), key=lambda number: places[number])
    # Least squares: less the distance that each must keep from the first, the places may not fall (pooled neighbors).
    pools: list[list[float]] = []
    for rank, number in enumerate(order):
        pools.append([places[number] - rank * least])
        while len(pools) > 1 and _mean(pools[-2]) > _mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    free = [_mean(pool) for pool in pools for _ in pool]
    room = high - (len(order) - 1) * least
    found = [0.0] * len(places)
    for rank, number in enumerate(order):
        found[number] = round(max(low, min(room, free[rank])) + rank * least, 12)
    return found


def beside(places: Sequence[float], width: float) -> list[list[int]]:
    """Return the numbers of names that stand beside each other, by where they begin: those less than a width apart.

    Example
    -------
    >>> beside([0.8, 0.2, 0.85], 0.1)
    [[1], [0, 2]]
    """
    columns: list[list[int]] = []
    for number in sorted(range(len(places)), key=lambda each: places[each]):
        if columns and places[number] - places[columns[-1][-1]] < width:
            columns[-1].append(number)
        else:
            columns.append([number])
    return [sorted(column) for column in columns]


def _mean(pool: Sequence[float]) -> float:
    return sum(pool) / len(pool)
