"""Rows of a table become runs, or points of curves and the runs that they are of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isoflop.lakehouse.errors import RecordError
from isoflop.lakehouse.exchange.guarded import json_of
from isoflop.lakehouse.exchange.landing import MEASURED, PLACES, FoundRun, Landing
from isoflop.lakehouse.exchange.naming import STATUS_WORDS, counted, flat
from isoflop.lakehouse.exchange.origin import Origin, real_path
from isoflop.lakehouse.exchange.points import PointColumns, Points
from isoflop.lakehouse.exchange.recognizing import SHAPE
from isoflop.lakehouse.exchange.table_columns import RAW, columns_of
from isoflop.lakehouse.exchange.table_shapes import completed_steps
from isoflop.lakehouse.models.counts import COUNTS
from isoflop.lakehouse.runs.records import STATUSES, RunRecord, canonical_json, digest
from isoflop.lakehouse.sql.quoting import quoted

if TYPE_CHECKING:
    import duckdb

NUMERIC = ("BIGINT", "DOUBLE", "BOOLEAN", "INTEGER", "FLOAT", "HUGEINT", "UBIGINT", "SMALLINT", "TINYINT", "UINTEGER")
OWN = ("run_id", "name", "family", "seed", "step", "seconds", *COUNTS, *MEASURED, *PLACES)
VERSION = re.compile(r"version_[0-9]+")  # folders of Lightning's CSVLogger
ENDED = ("status", "reason", "error", "started_at", "finished_at")
# What an export of a lake, which has all of LAKE_MARKS, says about the lake and not about the run.
LAKE_MARKS = {"source", "attempt", "submitted_at"}
LAKE_COLUMNS = ("source", "sweep_id", "attempt", "point_attempt", "last_step", "submitted_at", "created_at",
                "heartbeat_at", "hardware", "results")  # fmt: skip


def runs_of_rows(
    con: duckdb.DuckDBPyConnection, path: Path, label: str, family: str, taken: Mapping[str, str]
) -> Landing:
    """Return a run for each row of the table `rows`; a row without an id is known by what the file says in it.

    What is made of a row does not count, so that another mapping of the same file changes its runs and adds none.
    `taken` are our columns that were not in the file, and what was taken for them; a column that was taken as it is
    stays in the config, and is none of `runs`.

    Raises
    ------
    RecordError : if an id stands in several rows
    """
    rows = con.execute("SELECT * FROM rows ORDER BY rowid").to_arrow_table().to_pylist()
    found: dict[str, FoundRun] = {}
    twice = 0
    place = str(real_path(path))
    for row in rows:
        given, raw = row.get("run_id"), row.pop(RAW)
        run_id = str(given) if given is not None else digest(canonical_json({"source": label, "raw": raw}))
        if run_id in found and given is not None:
            count = sum(1 for other in rows if other.get("run_id") == given)
            raise RecordError(
                f"run_id {run_id!r} stands in {count} rows and there is no column 'step'",
                hint="map the step of a curve with --map step=COLUMN, or give every run its own run_id",
            )
        twice += run_id in found
        told = {} if given is not None else _jsonable({k: cell for k, cell in row.items() if k not in taken})
        origin = Origin(
            place=place,
            part=run_id if given is not None else raw,
            claim=run_id,
            # An earlier version knew rows by what it made of them.
            older=() if given is not None else (digest(canonical_json({"source": label, "row": told})),),
            is_unique=given is None,
            is_given=given is not None,
        )
        run = found_run(run_id, row, family)
        hidden = run.record.config_only | {theirs.replace('"', "'") for theirs in taken.values()} & set(
            run.record.extra
        )
        found[run_id] = replace(run, record=replace(run.record, config_only=hidden), origin=origin)
    notes = (f"{counted(twice, 'row')} left out, identical to another",) if twice else ()
    return Landing(tuple(found.values()), notes=notes)


def runs_of_points(
    con: duckdb.DuckDBPyConnection, columns: Mapping[str, str], path: Path, label: str, family: str
) -> Landing:
    """Return the runs of a table whose rows are points: numbers that vary along a curve are its metrics.

    Raises
    ------
    RecordError : if it is not known which point is of which run
    """
    con.execute(f"ALTER TABLE rows DROP COLUMN {RAW}")
    origin_of = _give_ids(con, columns, path, label)
    columns = columns_of(con, "rows")
    is_long = columns.get("metric") == "VARCHAR" and columns.get("value") in NUMERIC
    if is_long and "attempt" in columns:
        con.execute(
            "CREATE OR REPLACE TABLE rows AS SELECT * FROM rows "
            "QUALIFY attempt = max(attempt) OVER (PARTITION BY run_id, metric, step) ORDER BY rowid"
        )
    held = {"run_id", "step", "seconds", "seed", *(("metric", "value", "attempt") if is_long else ())}
    held |= set(LAKE_COLUMNS if LAKE_MARKS <= set(columns) else ())
    varying = _varying(con, [name for name in columns if name not in held])
    named = {"loss", "validation_loss"} & set(columns)
    metrics = [name for name in columns if columns[name] in NUMERIC and name in varying | named and name not in held]
    constant = [name for name in columns if name not in {*held, *metrics, *varying} or name == "seed"]
    picked = "".join(f", coalesce(arg_max({q}, step), any_value({q})) AS {q}" for q in map(quoted, constant))
    rows = con.execute(
        f"SELECT run_id{picked} FROM rows GROUP BY run_id ORDER BY min(rowid)"
    ).to_arrow_table().to_pylist()  # fmt: skip
    runs = tuple(replace(found_run(row["run_id"], row, family), origin=origin_of(str(row["run_id"]))) for row in rows)
    points = _long_points(con, columns) if is_long else _wide_points(con, columns, metrics)
    left_out = sorted(varying - set(metrics))
    notes = [f"{', '.join(left_out)}: text that varies along a curve, left out"] if left_out else []
    return Landing(runs, points, tuple(notes))


def _give_ids(
    con: duckdb.DuckDBPyConnection, columns: Mapping[str, str], path: Path, label: str
) -> Callable[[str], Origin]:
    """Give the rows of curves their run's id: by run_id, else by name, else the file is one curve.

    Returns where the run of an id is from. Only an id is one; a name, of a run or a file, others may have too.
    """
    place = str(real_path(path))
    if "run_id" in columns:
        without = _count(con, "SELECT count(*) FROM rows WHERE run_id IS NULL")
        if without:
            raise RecordError(
                f"{path}: {counted(without, 'row')} with a step but no run_id", hint="give every point its run's id"
            )
        return lambda run_id: Origin(place=place, part=run_id, claim=run_id, is_given=True)
    has_names = columns.get("name") == "VARCHAR"
    key = "name" if has_names else "''"
    repeated = _count(con, f"SELECT count(*) - count(DISTINCT ({key}, step)) FROM rows WHERE step IS NOT NULL")
    if repeated and not completed_steps(con, key):
        within = "within a name " if has_names else ""
        raise RecordError(
            f"{path}: 'step' repeats {within}and there is no run_id, so which point is of which run is not known",
            hint="name the runs' column with --map run_id=COLUMN, or the one run with --map \"run_id='NAME'\"; "
            "where a row is a whole run, --map steps=step",
        )
    con.execute("ALTER TABLE rows ADD COLUMN run_id VARCHAR")
    if has_names:
        con.execute("UPDATE rows SET run_id = name")
        return lambda run_id: Origin(place=place, part=run_id, claim=run_id)
    con.execute("ALTER TABLE rows ADD COLUMN name VARCHAR")
    run_id = digest(canonical_json({"source": label, "curve": path.stem}))
    name = _name_of(path)
    con.execute("UPDATE rows SET run_id = ?, name = ?", [run_id, name])
    return lambda run_id: Origin(place=place, claim=run_id, names=(path.stem,), is_named_by_place=True)


def _name_of(path: Path) -> str:
    """Return what users call the curve of a file: its stem, or the folder of a version that a trainer numbered.

    Example
    -------
    >>> _name_of(Path("lightning_logs/version_3/metrics.csv")), _name_of(Path("runs/wide.csv"))
    ('version_3', 'wide')
    """
    folder = real_path(path).parent.name
    return folder if path.stem == "metrics" and VERSION.fullmatch(folder) else path.stem


def _count(con: duckdb.DuckDBPyConnection, question: str) -> int:
    row = con.execute(question).fetchone()
    return int(row[0]) if row else 0


def _varying(con: duckdb.DuckDBPyConnection, names: Sequence[str]) -> set[str]:
    """Return the columns that change within a run; one that is there only at some steps changes too."""
    plain = [name for name in names if name not in ("tags", "config")]
    if not plain:
        return set()
    settings = (*COUNTS, *SHAPE, "name", "family", *PLACES, *ENDED)
    tests = ", ".join(
        f"min({q}) IS DISTINCT FROM max({q})" + ("" if name in settings else f" OR count({q}) % count(*) <> 0")
        for name, q in ((name, quoted(name)) for name in plain)
    )
    anywhere = ", ".join(f"coalesce(bool_or(changes[{i + 1}]), false)" for i in range(len(plain)))
    row = con.execute(f"SELECT {anywhere} FROM (SELECT [{tests}] AS changes FROM rows GROUP BY run_id)").fetchone()
    return {name for name, changes in zip(plain, row or (), strict=True) if changes}


def _wide_points(con: duckdb.DuckDBPyConnection, columns: Mapping[str, str], metrics: Sequence[str]) -> Points:
    seconds = "seconds::DOUBLE" if "seconds" in columns else "NULL::DOUBLE"
    values = "".join(f", {quoted(name)}::DOUBLE AS c{i}" for i, name in enumerate(metrics))
    table = con.execute(
        f"SELECT run_id, step, {seconds} AS seconds{values} FROM rows WHERE step IS NOT NULL ORDER BY run_id, step"
    ).to_arrow_table()
    run_ids, run = _encoded(table["run_id"])
    step, at = table["step"].to_numpy(), table["seconds"].to_numpy()
    parts: list[tuple[Any, ...]] = []
    for code in range(len(metrics)):
        cells = table[f"c{code}"].combine_chunks()
        there = np.asarray(cells.is_valid())
        value = cells.to_numpy(zero_copy_only=False)
        metric = np.full(len(value), code, dtype=np.int32)
        whole = (run, metric, step, value, at)
        parts.append(whole if there.all() else tuple(column[there] for column in whole))
    if not parts:
        return PointColumns().points()
    columns_ = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Points(run_ids, tuple(metrics), *columns_)


def _long_points(con: duckdb.DuckDBPyConnection, columns: Mapping[str, str]) -> Points:
    seconds = "seconds::DOUBLE" if "seconds" in columns else "NULL::DOUBLE"
    table = con.execute(
        f"SELECT run_id, metric, step, value::DOUBLE AS value, {seconds} AS seconds FROM rows "
        "WHERE step IS NOT NULL AND metric IS NOT NULL AND value IS NOT NULL ORDER BY run_id, metric, step"
    ).to_arrow_table()
    run_ids, run = _encoded(table["run_id"])
    metrics, metric = _encoded(table["metric"])
    return Points(
        run_ids, metrics, run, metric, table["step"].to_numpy(), table["value"].to_numpy(), table["seconds"].to_numpy()
    )


def _encoded(column: Any) -> tuple[tuple[str, ...], Any]:
    """Return the names of a text column and the place of each row's name among them."""
    encoded = column.combine_chunks().dictionary_encode()
    return tuple(encoded.dictionary.to_pylist()), np.asarray(encoded.indices).astype(np.int32)


