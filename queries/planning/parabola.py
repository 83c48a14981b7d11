"""A parabola of a value over the logarithm of a size, by least squares, and where it is lowest.

It is symmetric, and what it is drawn through seldom is: its vertex lies beside the minimum unless the sizes are spread
evenly around it. Best sizes at equal compute and best settings of a sweep are read off the same parabola.

Source: Hoffmann et al. 2022 (arXiv:2203.15556), section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

FEWEST_SIZES = 4  # different sizes below which neither parabola nor spline says anything


@dataclass(frozen=True, eq=False)
class Parabola:
    """Least-squares parabolas of values over log size, for B resamples.

    Parameters
    ----------
    center, scale : the parabola's variable is (log size - center) / scale
    coefficients : (B, 3) constant, slope and bend
    vertex : (B,) size at the minimum, in its own unit; nan where the sizes drawn do not bracket one
    """

    center: float
    scale: float
    coefficients: Array
    vertex: Array


def parabola_through(sizes: Array, values: Array, drawn: Array) -> Parabola:
    """Return the parabolas; a vertex counts where it opens upwards and smaller and larger sizes were drawn.

    Parameters
    ----------
    sizes : (n,) positive
    values : (n,) in any unit
    drawn : (B, n) how often each point was drawn

    Example
    -------
    >>> sizes = np.array([1.0, 2.0, 4.0, 8.0])
    >>> parabola_through(sizes, np.log(sizes / 3) ** 2, np.ones((1, 4))).vertex.round(9)
    array([3.])
    """
    logs = np.log(sizes)
    center, scale = logs.mean(), max(float(np.ptp(logs)), 1e-12) / 2
    x = (logs - center) / scale
    powers = np.stack([x**k for k in range(5)])
    moments = drawn @ powers.T  # (B, 5)
    right = drawn @ (powers[:3] * values).T  # (B, 3)
    normal = moments[:, np.add.outer(np.arange(3), np.arange(3))]
    usable = _num_sizes(sizes, drawn) >= FEWEST_SIZES
    normal[~usable] = np.eye(3)
    coefficients = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
    vertex = vertices(coefficients)
    low = np.min(np.where(drawn > 0, x, np.inf), axis=1)
    high = np.max(np.where(drawn > 0, x, -np.inf), axis=1)
    inside = usable & (coefficients[:, 2] > 0) & (vertex > low) & (vertex < high)
    found = np.where(inside, np.exp(center + scale * np.where(inside, vertex, 0.0)), np.nan)
    return Parabola(float(center), scale, coefficients, found)


def vertices(coefficients: Array) -> Array:
    """Return where parabolas (B, 3) have their vertex (B,), a minimum only where the bend is above 0."""
    _, slope, bend = np.moveaxis(coefficients, 1, 0)
    with np.errstate(all="ignore"):
        return np.asarray(-slope / (2 * bend))


def grouped(logs: Array, width: float) -> Labels:
    """Return groups (n,) of values that lie within a width of their lowest, from the lowest value up.

    Example
    -------
    >>> grouped(np.array([0.0, 5.0, 0.1, 0.3]), 0.2)
    array([0, 2, 0, 1])
    """
    order = np.argsort(logs, kind="stable")
    label = np.empty(len(logs), dtype=np.int64)
    current, first = -1, -np.inf
    for position in order:
        if logs[position] > first + width:
            current, first = current + 1, logs[position]
        label[position] = current
    return label


def _num_sizes(sizes: Array, drawn: Array) -> Array:
    """Number of different sizes (B,) among the points drawn (B, n)."""
    onto = np.eye(len(np.unique(sizes)))[np.unique(sizes, return_inverse=True)[1]]
    return np.asarray(((drawn @ onto) > 0).sum(axis=1))
