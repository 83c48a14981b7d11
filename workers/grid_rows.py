"""The rows of a sweep's grid: every combination of what its axes say, and where the file says each value."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from isoflop.workers.components.component import nested_settings
from isoflop.workers.families import Experiment
from isoflop.workers.sweep_file import Document, Keys
from isoflop.workers.sweep_keys import SweepKeys

MAX_ROWS = 1_000_000  # of a grid, before exclusion


def settings_in(family: type[Experiment], name: str, value: Any, place: Keys) -> Iterator[tuple[str, Any, Keys]]:
    """Yield the settings that a name of a sweep file stands for, with their values and places.

    The settings inside a component, `optimizer: {kind: sgd, momentum: 0.9}`, are those of the run, as if each were
    written by itself; everything else is one setting.
    """
    name = family.aliases.get(name, name)
    choices = family.components().get(name)
    if not choices or not isinstance(value, Mapping):
        yield name, value, place
        return
    settings = {field: setting for setting, field in nested_settings(choices, name).items()}
    for key, own in value.items():
        yield settings.get(key, str(key)), own, (*place, key)


def rows_of(
    keys: SweepKeys, family: type[Experiment], document: Document
) -> tuple[list[dict[str, Keys]], list[dict[str, Any]]]:
    """Return where the file says each value of each row of the grid, and the rows."""
    axes = list(_axes(keys, family, document))
    size = math.prod(len(axis) for axis in axes)
    if size > MAX_ROWS:
        raise document.error(("grid",), f"the grid has {size:,} rows, more than {MAX_ROWS:,}; split the sweep")
    combined = [{name: cell for part in row for name, cell in part.items()} for row in itertools.product(*axes)]
    places = [{name: place for name, (_, place) in row.items()} for row in combined]
    return places, [{name: value for name, (value, _) in row.items()} for row in combined]


def _axes(keys: SweepKeys, family: type[Experiment], document: Document) -> Iterator[list[dict[str, tuple[Any, Keys]]]]:
    """Yield the axes of the grid: on each, the settings of a step with their place in the file."""
    in_points: dict[str, tuple[Any, Keys]] = {}
    if keys.points:
        points = [
            _once(
                document,
                [
                    each
                    for name, value in point.items()
                    for each in settings_in(family, name, value, keys.point_place(i, name))
                ],
            )
            for i, point in enumerate(keys.points)
        ]
        for point in points:
            for value, place in point.values():
                _check_flat(family, document, value, place)
        in_points = {name: cell for point in points for name, cell in point.items()}
        yield points
    written: list[tuple[str, Any, Keys]] = []
    for name, value in keys.apart().items():
        written += settings_in(family, name, value, (name,))
    written += [each for name, value in keys.grid.items() for each in settings_in(family, name, value, ("grid", name))]
    _once(document, [*((name, *cell) for name, cell in in_points.items()), *written])
    for name, given, place in written:
        _check_flat(family, document, given, place)
        if not isinstance(given, list):
            yield [{name: (given, place)}]
            continue
        if not given:
            raise document.error(place, f"'{name}' has no values")
        if len({repr(value) for value in given}) < len(given):
            raise document.error(place, f"'{name}' has the same value twice")
        yield [{name: (value, (*place, i))} for i, value in enumerate(given)]
    yield [{"seed": (seed, ("seeds",))} for seed in keys.seeds]


def _check_flat(family: type[Experiment], document: Document, given: Any, place: Keys) -> None:
    """Refuse a mapping in the place of one setting of a component: `optimizer: {kind: {kind: sgd}}`.

    Parameters
    ----------
    given : value, or list of values, of the setting
    place : where the file says it; its last key is the setting's name
    """
    part = next((str(key) for key in reversed(place[:-1]) if str(key) in family.components()), None)
    values = given if isinstance(given, list) else [given]
    wrong = next((value for value in values if isinstance(value, Mapping)), None)
    if part is not None and wrong is not None:
        raise document.error(
            place, f"'{place[-1]}' of {part} is {dict(wrong)!r}; it should be one value, not a mapping"
        )


def _once(document: Document, written: Sequence[tuple[str, Any, Keys]]) -> dict[str, tuple[Any, Keys]]:
    """Return settings with their values and places, each said once.

    Raises
    ------
    FileError : for one that is said twice, by itself and inside a component, in `points` and in `grid`
    """
    found: dict[str, tuple[Any, Keys]] = {}
    for name, value, place in written:
        if name in found:
            first = ".".join(str(key) for key in found[name][1])
            problem = f"'{name}' is given twice, here and by {first}; give one of the two"
            raise document.error(place, problem)
        found[name] = (value, place)
    return found