def found_run(run_id: str, row: Mapping[str, Any], family: str) -> FoundRun:
    """Return the run that a row describes."""
    held = {*OWN, *(LAKE_COLUMNS if LAKE_MARKS <= set(row) else ())}
    given = {name.replace('"', "'"): value for name, value in row.items() if name not in held and value is not None}
    extra = {name: _plain(value) for name, value in flat(given, ".").items() if value is not None}
    told = _json_cell(extra.get("config"))
    config_only: frozenset[str] = frozenset()
    if isinstance(told, dict):
        del extra["config"]
        config_only = frozenset(told).difference(row) if LAKE_MARKS <= set(row) else config_only
        extra = {**{name: value for name, value in told.items() if name not in held}, **extra}
    tags = row.get("tags") if not isinstance(row.get("tags"), str) else _json_cell(row["tags"])
    ended, is_ours = _ended(extra)
    if isinstance(tags, list):
        extra.pop("tags", None)
    counts: dict[str, Any] = {name: _number(row.get(name)) for name in COUNTS}
    counts["steps"] = None if counts["steps"] is None else int(counts["steps"])
    record = RunRecord(
        family=str(row.get("family") or family),
        seed=int(row.get("seed") or 0),
        name=_text(row.get("name", run_id)),
        tags=tuple(str(tag) for tag in tags) if isinstance(tags, list) else (),
        extra=extra,
        config_only=config_only & set(extra),
        given_id=run_id,
        **counts,
    )
    return FoundRun(
        record=record,
        measured={**{name: _number(row.get(name)) for name in MEASURED}, **{name: row.get(name) for name in PLACES}},
        status=str(ended["status"]),
        reason=_text(ended.get("reason")),
        error=_text(ended.get("error")),
        is_certain=is_ours,
        started_at=_time(row.get("started_at")),
        finished_at=_time(row.get("finished_at")),
    )


def _ended(extra: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Take how a run ended out of its settings; returns that, and whether it is said in our own words."""
    status = extra.get("status")
    if status in STATUSES:
        return {name: extra.pop(name, None) for name in ENDED}, True
    known = STATUS_WORDS.get(str(status).strip().lower()) if status is not None else None
    if known is None:
        return {"status": "finished"}, False
    ended = {name: extra.pop(name, None) for name in ENDED}
    ended["status"] = known[0]
    ended["reason"] = ended.get("reason") or known[1]
    return ended, False


def _json_cell(text: Any) -> Any:
    """Return what a cell of JSON says; None when it is something else."""
    try:
        return json_of(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _jsonable(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value if isinstance(value, bool | int | float | str | None) else str(value) for key, value in row.items()
    }


def _plain(value: Any) -> Any:
    """Return a setting that JSON has."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _time(value: Any) -> datetime | None:
    """Return a time as the lake has it, UTC without a zone; None for what is none."""
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return None
    if not isinstance(time, datetime):
        return None
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
