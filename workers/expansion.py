"""From the keys of a sweep to its runs: the grid's rows, the expressions over them, the configs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from isoflop.lakehouse.errors import did_you_mean
from isoflop.lakehouse.models.counts import SHAPE_OUTPUTS
from isoflop.lakehouse.runs.records import LARGEST_WHOLE, RunRecord
from isoflop.workers.components.component import nested_settings
from isoflop.workers.expressions import ExpressionError, Grid
from isoflop.workers.families import ConfigError, Experiment
from isoflop.workers.grid_rows import rows_of
from isoflop.workers.resources import Resources, bytes_of
from isoflop.workers.sweep_file import Document, Keys
from isoflop.workers.sweep_keys import SweepKeys

FAR_TOKENS = 0.1  # relative difference of tokens [1] from which the user should know
_Shape = dict[str, Any]  # what follows from a config without its length: counts, and settings left to their defaults


@dataclass(frozen=True)
class SweepPlan:
    """The runs of a sweep.

    Parameters
    ----------
    runs : R validated configs, in the order of the grid
    records : R run records, with the grid's own variables as extra columns
    resources : R needs
    excluded : rows of the grid that a condition of `exclude` removed
    repeated : rows that are the same run as an earlier one
    notes : what the user should know about the runs
    """

    runs: tuple[Experiment, ...]
    records: tuple[RunRecord, ...]
    resources: tuple[Resources, ...]
    excluded: int = 0
    repeated: int = 0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.runs)


def settings_of(record: RunRecord) -> dict[str, Any]:
    """Return what a run is told: its settings, the grid's own variables, its seed."""
    return {**record.config, **record.extra, "seed": record.seed}


def varied(records: Sequence[RunRecord]) -> list[str]:
    """Return the settings and grid variables in which runs differ."""
    rows = [settings_of(record) for record in records]
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if any(row.get(name) != rows[0].get(name) for row in rows)]


def expand(keys: SweepKeys, family: type[Experiment], document: Document) -> SweepPlan:
    """Return the runs of a sweep.

    Raises
    ------
    FileError : if an expression or a config is wrong, at the line that says it
    """
    return _Expansion(keys, family, document).plan()


