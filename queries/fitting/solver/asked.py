"""How many predictions a fit asks of a law, counted where the solver asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Asked:
    """The number of coefficient vectors a law has predicted the rows for."""

    predictions: int = 0


_asked: ContextVar[Asked | None] = ContextVar("asked", default=None)


@contextmanager
def counting() -> Iterator[Asked]:
    """Count what is asked within a block, without what a block inside it counts.

    Example
    -------
    >>> with counting() as asked:
    ...     ask(3)
    ...     ask(4)
    >>> asked.predictions
    7
    """
    asked = Asked()
    token = _asked.set(asked)
    try:
        yield asked
    finally:
        _asked.reset(token)


def ask(count: int) -> None:
    """Add to what is counted, if anything is."""
    asked = _asked.get()
    if asked is not None:
        asked.predictions += count
