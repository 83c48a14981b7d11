"""Causal marching: equations between correlations and responses of T steps, solved in a window that grows.

What happens at a step depends on earlier ones alone, so a window of steps is settled by sweeps through the equations
before the next steps join it. All steps at once would overflow: late entries run away before early ones have settled.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from isoflop.queries.theory.equivalents import Array

MOST_SWEEPS = 60  # within a window; those that settle take 5 to 25
ACCURACY = 1e-8  # relative change in a sweep at which a window is done


class Marching(Protocol):
    """Equations of a window of steps."""

    @property
    def size(self) -> int:
        """Steps of the window, T."""

    def grow(self, size: int) -> None:
        """Go on to a longer window."""

    def sweep(self) -> None:
        """Put the matrices of the window through their equations once."""

    def watched(self) -> Array:
        """Return what has to settle, any number of values of one size."""


def march(state: Marching, steps: int, window: int, largest: float, problem: str) -> None:
    """Settle a window after another, up to some steps.

    Parameters
    ----------
    state : of the first window, min(window, steps) steps
    window : steps by which it grows
    largest : of what is watched; above it nothing has settled
    problem : what an error says of a window that does not settle

    Raises
    ------
    ArithmeticError : if a window does not settle
    """
    while True:
        settle(state, largest, problem)
        if state.size == steps:
            return
        state.grow(min(state.size + window, steps))


def settle(state: Marching, largest: float, problem: str) -> None:
    """Sweep until what is watched stays."""
    before = np.zeros(1)
    for _ in range(MOST_SWEEPS):
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                state.sweep()
        except np.linalg.LinAlgError:  # entries that ran away before they settled
            break
        now = state.watched()
        if not np.isfinite(now).all():
            break
        if np.max(np.abs(now - before)) < ACCURACY * np.max(np.abs(now)):
            if np.max(now) >= largest:
                break
            return
        before = now.copy()
    raise ArithmeticError(f"{problem} (before step {state.size})")


def held_on(correlations: Array, size: int) -> Array:
    """Return correlations (size, size) of a longer window: later steps are as the last."""
    place = np.minimum(np.arange(size), len(correlations) - 1)
    found: Array = correlations[np.ix_(place, place)]
    return found


def padded(response: Array, size: int, diagonal: float = 0.0) -> Array:
    """Return responses (size, size) of a longer window: none of later steps, or `diagonal` to themselves."""
    found: Array = diagonal * np.eye(size)
    found[: len(response), : len(response)] = response
    return found
