"""Whether the rows behind a law are other ones than those it was fitted to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Staleness:
    """Whether a law's rows are other ones now.

    Parameters
    ----------
    is_stale : None when it is unknown
    reason : how the rows have changed, or why that is unknown; empty when they are the same
    """

    is_stale: bool | None
    reason: str = ""
