"""Import an MLflow store: a SQLite file, or a folder in MLflow's file layout (`mlruns`).

Read as plain SQLite and plain files, so no MLflow is needed and an old store is as good as a new one.
Params are text there; those that are numbers become numbers. SQLite stores hold NaN as a flag and an
infinity as the largest float, both are turned back. Deleted runs are left out.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from isoflop.lakehouse.errors import FileError
from isoflop.lakehouse.exchange.guarded import STEPS, step_of, yaml_of
from isoflop.lakehouse.exchange.landing import FoundRun, Landing, utc
from isoflop.lakehouse.exchange.naming import counted, record_of, setting
from isoflop.lakehouse.exchange.origin import Origin, real_path
from isoflop.lakehouse.exchange.points import PointColumns
from isoflop.lakehouse.runs.records import STATUSES as OUR_STATUSES

NAME = "mlflow"
SQLITE = b"SQLite format 3\0"
STATUSES = {
    "RUNNING": ("running", None), "SCHEDULED": ("queued", None), "FINISHED": ("finished", None),
    "FAILED": ("failed", None), "KILLED": ("failed", "killed"),
}  # fmt: skip
CODES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}  # how meta.yaml writes a status
LARGEST = sys.float_info.max  # what a SQLite store holds for an infinity
OWN_TAGS = "isoflop."
SYSTEM = ("mlflow.", OWN_TAGS)  # what tags that were not chosen begin with
DRAWN = re.compile(r"[0-9a-f]{32}|[a-z2-7]{12}")  # an id that MLflow drew at random, or a run id of ours
SYSTEM_TAGS = {"mlflow.source.git.commit": "code_version"}


@dataclass
class Stored:
    """One run as MLflow knows it, and the place of its store; times in milliseconds since 1970."""

    place: str
    run_id: str
    name: str | None
    experiment: str
    status: str
    start: int | None
    end: int | None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> Origin:
        """Where the run is from."""
        is_unique = DRAWN.fullmatch(self.run_id) is not None
        return Origin(
            place=self.place,
            part=self.run_id,
            claim=self.run_id,
            is_unique=is_unique,
            is_given=not is_unique and f"{OWN_TAGS}status" in self.tags,
        )

    def found(self) -> FoundRun:
        """Return the run in our words."""
        status, reason = STATUSES.get(self.status, ("finished", None))
        is_ours = self.tags.get(f"{OWN_TAGS}status") in OUR_STATUSES  # a store that `isoflop export` wrote
        if is_ours:
            status, reason = self.tags[f"{OWN_TAGS}status"], self.tags.get(f"{OWN_TAGS}reason")
        settings = {key: setting(value) for key, value in self.params.items()}
        tags = [f"{key}={value}" for key, value in sorted(self.tags.items()) if not key.startswith(SYSTEM)]
        ended = None if self.start is None or self.end is None else (self.end - self.start) / 1000
        return FoundRun(
            record=record_of(
                self.origin.key,
                settings,
                family="" if self.experiment == "Default" else self.experiment,
                name=self.name or self.tags.get("mlflow.runName") or self.run_id,
                tags=tags,
            ),
            measured={"train_seconds": ended, **{ours: self.tags.get(tag) for tag, ours in SYSTEM_TAGS.items()}},
            status=status,
            reason=reason,
            is_certain=is_ours,
            started_at=utc(None if self.start is None else self.start / 1000),
            finished_at=utc(None if self.end is None else self.end / 1000),
            origin=self.origin,
        )


def is_store_file(path: Path) -> bool:
    """Return whether a file is a SQLite database with MLflow's tables."""
    try:
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            if file.read(len(SQLITE)) != SQLITE:
                return False
        with _connected(path) as con:
            tables = {name for (name,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except (OSError, sqlite3.Error):
        return False
    return {"experiments", "runs", "params", "metrics"} <= tables


def finds(path: Path, files: list[Path]) -> bool:
    """Return whether there is a store: a SQLite file, or run folders with a meta.yaml."""
    if path.is_file():
        return is_store_file(path)
    return any(file.name == "meta.yaml" and _meta(file).keys() & {"run_id", "run_uuid"} for file in files) or any(
        file.suffix == ".db" and file.parent == path and is_store_file(file) for file in files
    )


def read(path: Path) -> Landing:
    """Return the runs of a store.

    Raises
    ------
    FileError : if the database cannot be read
    """
    notes: list[str] = []
    if path.is_dir():
        databases = [file for file in sorted(path.glob("*.db")) if is_store_file(file)]
        if not databases:
            return _read_folder(path)
        path, *others = databases
        notes += [
            f"{other.name}: another MLflow store beside {path.name}; import it by its own path" for other in others
        ]
    try:
        with _connected(path) as con:
            return _read_database(con, str(real_path(path)), notes)
    except sqlite3.Error as error:
        raise FileError(path, None, f"cannot be read as an MLflow store: {error}") from error


class _connected:
    """A read-only connection; a store whose write-ahead log cannot be opened is read as it lies."""

    def __init__(self, path: Path) -> None:
        self._address = path.resolve().as_uri()

    def __enter__(self) -> sqlite3.Connection:
        self._con = sqlite3.connect(f"{self._address}?mode=ro", uri=True)
        try:
            self._con.execute("SELECT 1 FROM sqlite_master LIMIT 1")
        except sqlite3.OperationalError:
            self._con.close()
            self._con = sqlite3.connect(f"{self._address}?immutable=1", uri=True)
        return self._con

    def __exit__(self, *_: object) -> None:
        self._con.close()


def _read_database(con: sqlite3.Connection, place: str, notes: Sequence[str]) -> Landing:
    named = _columns(con, "runs")
    name = "r.name" if "name" in named else "NULL"
    rows = con.execute(
        f"SELECT r.run_uuid, {name}, e.name, r.status, r.start_time, r.end_time, r.lifecycle_stage "
        "FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id ORDER BY r.start_time, r.run_uuid"
    ).fetchall()
    kept = {row[0]: Stored(place, *row[:6]) for row in rows if row[6] != "deleted"}
    for table in ("params", "tags"):
        for key, value, run_id in con.execute(f"SELECT key, value, run_uuid FROM {table}"):
            if run_id in kept:
                getattr(kept[run_id], table)[key] = value
    columns = PointColumns()
    for stored in kept.values():
        _add_curves(con, stored, columns)
    return _landing(kept.values(), columns, len(rows) - len(kept), notes)


def _add_curves(con: sqlite3.Connection, stored: Stored, columns: PointColumns) -> None:
    """Add a run's curves; a store from before MLflow had steps has them all at 0."""
    has = _columns(con, "metrics")
    step, is_nan = ("step" if "step" in has else "0"), ("is_nan" if "is_nan" in has else "0")
    rows = con.execute(
        f"SELECT key, {step} AS step, value, timestamp, {is_nan} FROM metrics WHERE run_uuid = ? ORDER BY key, 2, 4",
        (stored.run_id,),
    ).fetchall()
    if not rows:
        return
    keys, *numbers = zip(*rows, strict=True)
    steps, value, times, nans = (np.array(column) for column in numbers)
    value = np.where(nans.astype(bool), np.nan, value.astype(np.float64))
    value = np.where(np.abs(value) == LARGEST, np.copysign(np.inf, value), value)
    seconds = _seconds(times, stored.start)
    start = 0
    for key, group in groupby(keys):
        end = start + sum(1 for _ in group)
        columns.add(stored.origin.key, key, steps[start:end], value[start:end], seconds[start:end])
        start = end


def _columns(con: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in con.execute(f"PRAGMA table_info({table})")}


def _read_folder(root: Path) -> Landing:
    kept: dict[Path, Stored] = {}
    columns = PointColumns()
    notes: list[str] = []
    deleted = 0
    for file in sorted(root.rglob("meta.yaml")):
        about = _meta(file, notes)
        run_id = about.get("run_id") or about.get("run_uuid")
        if run_id is None:
            continue
        if about.get("lifecycle_stage") == "deleted":
            deleted += 1
            continue
        real = real_path(file).parent
        if real in kept:
            continue  # a link to a run that is there already
        stored = kept[real] = _stored(str(run_id), about, file.parent, real)
        for curve in sorted((file.parent / "metrics").rglob("*")):
            if curve.is_file():
                times, values, steps = _curve(curve, notes)
                key = curve.relative_to(file.parent / "metrics").as_posix()
                columns.add(stored.origin.key, key, steps, values, _seconds(times, stored.start))
    return _landing(kept.values(), columns, deleted, notes)


def _stored(run_id: str, about: Mapping[str, Any], folder: Path, place: Path) -> Stored:
    experiment = _meta(folder.parent / "meta.yaml").get("name") or folder.parent.name
    status = about.get("status")
    stored = Stored(
        str(place),
        run_id,
        about.get("run_name") or None,
        str(experiment),
        CODES.get(status, "FINISHED") if isinstance(status, int) else str(status),
        step_of(about.get("start_time")),
        step_of(about.get("end_time")),
    )
    for table in ("params", "tags"):
        texts = {
            file.relative_to(folder / table).as_posix(): file.read_text(encoding="utf-8", errors="replace")
            for file in sorted((folder / table).rglob("*"))
            if file.is_file()
        }
        setattr(stored, table, texts)
    return stored


def _curve(path: Path, notes: list[str]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return times [ms], values and steps of a metric file: `time value [step [dataset …]]` a line."""
    times, values, steps = [], [], []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        parts = line.split()
        try:
            time, value, step = int(parts[0]), float(parts[1]), int(parts[2]) if len(parts) > 2 else 0
        except (IndexError, ValueError, OverflowError):
            notes.append(f"{path.parent.parent.name}: a line of {path.name} is cut off, left out: {line!r}")
            continue
        if step not in STEPS or time not in STEPS:
            notes.append(f"{path.parent.parent.name}: a step or time in {path.name} beyond 64 bits, left out: {line!r}")
            continue
        times.append(time)
        values.append(value)
        steps.append(step)
    return np.array(times, dtype=np.int64), np.array(values, dtype=np.float64), np.array(steps, dtype=np.int64)


def _meta(path: Path, notes: list[str] | None = None) -> dict[str, Any]:
    """Return what a meta.yaml says in single values."""
    return {key: value for key, value in yaml_of(path, notes).items() if isinstance(value, bool | int | float | str)}


def _landing(kept: Iterable[Stored], columns: PointColumns, deleted: int, notes: Sequence[str] = ()) -> Landing:
    left_out = [f"left out {counted(deleted, 'deleted run')}"] if deleted else []
    return Landing(tuple(stored.found() for stored in kept), columns.points(), (*left_out, *notes))


def _seconds(times: Sequence[int] | np.ndarray[Any, Any], start: int | None) -> np.ndarray[Any, Any]:
    """Return times [ms since 1970] as seconds since the run started, or since its first point."""
    at = np.asarray(times, dtype=np.float64)
    first = at.min(initial=np.inf) if start is None else start
    return (at - first) / 1000
