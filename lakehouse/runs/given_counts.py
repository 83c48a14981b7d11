"""The counts that a training script says of its run, as people write them: each a number, or an error naming it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from isoflop.lakehouse.errors import RecordError, did_you_mean
from isoflop.lakehouse.models.counts import COUNTS
from isoflop.lakehouse.runs.records import RunRecord
from isoflop.lakehouse.units import read_size


def counts_given(config: Mapping[str, object], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a run that are said beside its settings, counts among the settings with them.

    Parameters
    ----------
    config : the settings of the run
    given : counts and further fields of a `RunRecord` by name; None is open

    Raises
    ------
    RecordError : for a name that a run does not have, a count that is none, one that the settings say otherwise, or
        settings whose names differ only in case
    """
    _check_case(config)
    known = {field.name for field in fields(RunRecord)}
    for name in given:
        if name not in known:
            otherwise = f"settings go into the config: {{'{name}': …}}; counts are {', '.join(COUNTS)}"
            raise RecordError(f"a run has no '{name}'", hint=did_you_mean(name, COUNTS, otherwise))
    found = {name: _count(name, value) if name in COUNTS else value for name, value in given.items()}
    for name in COUNTS:
        said = None
        with contextlib.suppress(RecordError):  # a setting that is no count is a setting all the same
            said = _count(name, config.get(name))
        if said is None:
            continue
        if found.get(name) is None:
            found[name] = said
        elif found[name] != said:
            raise RecordError(
                f"{name} is {given[name]!r}, and {config[name]!r} among the settings", hint="say it once, or the same"
            )
    return found


def _count(name: str, value: object) -> int | float | None:
    """Return a count as a number, None for one that is left open."""
    if value is None:
        return None
    plain: Any = value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value
    if isinstance(plain, str):
        size = read_size(plain)
        if size is None:
            raise RecordError(f"{name} is {value!r}; expected a number, such as 7e9 or '7B'")
        plain = int(size) if size.is_integer() else size
    is_number = isinstance(plain, int | float) and not isinstance(plain, bool)
    if not is_number or not plain >= 0 or plain == math.inf:
        raise RecordError(f"{name} is {value!r}; expected a finite number, zero or more")
    if name == "steps" and plain != int(plain):
        raise RecordError(f"steps is {value!r}; expected a whole number")
    return int(plain) if name == "steps" else plain


def _check_case(config: Mapping[str, object]) -> None:
    """Refuse settings that are one column: its name does not tell upper from lower case."""
    seen: dict[str, str] = {}
    for name in map(str, config):
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise RecordError(
                f"the settings '{other}' and '{name}' differ only in case, and are one column",
                hint="rename one of them",
            )
