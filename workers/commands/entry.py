"""Calls a function of the user's with the run's settings: `python -m isoflop.workers.commands.entry module:function`.

It is a process of its own, as a command is, so that a time limit, Ctrl-C and a lost worker end it the same way.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

from isoflop.lakehouse.errors import UsageError
from isoflop.lakehouse.joined import joined_run


def function_at(place: str) -> Callable[..., Any]:
    """Return the function that `module:function` names; the folder this process runs in comes first.

    Raises
    ------
    UsageError : if the module has no such function
    """
    module, _, name = place.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise UsageError(f"'{module}' has no function '{name}'", hint="entry: module:function, f(config, run)")
    return found  # type: ignore[no-any-return]


def main(place: str) -> None:
    """Call the function with the settings of the run that a sweep has begun, and the run."""
    function = function_at(place)
    joined = joined_run()
    if joined is None:
        raise UsageError("no sweep has started this process", hint="entry: module:function in a sweep file starts it")
    with joined as run:
        function(dict(run.config), run)


if __name__ == "__main__":
    main(sys.argv[1])
