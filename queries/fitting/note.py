"""A note: what the user should know about a fit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """Something a user should know about a fit.

    Parameters
    ----------
    code : machine-readable name, e.g. `exponent_at_bound`
    message : one line for display
    """

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"
