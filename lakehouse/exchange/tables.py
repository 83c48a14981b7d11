"""Import runs or curves from a CSV, Parquet, Arrow or JSON-lines table.

A row is a run; where `step` is a column and run ids repeat, a row is a point of a curve, and with the
columns `metric` and `value` a row is a point of that metric. Columns whose names are ours (`params`,
`tokens`, `flops`, `loss`, `width`, …) are taken as such, `--map params=N` or `--map "params=N * 1e9"`
maps others, and every further column becomes a column of `runs`. Numbers that vary along a curve are
its metrics. The same file imported twice adds nothing; a changed run becomes a new attempt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isoflop.lakehouse.errors import RecordError
from isoflop.lakehouse.exchange.landing import COUNTS, MEASURED, PLACES, FoundRun, Imported, Landing, land
from isoflop.lakehouse.exchange.points import PointColumns, Points
from isoflop.lakehouse.exchange.table_file import (
    SHAPE,
    columns_of,
    drop_bad,
    find_bad,
    load,
    make_numbers,
    quoted,
    shown_bad,
)
from isoflop.lakehouse.records import STATUSES, RunRecord, canonical_json, digest

if TYPE_CHECKING:
    import duckdb

    from isoflop.lakehouse.lake import Lakehouse

SHOWN_BAD_ROWS = 10
NUMERIC = ("BIGINT", "DOUBLE", "BOOLEAN", "INTEGER", "FLOAT", "HUGEINT", "UBIGINT", "SMALLINT", "TINYINT", "UINTEGER")
OWN = ("run_id", "name", "family", "seed", "step", "seconds", *COUNTS, *MEASURED, *PLACES)
ENDED = ("status", "reason", "error", "started_at", "finished_at")
# What an export of a lake says about the lake, not about the run.
LAKE_COLUMNS = ("source", "sweep_id", "attempt", "point_attempt", "last_step", "submitted_at", "created_at",
                "heartbeat_at", "hardware", "results")  # fmt: skip


def import_table(
    lake: Lakehouse,
    path: Path,
    *,
    mapping: Mapping[str, str] | None = None,
    source: str | None = None,
    family: str = "imported",
    skip_bad_rows: bool = False,
) -> Imported:
    """Take in the rows of a table file.

    Parameters
    ----------
    mapping : our column -> column of the file, or an SQL expression over its columns
    source : what `runs.source` says after `import:`; the file's name without its ending by default
    skip_bad_rows : leave rows with impossible values out instead of refusing the file

    Raises
    ------
    FileError : if the file cannot be read, or a mapped column is not in it
    RecordError : if rows hold impossible values; nothing is imported then
    """
    import duckdb

    label = f"import:{source or path.stem}"
    with duckdb.connect() as con:
        columns = load(con, path, mapping or {})
        (num_rows,) = con.execute("SELECT count(*) FROM rows").fetchone() or (0,)
        is_curve = "step" in columns and bool(
            con.execute("SELECT 1 FROM rows WHERE step IS NOT NULL LIMIT 1").fetchone()
        )
        num_bad = find_bad(con, columns, is_curve=is_curve)
        bad, more = shown_bad(con, SHOWN_BAD_ROWS)
        if num_bad and not skip_bad_rows:
            raise _refusal(path, [str(found) for found in bad], more, num_bad, num_rows)
        if num_bad:
            drop_bad(con)
        if num_bad == num_rows:
            raise RecordError(
                f"{path}: no rows to import ({num_rows} in the file, {num_bad} of them with impossible values)"
            )
        columns = make_numbers(con, columns)
        landing = _curves(con, columns, path, label, family) if is_curve else _runs(con, columns, label, family)
    landing = landing.completed()
    added, changed, unchanged = land(lake, landing, label)
    notes = [str(found) for found in bad]
    if more:
        notes.append(f"… and {more} more impossible values")
    notes += [*landing.notes, *suspicions(landing.runs)]
    return Imported(
        label, num_rows, len(landing.runs), len(landing.points), added, changed, unchanged, num_bad, tuple(notes)
    )


def suspicions(runs: Sequence[FoundRun]) -> list[str]:
    """Return what looks like a wrong unit: FLOPs far from 6ND, losses no token can have."""
    notes = []
    records = [run.record for run in runs]
    ratios = sorted(r.flops / (6 * r.params * r.tokens) for r in records if r.flops and r.params and r.tokens)
    if ratios and not 0.1 < ratios[len(ratios) // 2] < 10:
        notes.append(
            f"flops is {ratios[len(ratios) // 2]:.3g} times 6 * params * tokens at the median: check the units, "
            'for example --map "params=N * 1e9"'
        )
    losses = [loss for run in runs if (loss := run.measured.get("loss")) is not None and np.isfinite(loss)]
    if losses and max(losses) > 30:
        notes.append(
            f"the largest loss is {max(losses):.4g}: isoflop expects nats per token (bits * ln(2); perplexity: ln(ppl))"
        )
    return notes


def _refusal(path: Path, shown: Sequence[str], more: int, num_bad: int, num_rows: int) -> RecordError:
    lines = [*shown, *([f"… and {more} more"] if more else [])]
    return RecordError(
        f"{path}: {num_bad} of {num_rows} rows hold impossible values, nothing was imported\n  " + "\n  ".join(lines),
        hint="mend the file, or give --skip-bad-rows to import the other rows",
    )


def _runs(con: duckdb.DuckDBPyConnection, columns: Mapping[str, str], label: str, family: str) -> Landing:
    """Return a run for each row; rows without an id get one from what they say."""
    rows = con.execute("SELECT * FROM rows ORDER BY rowid").to_arrow_table().to_pylist()
    found: dict[str, FoundRun] = {}
    twice = 0
    for row in rows:
        given = row.get("run_id")
        run_id = str(given) if given is not None else digest(canonical_json({"source": label, "row": _jsonable(row)}))
        if run_id in found and given is not None:
            count = sum(1 for other in rows if other.get("run_id") == given)
            raise RecordError(
                f"run_id {run_id!r} stands in {count} rows and there is no column 'step'",
                hint="map the step of a curve with --map step=COLUMN, or give every run its own run_id",
            )
        twice += run_id in found
        found[run_id] = _found_run(run_id, row, family)
    notes = (f"{twice} rows repeat another one word for word and count once",) if twice else ()
    return Landing(tuple(found.values()), notes=notes)


def _curves(con: duckdb.DuckDBPyConnection, columns: Mapping[str, str], path: Path, label: str, family: str) -> Landing:
    """Return the runs of a file whose rows are points: numbers that vary along a curve are its metrics."""
    _give_ids(con, columns, path, label)
    columns = columns_of(con, "rows")
    is_long = columns.get("metric") == "VARCHAR" and columns.get("value") in NUMERIC
    if is_long and "attempt" in columns:
        con.execute(
            "CREATE OR REPLACE TABLE rows AS SELECT * FROM rows "
            "QUALIFY attempt = max(attempt) OVER (PARTITION BY run_id, metric, step) ORDER BY rowid"
        )
    held = {"run_id", "step", "seconds", "seed", *(("metric", "value") if is_long else ())}
    varying = _varying(con, [name for name in columns if name not in held])
    named = {"loss", "validation_loss"} & set(columns)
    metrics = [name for name in columns if columns[name] in NUMERIC and name in varying | named and name not in held]
    constant = [name for name in columns if name not in {*held, *metrics, *varying} or name == "seed"]
    picked = "".join(f", coalesce(arg_max({q}, step), any_value({q})) AS {q}" for q in map(quoted, constant))
    rows = con.execute(
        f"SELECT run_id{picked} FROM rows GROUP BY run_id ORDER BY min(rowid)"
    ).to_arrow_table().to_pylist()  # fmt: skip
    runs = tuple(_found_run(row["run_id"], row, family) for row in rows)
    points = _long_points(con, columns) if is_long else _wide_points(con, columns, metrics)
    left_out = sorted(varying - set(metrics))
    notes = [f"{', '.join(left_out)}: text that varies along a curve, left out"] if left_out else []
    return Landing(runs, points, tuple(notes))


def _give_ids(con: duckdb.DuckDBPyConnection, columns: Mapping[str, str], path: Path, label: str) -> None:
    """Give the rows of curves their run's id: by run_id, else by name, else the file is one curve."""
    if "run_id" in columns:
        (without,) = con.execute("SELECT count(*) FROM rows WHERE run_id IS NULL").fetchone() or (0,)
        if without:
            raise RecordError(f"{path}: {without} rows have a step but no run_id", hint="give every point its run's id")
        return
    if columns.get("name") == "VARCHAR":
        con.execute("ALTER TABLE rows ADD COLUMN run_id VARCHAR")
        con.execute("UPDATE rows SET run_id = name")
        return
    (repeated,) = con.execute("SELECT count(*) - count(DISTINCT step) FROM rows WHERE step IS NOT NULL").fetchone() or (
        0,
    )
    if repeated:
        raise RecordError(
            f"{path}: the column 'step' repeats and there is no run_id, so which point is of which run is not known",
            hint="name the runs' column with --map run_id=COLUMN; where a row is a whole run, --map steps=step",
        )
    con.execute("ALTER TABLE rows ADD COLUMN run_id VARCHAR")
    con.execute("UPDATE rows SET run_id = ?", [digest(canonical_json({"source": label, "curve": path.stem}))])
    con.execute("ALTER TABLE rows ADD COLUMN name VARCHAR")
    con.execute("UPDATE rows SET name = ?", [path.stem])


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
    counted = ", ".join(f"coalesce(bool_or(changes[{i + 1}]), false)" for i in range(len(plain)))
    row = con.execute(f"SELECT {counted} FROM (SELECT [{tests}] AS changes FROM rows GROUP BY run_id)").fetchone()
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


