"""A time step of a flow: by Euler's method, which is gradient descent, or by the classical one of fourth order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def stepped(state: Floats, velocity: Callable[[Floats], Floats], time: float, substeps: int | None = None) -> Floats:
    """Return the state after a time, in an array of its own.

    Parameters
    ----------
    state : of any shape
    velocity : of a state, in its shape
    substeps : parts of the time, each of fourth order; None for one step of Euler's method

    Example
    -------
    >>> stepped(np.array([1.0]), lambda x: -x, 0.5), stepped(np.array([1.0]), lambda x: -x, 0.5, 8).round(6)
    (array([0.5]), array([0.606531]))
    """
    if substeps is None:
        return state + time * velocity(state)
    part = time / substeps
    for _ in range(substeps):
        first = velocity(state)
        second = velocity(state + (part / 2) * first)
        third = velocity(state + (part / 2) * second)
        fourth = velocity(state + part * third)
        state = state + (part / 6) * (first + 2 * second + 2 * third + fourth)
    return state
