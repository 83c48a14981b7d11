"""Pictures of runs: their loss over steps, tokens, flops or seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isoflop.cli.plot.figure import Axis, Figure, Line, Mark, ToneScale, floats, tones
from isoflop.lakehouse.errors import EmptySelection, UsageError, did_you_mean
from isoflop.lakehouse.sql.quoting import literal, quoted

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse

POSITIONS = {
    "step": Axis("step", is_log=True),
    "tokens": Axis("tokens", is_log=True),
    "flops": Axis("training compute", "FLOP", is_log=True, notation="power"),
    "seconds": Axis("time", "s", is_log=False),
}
"""What a loss curve can be drawn over."""

MOST_POINTS = 200_000
"""Curve points read for one picture; beyond that every n-th is read, and the picture says so."""

MOST_CURVES = 60
"""Curves drawn in one picture; of more, the ones of lowest loss."""

NAMED_CURVES = 8
"""Curves up to this number carry their name at the end of the line."""


@dataclass(frozen=True)
class NamedRun:
    """A run as a picture names it."""

    run_id: str
    label: str
    params: float | None


def identifier(name: str) -> str:
    """Return a name as it can stand in a statement: quoted when it is a keyword or holds more than word characters.

    Example
    -------
    >>> identifier("params"), identifier("final loss"), identifier("order")
    ('params', '"final loss"', '"order"')
    """
    import duckdb

    if [kind.name for _, kind in duckdb.tokenize(name)] == ["identifier"] and name.isidentifier():
        return name
    return quoted(name)


def number(value: float | np.floating[Any]) -> str:
    """Return a float as SQL, with as many digits as it needs and seven at most."""
    return f"{value:.7g}"


def find_runs(lake: Lakehouse, names: Sequence[str]) -> list[NamedRun]:
    """Return the runs meant by these names: an id, the beginning of one, or a run's name.

    Raises
    ------
    UsageError : if a name belongs to no run, or the beginning of an id to several
    """
    found: dict[str, NamedRun] = {}
    for name in names:
        rows = lake.query(
            "SELECT run_id, name, params FROM runs WHERE run_id = $name OR name = $name ORDER BY run_id", {"name": name}
        ).to_pylist()
        if not rows:
            rows = lake.query(
                "SELECT run_id, name, params FROM runs WHERE starts_with(run_id, $name) ORDER BY run_id LIMIT 2",
                {"name": name},
            ).to_pylist()
            if len(rows) > 1:
                raise UsageError(f"'{name}' begins the id of more than one run", hint="type more of the id")
        if not rows:
            known = lake.query("SELECT name FROM runs WHERE name IS NOT NULL UNION SELECT name FROM laws LIMIT 5000")
            hint = did_you_mean(name, known.column(0).to_pylist(), "FROM runs and SHOW LAWS list what there is")
            raise UsageError(f"no run or law is called '{name}'", hint=hint)
        found.update((row["run_id"], _named(row)) for row in rows)
    return list(found.values())


def select_runs(lake: Lakehouse, condition: str) -> list[NamedRun]:
    """Return the runs that satisfy a SQL condition on `runs`, lowest loss first, and raise EmptySelection for none."""
    rows = lake.query(
        f"SELECT run_id, name, params FROM runs WHERE (\n{condition}\n) ORDER BY loss NULLS LAST"
    ).to_pylist()
    if not rows:
        raise EmptySelection(f"no run satisfies {condition}", hint="FROM runs shows what there is")
    return [_named(row) for row in rows]


def curves_figure(
    lake: Lakehouse, runs: Sequence[NamedRun], *, x: str = "step", most_points: int | None = None
) -> Figure:
    """Return the loss curves of runs.

    Parameters
    ----------
    runs : at least one; of more than 60 the first 60 are drawn
    x : `step`, `tokens`, `flops` or `seconds`
    most_points : of all curves together, 200,000 by default; beyond that every n-th is read

    Raises
    ------
    UsageError : if `x` is something else
    EmptySelection : if none of the runs has logged a loss there
    """
    if x not in POSITIONS:
        raise UsageError(
            f"a curve has no column '{x}'", hint=did_you_mean(x, POSITIONS, f"choose {', '.join(POSITIONS)}")
        )
    shown = list(runs[:MOST_CURVES])
    ids = ", ".join(literal(run.run_id) for run in shown)
    total = int(
        lake.query(f"SELECT count(*) FROM metrics WHERE metric = 'loss' AND run_id IN ({ids})").column(0)[0].as_py()
    )
    stride = -(-total // (most_points or MOST_POINTS))
    thinned = f"\nQUALIFY row_number() OVER (PARTITION BY run_id ORDER BY step) % {stride} = 0" if stride > 1 else ""
    statement = f"SELECT run_id, {x}, loss FROM curves\nWHERE run_id IN ({ids}){thinned}\nORDER BY run_id, step"
    table = lake.sql(statement).table
    notes = [f"{len(shown)} of {len(runs)} curves"] if len(runs) > len(shown) else []
    notes += [f"{table.num_rows:,} of {total:,} points, one in {stride}"] if stride > 1 else []
    lines = _lines(shown, table, x)
    if not lines:
        raise EmptySelection(f"no loss has been logged over {x} yet", hint="FROM runs shows how far each run is")
    title = f"{shown[0].label} · loss" if len(shown) == 1 else f"loss of {len(shown)} runs"
    sizes = [run.params for run in shown if run.params]
    scale = (
        ToneScale("params", min(sizes), max(sizes)) if len(sizes) == len(shown) and min(sizes) < max(sizes) else None
    )
    axis = Axis("loss", loss_unit(lake, ids))
    return Figure(title, POSITIONS[x], axis, tuple(lines), (statement,), tuple(notes), scale=scale)


def loss_unit(lake: Lakehouse, ids: str) -> str | None:
    """Return the unit of the losses of runs: what they say, or nats a token where tokens are known; None for others.

    Parameters
    ----------
    ids : of the runs, as an SQL list without parentheses
    """
    has_unit = "loss_unit" in lake.query("SELECT * FROM runs LIMIT 0").column_names
    said = "loss_unit" if has_unit else "NULL"
    rows = lake.query(
        f"SELECT DISTINCT coalesce({said}, CASE WHEN tokens IS NOT NULL THEN 'nat/token' END) AS unit FROM runs "
        f"WHERE run_id IN ({ids})"
    ).column("unit").to_pylist()  # fmt: skip
    return rows[0] if len(rows) == 1 else None


def _lines(runs: Sequence[NamedRun], table: Any, x: str) -> list[Mark]:
    """One line a run, toned by its size where sizes differ, else by its place among the runs."""
    owners = np.asarray(table.column("run_id").to_pylist(), dtype=object)
    across, loss = floats(table.column(x).to_pylist()), floats(table.column("loss").to_pylist())
    sizes = [run.params for run in runs]
    known = [size for size in sizes if size]
    by_size = len(known) == len(runs) and len(set(known)) > 1
    places = tones(floats(known)) if by_size else np.linspace(0, 1, len(runs))
    lines: list[Mark] = []
    for run, place in zip(runs, places.tolist(), strict=True):
        mine = (owners == run.run_id) & np.isfinite(across)
        if x != "seconds":
            mine &= across > 0
        if not mine.any():
            continue
        is_alone = len(runs) == 1
        label = run.label if len(runs) <= NAMED_CURVES else ""
        lines.append(
            Line(across[mine], loss[mine], "loss" if is_alone else label, None if is_alone else place, not is_alone)
        )
    return lines


def _named(row: dict[str, Any]) -> NamedRun:
    return NamedRun(row["run_id"], row["name"] or row["run_id"], row["params"])