def _found_run(run_id: str, row: Mapping[str, Any], family: str) -> FoundRun:
    """Return the run that a row describes."""
    told = _json_object(row.get("config"))
    extra = {
        name.replace('"', "'"): value
        for name, value in row.items()
        if name not in (*OWN, *ENDED, *LAKE_COLUMNS, "tags", "config", "metric", "value")
    }
    counts: dict[str, Any] = {name: _number(row.get(name)) for name in COUNTS}
    counts["steps"] = None if counts["steps"] is None else int(counts["steps"])
    tags = row.get("tags")
    record = RunRecord(
        family=str(row.get("family") or family),
        seed=int(row.get("seed") or 0),
        name=_text(row.get("name", run_id)),
        tags=tuple(str(tag) for tag in tags) if isinstance(tags, list) else (),
        extra=_scalars(extra) | {name: value for name, value in told.items() if extra.get(name) is None},
        given_id=run_id,
        **counts,
    )
    status = _text(row.get("status"))
    return FoundRun(
        record=record,
        measured={**{name: _number(row.get(name)) for name in MEASURED}, **{name: row.get(name) for name in PLACES}},
        status=status if status in STATUSES else "finished",
        is_certain=status in STATUSES,
        reason=_text(row.get("reason")),
        error=_text(row.get("error")),
        started_at=_time(row.get("started_at")),
        finished_at=_time(row.get("finished_at")),
    )


def _json_object(text: Any) -> dict[str, Any]:
    """Return the settings that a column `config` holds as JSON; none when it is something else."""
    if not isinstance(text, str):
        return {}
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _jsonable(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value if isinstance(value, bool | int | float | str | None) else str(value) for key, value in row.items()
    }


def _scalars(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in _jsonable(row).items() if value is not None}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _time(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value.replace(tzinfo=None) if isinstance(value, datetime) else None