class _Expansion:
    """The columns of one sweep while its expressions are evaluated."""

    def __init__(self, keys: SweepKeys, family: type[Experiment], document: Document) -> None:
        self.keys, self.family, self.document = keys, family, document
        self.places, self.rows = rows_of(keys, family, document)
        names = dict.fromkeys(name for row in self.rows for name in row)
        self.columns: dict[str, list[object]] = {name: [row.get(name) for row in self.rows] for name in names}
        own = (*family.model_fields, *family.settings(), *family.aliases)
        self.settings = frozenset((*own, *names, *keys.derive) if family.open_settings else own)
        self.read: frozenset[str] = frozenset()  # names that expressions use
        self.being_given: list[str] = []
        self.shapes: list[_Shape | ConfigError] = []
        self.shapes_used_by: Keys = ()
        self.varying = [name for name, values in self.columns.items() if any(value != values[0] for value in values)]
        self.grid = Grid(self.columns, len(self.rows))

    def plan(self) -> SweepPlan:
        """Evaluate everything and build the runs that stay."""
        with self.grid as grid:
            self._add_defaults()
            self._refuse_unused()
            for name, expression in self.keys.derive.items():
                grid.add(name, self._value(("derive", name), expression))
            for name in self.keys.given:
                self._add_given(name)
            kept = self._kept()
            runs = [self._run(row) for row in kept]
            self._check_shapes(kept, runs)
            needs = self._resources()
            records = [self._record(row, run) for row, run in zip(kept, runs, strict=True)]
        first = {record.run_id: position for position, record in reversed(list(enumerate(records)))}
        order = sorted(first.values())
        return SweepPlan(
            runs=tuple(runs[i] for i in order),
            records=tuple(records[i] for i in order),
            resources=tuple(needs[kept[i]] for i in order),
            excluded=len(self.rows) - len(kept),
            repeated=len(kept) - len(order),
            notes=(*self._rounded_tokens(kept, runs), *self.family.notes(runs, self.read)),
        )

    # Before anything is evaluated

    def _add_defaults(self) -> None:
        """Let expressions read the settings that the file leaves at their defaults."""
        for name, default in self.family.defaults().items():
            if name not in self.grid and name not in self.keys.derive:
                self.grid.add(name, [default] * self.grid.num_rows)

    def _refuse_unused(self) -> None:
        """Refuse a name that is neither a setting of the family nor read by any expression: it is a typo."""
        read: set[str] = set()
        for place, expression in self._expressions():
            try:
                read |= set(self.grid.names_in(expression))
            except ExpressionError as error:
                raise self.document.error(place, error.message, error.hint) from None
        self.read = frozenset(read)
        settings = [name for name in self.family.settings() if name != "seed"]
        for name in [*self.columns, *self.keys.derive]:
            if name not in self.settings and name.lower() not in read:
                raise self.document.error(
                    self._place(name, 0),
                    f"'{name}' is no setting of the family '{self.family.name}', and no expression uses it",
                    did_you_mean(name, settings, f"settings: {', '.join(settings)}"),
                )

    def _expressions(self) -> Iterator[tuple[Keys, str]]:
        for name, expression in self.keys.derive.items():
            yield ("derive", name), expression
        for name, expression in self.keys.given.items():
            yield ("given", name), expression
        yield from self._conditions()
        for name, needed in self.keys.resources:
            if needed is not None and bytes_of(needed) is None:
                yield ("resources", name), needed

    def _conditions(self) -> Iterator[tuple[Keys, str]]:
        is_list = isinstance(self.document.value.get("exclude"), list)
        for i, condition in enumerate(self.keys.exclude):
            yield (("exclude", i) if is_list else ("exclude",)), condition

    # Evaluating

    def _value(self, place: Keys, expression: str) -> list[object]:
        """Return the values of an expression, with what follows from the shape computed when it is asked for."""
        grid = self.grid
        try:
            for name in grid.names_in(expression):
                if name not in grid and name in self.keys.derive:
                    raise ExpressionError(f"'{name}' is derived later", hint=f"put '{name}' above '{place[-1]}'")
                if name in self.keys.given:
                    self._add_given(name)
                elif self.family.open_settings:
                    continue  # nothing is known of its shape; a name that nobody gives is said below
                elif name not in grid and (name in SHAPE_OUTPUTS or name in self.settings):
                    self._add_shapes(place)
            return grid.evaluate(expression)
        except ExpressionError as error:
            raise self.document.error(place, error.message, error.hint) from None

    def _add_given(self, name: str) -> None:
        """Compute a count of every row that the file gives, when it is asked for first."""
        place, text = ("given", name), self.keys.given[name]
        if name in self.grid:
            return
        if name in self.being_given:
            raise self.document.error(place, f"'{name}' needs itself: {' -> '.join([*self.being_given, name])}")
        self.being_given.append(name)
        values = self._value(place, text)
        for value in values:
            is_count = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
            if value is not None and not is_count:
                raise self.document.error(place, f"'{text}' is {value!r}; expected a finite number, zero or more")
        if name == "steps":
            values = [round(value) if isinstance(value, float) else value for value in values]
        self.being_given.pop()
        self.grid.add(name, values)

    def _add_shapes(self, place: Keys) -> None:
        """Compute counts and computed defaults of every row; a row that has none is an error only if it stays."""
        self.shapes_used_by = place
        known: dict[str, _Shape | ConfigError] = {}
        length = self.family.length_settings
        for row in range(self.grid.num_rows):
            config = {name: value for name, value in self._config(row).items() if name not in ("seed", *length)}
            key = repr(config)
            if key not in known:
                known[key] = _shape(self.family, config)
            self.shapes.append(known[key])
        settings = [name for name in self.family.settings() if name not in (*self.keys.derive, "seed", *length)]
        for name in (*SHAPE_OUTPUTS, *settings):
            if name not in self.grid:
                cells = [None if isinstance(shape, ConfigError) else shape.get(name) for shape in self.shapes]
                self.grid.add(name, [cell if isinstance(cell, bool | int | float | str) else None for cell in cells])

    def _kept(self) -> list[int]:
        """Return the rows that no condition excludes; a condition that is NULL excludes nothing."""
        out: set[int] = set()
        for place, condition in self._conditions():
            values = self._value(place, condition)
            if any(value is not None and not isinstance(value, bool) for value in values):
                raise self.document.error(place, f"'{condition}' is not a condition: it is not true or false")
            out |= {row for row, value in enumerate(values) if value}
        kept = [row for row in range(self.grid.num_rows) if row not in out]
        if not kept:
            raise self.document.error(
                ("exclude",), f"no run is left: all {self.grid.num_rows} rows of the grid are excluded"
            )
        return kept

    def _resources(self) -> list[Resources]:
        needs: dict[str, list[Any]] = {}
        for name, text in self.keys.resources:
            size = None if text is None else bytes_of(text)
            if text is None or size is not None:
                needs[name] = [size] * self.grid.num_rows
                continue
            needs[name] = self._value(("resources", name), text)
            for value in needs[name]:
                is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
                if not is_number or (name == "cpus" and value == 0):
                    least = "more than 0" if name == "cpus" else "0 or more"
                    problem = f"'{text}' is {value!r}, expected a number of {name}, {least}"
                    raise self.document.error(("resources", name), problem)
        return [
            Resources(float(cpus), None if gpus is None else float(gpus), None if memory is None else int(memory))
            for cpus, gpus, memory in zip(needs["cpus"], needs["gpus"], needs["memory"], strict=True)
        ]

    # Building

    def _config(self, row: int) -> dict[str, Any]:
        """Return the family's settings in a row; a missing value leaves the default."""
        named = (name for name in (*self.columns, *self.keys.derive) if name in self.settings)
        cells = {name: self.grid.columns[name][row] for name in named if name in self.grid}
        return {name: value for name, value in cells.items() if value is not None}

    def _run(self, row: int) -> Experiment:
        try:
            return self.family.parse(self._config(row))
        except ConfigError as error:
            field = (error.field or "").partition(".")[0]
            raise self.document.error(self._place(field, row), error.message, error.hint) from None

    def _record(self, row: int, run: Experiment) -> RunRecord:
        """Return the run's record, with the variables that are no settings of the family as extra columns."""
        given = {name: self.grid.columns[name][row] for name in self.keys.given}
        record = replace(run.record(), **given) if given else run.record()  # type: ignore[arg-type]
        for count in ("params", "params_non_embedding", "steps", "tokens"):
            value = getattr(record, count)
            if value is not None and value > LARGEST_WHOLE:
                problem = f"the run would have {value:.3g} {count.replace('_', ' ')}, more than can be counted"
                raise self.document.error(("grid",), problem, f"at most {LARGEST_WHOLE:.3g}")
        own = {name: self.grid.columns[name][row] for name in (*self.columns, *self.keys.derive)}
        extra = {name: value for name, value in own.items() if name not in self.settings and value is not None}
        return replace(record, name=self._label(row), tags=self.keys.tags, extra={**record.extra, **extra})

    def _label(self, row: int) -> str:
        """Return what users call a run: the grid's variables in which the runs of the sweep differ."""
        return " ".join(f"{name}={_short(self.columns[name][row])}" for name in self.varying) or self.keys.name

    def _rounded_tokens(self, kept: Sequence[int], runs: Sequence[Experiment]) -> Iterator[str]:
        """Say which runs get other tokens than the file asks for, because a run takes whole steps."""
        far: list[tuple[float, int, int]] = []
        for row, run in zip(kept, runs, strict=True):
            asked = None if self.family.open_settings else self._config(row).get("tokens")
            has = run.record().tokens
            if isinstance(asked, int | float) and has and abs(has - asked) > FAR_TOKENS * asked:
                far.append((abs(has - asked) / asked, round(asked), round(has)))
        if far:
            _, asked, has = max(far)
            what = f"up to {has:,} tokens in place of {asked:,}, in {len(far)} of {len(runs)} runs"
            yield f"rounded tokens: {what}; a run takes whole steps, so make its batches smaller, or ask for more"

    def _check_shapes(self, kept: Sequence[int], runs: Sequence[Experiment]) -> None:
        """Make sure that the counts an expression has read are those of the finished config."""
        if not self.shapes:
            return
        for row, run in zip(kept, runs, strict=True):
            shape = self.shapes[row]
            if isinstance(shape, ConfigError):
                raise self.document.error(
                    self.shapes_used_by, f"the shape is not known yet: {shape.message}", shape.hint
                )
            if any(shape[name] != value for name, value in run.counts().outputs().items()):
                raise self.document.error(
                    self.shapes_used_by,
                    "a setting that changes the shape's counts is derived after they are used here",
                    "derive the shape first (width, depth, heads, …), then what depends on its counts",
                )

    def _place(self, name: str, row: int) -> Keys:
        """Return where the file says the value of a setting in a row."""
        if name in self.keys.derive:
            return ("derive", name)
        places = self.places[row]
        if name not in places:  # it may be said inside a component
            parts = self.family.components().items()
            name = next((part for part, choices in parts if name in nested_settings(choices, part)), name)
        return places.get(name, ("family",))


def _shape(family: type[Experiment], config: Mapping[str, Any]) -> _Shape | ConfigError:
    """Return the counts and settings of a config, whatever its length, or why it has none."""
    try:
        run = family.parse_shape(config)
    except ConfigError as error:
        return error
    return {**run.values(), **run.counts().outputs()}


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        return str(value.get("kind") or value.get("source") or "…")
    return f"{value:g}" if isinstance(value, float) else str(value)
