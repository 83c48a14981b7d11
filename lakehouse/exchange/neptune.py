"""Import what Neptune's exporter left: a folder a project with long Parquet files, a row a value.

Each run has one or more `RUN_part_N.parquet`; a row has the path of an attribute, its type, and its value in the column
of that type. Series become curves, the other values settings; of files the paths are kept.
Layout: neptune-exporter 0.x, columns project_id, run_id, attribute_path, attribute_type, step, timestamp, …_value.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import FileError
from isoflop.lakehouse.exchange.landing import FoundRun, Landing
from isoflop.lakehouse.exchange.naming import record_of
from isoflop.lakehouse.exchange.origin import Origin, claim_of, real_path
from isoflop.lakehouse.exchange.points import PointColumns

if TYPE_CHECKING:
    import duckdb

NAME = "neptune"
MARKS = {"run_id", "attribute_path", "attribute_type"}  # columns by which such a file is known
SETTINGS = {"int": "int_value", "float": "float_value", "string": "string_value", "bool": "bool_value",
            "datetime": "datetime_value"}  # fmt: skip
SERIES = ("float_series", "int_series")
PREFIXES = ("config/", "parameters/", "params/", "hparams/", "hyperparameters/")  # that only say what a setting is


def finds(path: Path, files: list[Path]) -> bool:
    """Return whether a Parquet file has the exporter's columns."""
    return any(_is_export(file) for file in files if file.suffix.lower() == ".parquet")


def _is_export(file: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return set(pq.read_schema(file).names) >= MARKS
    except (OSError, pa.ArrowInvalid):
        return False


def read(path: Path) -> Landing:
    """Return the runs of every project below a folder, or of one file.

    Raises
    ------
    FileError : if a file cannot be read
    """
    import duckdb

    files = [path] if path.is_file() else sorted(file for file in path.rglob("*.parquet") if file.is_file())
    by_folder: dict[Path, list[Path]] = {}
    for file in files:
        if _is_export(file):
            by_folder.setdefault(file.parent, []).append(file)
    columns, runs = PointColumns(), list[FoundRun]()
    for folder, parts in by_folder.items():
        with duckdb.connect() as con:
            try:
                con.execute(
                    "CREATE VIEW given AS SELECT * FROM read_parquet(?::VARCHAR[], union_by_name = true)".replace(
                        "?::VARCHAR[]", _listed(parts)
                    )
                )
                runs += _runs(con, folder, columns)
            except duckdb.Error as error:
                raise FileError(folder, None, f"cannot be read: {str(error).splitlines()[0]}") from error
    return Landing(tuple(runs), columns.points())


def _listed(files: Sequence[Path]) -> str:
    """Return paths as an SQL list; a view takes no parameters."""
    return "[" + ", ".join("'" + str(file).replace("'", "''") + "'" for file in files) + "]"


def _runs(con: duckdb.DuckDBPyConnection, folder: Path, columns: PointColumns) -> list[FoundRun]:
    there = {name for (name,) in con.execute("SELECT column_name FROM (DESCRIBE given)").fetchall()}
    project = "any_value(project_id)" if "project_id" in there else "NULL"
    values = {kind: name for kind, name in SETTINGS.items() if name in there}
    found = con.execute(f"SELECT run_id, {project} AS project FROM given GROUP BY run_id ORDER BY run_id").fetchall()
    settings: dict[str, dict[str, Any]] = {str(run_id): {} for run_id, _ in found}
    for kind, name in values.items():
        asked = f"SELECT run_id, attribute_path, {name} FROM given WHERE attribute_type = ? AND {name} IS NOT NULL"
        for run_id, place, value in con.execute(asked, [kind]).fetchall():
            settings[str(run_id)][place] = value
    if "string_set_value" in there:
        asked = "SELECT run_id, attribute_path, string_set_value FROM given WHERE attribute_type = 'string_set'"
        for run_id, place, value in con.execute(asked).fetchall():
            settings[str(run_id)][place] = list(value or ())
    if "file_value" in there:
        asked = "SELECT run_id, attribute_path, file_value.path FROM given WHERE attribute_type IN ('file', 'artifact')"
        for run_id, place, value in con.execute(asked).fetchall():
            settings[str(run_id)][place] = value
    place = str(real_path(folder))
    _add_series(con, there, columns, place)
    projects = {str(run_id): project for run_id, project in found}
    return [_run(projects[run_id], told, _origin(place, run_id)) for run_id, told in settings.items()]


def _add_series(con: duckdb.DuckDBPyConnection, there: set[str], columns: PointColumns, place: str) -> None:
    value = "coalesce(float_value, int_value::DOUBLE)" if "int_value" in there else "float_value"
    start = "min(timestamp) OVER (PARTITION BY run_id)"
    seconds = f"epoch(timestamp) - epoch({start})" if "timestamp" in there else "NULL::DOUBLE"
    table = con.execute(
        f"SELECT run_id, attribute_path, step::DOUBLE AS step, {value} AS value, {seconds} AS seconds FROM given "
        f"WHERE attribute_type IN {SERIES} AND step IS NOT NULL AND {value} IS NOT NULL "
        "ORDER BY run_id, attribute_path, step"
    ).fetchnumpy()
    if not len(table["step"]):
        return
    import numpy as np

    keys = [f"{run_id}\0{metric}" for run_id, metric in zip(table["run_id"], table["attribute_path"], strict=True)]
    edges = [0, *[at for at in range(1, len(keys)) if keys[at] != keys[at - 1]], len(keys)]
    steps, values = np.floor(np.asarray(table["step"])), np.asarray(table["value"], dtype=np.float64)
    at = np.ma.filled(np.ma.asarray(table["seconds"], dtype=np.float64), np.nan)
    for begin, end in itertools.pairwise(edges):
        run_id, _, metric = keys[begin].partition("\0")
        columns.add(_origin(place, run_id).key, metric, steps[begin:end], values[begin:end], at[begin:end])


def _origin(place: str, run_id: str) -> Origin:
    return Origin(place=place, part=run_id, claim=claim_of(NAME, run_id))


def _run(project: str | None, told: Mapping[str, Any], origin: Origin) -> FoundRun:
    """Return a run: what lies under `sys/` is about the run, everything else its settings."""
    about = {path.removeprefix("sys/"): value for path, value in told.items() if path.startswith("sys/")}
    settings: dict[str, Any] = {}
    for path, value in told.items():
        if not path.startswith("sys/"):
            short = next((path.removeprefix(prefix) for prefix in PREFIXES if path.startswith(prefix)), path)
            settings[short if short not in settings else path] = value
    tags = [str(tag) for name in ("tags", "group_tags") for tag in about.get(name) or ()]
    has_failed = about.get("failed") is True
    state = str(about.get("state", "")).lower()
    status = "failed" if has_failed else "running" if state in ("running", "active") else "finished"
    record = record_of(
        origin.key, settings, family=(project or NAME).rpartition("/")[2],
        name=str(about.get("name") or about.get("custom_run_id") or origin.part), tags=tags,
    )  # fmt: skip
    return FoundRun(
        record=record,
        status=status,
        reason="crash" if has_failed else None,
        started_at=_time(about.get("creation_time")),
        finished_at=_time(about.get("modification_time")) if status != "running" else None,
        origin=origin,
    )


def _time(value: Any) -> datetime | None:
    if not isinstance(value, datetime):
        return None
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
