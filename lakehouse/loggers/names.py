"""What a trainer logs, in the words of the lake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ARGUMENTS = ("step", "seconds")  # names that `run.log` has for itself


def lake_metrics(logged: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the numbers of a log entry under our names; text and media are left out.

    Example
    -------
    >>> lake_metrics({"eval_loss": 3.5, "step": 7, "note": "text"}, {"eval_loss": "validation_loss"})
    {'validation_loss': 3.5, 'logged_step': 7}
    """
    return {
        f"logged_{name}" if name in ARGUMENTS else names.get(name, name): value
        for name, value in logged.items()
        if isinstance(value, int | float) or hasattr(value, "item")
    }
