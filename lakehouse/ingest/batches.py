"""A spool file as the writer sees it: one batch of points and events, or a file to set aside.

A file is looked at whole before anything of it is used, so that what reaches the store fits the store.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from isoflop.lakehouse.errors import RecordError
from isoflop.lakehouse.runs.records import RunRecord, record_from_fields

if TYPE_CHECKING:
    import pyarrow as pa

READ_VERSIONS = (1, 2)  # of spool files
UNREADABLE = "unreadable"
REASON = ".reason.txt"
LARGEST_ATTEMPT = 2**31 - 1  # what an INTEGER holds
LARGEST_SEQUENCE = 2**63 - 1  # what a BIGINT holds

Value = TypeVar("Value")


class NotABatch(Exception):
    """A file that cannot be committed, with why; the run and attempt it says it belongs to, where it says so."""

    def __init__(
        self, reason: str, run_id: str | None = None, attempt: int | None = None, token: str | None = None
    ) -> None:
        super().__init__(reason)
        self.reason, self.run_id, self.attempt, self.token = reason, run_id, attempt, token


@dataclass(frozen=True)
class Drained:
    """What one drain did: batches and points committed, batches known already, files set aside."""

    files: int = 0
    points: int = 0
    repeated: int = 0
    unreadable: tuple[str, ...] = ()
    clashing: tuple[str, ...] = ()  # batch ids that were committed before with other content

    def __add__(self, other: Drained) -> Drained:
        return Drained(
            self.files + other.files,
            self.points + other.points,
            self.repeated + other.repeated,
            self.unreadable + other.unreadable,
            self.clashing + other.clashing,
        )


@dataclass(frozen=True)
class Batch:
    """One spool file: its points and its events.

    Parameters
    ----------
    attempt : number of the attempt; None while the attempt is known by its token only
    token : word by which a training process knows its attempt, before whoever commits has numbered it
    stream : which of the processes of an attempt wrote it; None for the first
    sequence : which batch of the stream it is, from 0
    driver, started_at : label of the process that trains, and when the attempt began
    run : what is known of the run before it trains, so that it can be registered
    points : columns metric, step, value, seconds, of the types that `store.metrics` has
    """

    path: Path
    run_id: str
    attempt: int | None
    sequence: int
    written_at: str
    events: Sequence[dict[str, Any]]
    points: pa.Table
    token: str | None = None
    stream: str | None = None
    driver: str | None = None
    started_at: str | None = None
    run: RunRecord | None = None

    @property
    def batch_id(self) -> str:
        """The key of the ledger; a batch has one when its attempt has a number."""
        assert self.attempt is not None, "the attempt of this batch has no number yet"
        parts = (self.run_id, self.attempt, *(() if self.stream is None else (self.stream,)), self.sequence)
        return "/".join(map(str, parts))


def read_batch(path: Path) -> Batch:
    """Return the batch of a spool file.

    Raises
    ------
    NotABatch : if the file is not one, with the reason
    OSError, MemoryError : if it is gone, or cannot be read now
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    identity: tuple[str | None, int | None, str | None] = (None, None, None)
    try:
        content = path.read_bytes()
    except PermissionError as error:
        raise NotABatch(f"it cannot be read: {error.strerror}") from error
    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
        about = json.loads((table.schema.metadata or {})[b"isoflop"])
        if not isinstance(about, dict):
            raise NotABatch("its header is no object")
        identity = _identity(about)
        return _batch(path, about, _points(table))
    except NotABatch as error:
        raise NotABatch(error.reason, *identity) from error
    except RecordError as error:
        raise NotABatch(f"its run cannot be recorded: {error.message}", *identity) from error
    except KeyError as error:
        raise NotABatch("not a batch of points: it has no header", *identity) from error
    except MemoryError:
        raise
    except Exception as error:  # whatever a reader of Parquet or JSON makes of bytes that are neither
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NotABatch(f"not a batch of points: {reason}", *identity) from error


def header_of(path: Path) -> dict[str, Any]:
    """Return the header of a spool file without reading its points; empty for a file that has none."""
    import pyarrow.parquet as pq

    with contextlib.suppress(Exception):
        about = json.loads((pq.read_schema(path).metadata or {})[b"isoflop"])
        return about if isinstance(about, dict) else {}
    return {}


def _identity(about: Mapping[str, Any]) -> tuple[str | None, int | None, str | None]:
    """Return the run, the attempt and the token that a header names, where they can be such."""
    run_id, attempt, token = about.get("run_id"), about.get("attempt"), about.get("token")
    return (
        run_id if isinstance(run_id, str) and _is_text(run_id) else None,
        attempt if type(attempt) is int and 0 < attempt <= LARGEST_ATTEMPT else None,
        token if isinstance(token, str) and _is_text(token) else None,
    )


def _batch(path: Path, about: Mapping[str, Any], points: pa.Table) -> Batch:
    """Return the batch of a header and its points."""
    version = about.get("version")
    if type(version) is not int or version not in READ_VERSIONS:
        newer = " (a newer isoflop wrote it; install that one)" if type(version) is int and version > 0 else ""
        raise NotABatch(f"its version is {version!r}{newer}; expected {' or '.join(map(str, READ_VERSIONS))}")
    run_id = _needed(about, "run_id", _text(about, "run_id"))
    attempt = _whole(about, "attempt", 1, LARGEST_ATTEMPT)
    token = _text(about, "token") if version > 1 else None
    if attempt is None and token is None:
        raise NotABatch("it names neither an attempt nor a token")
    events = about.get("events")
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise NotABatch("its events are not a list of objects")
    run = about.get("run") if version > 1 else None
    stream, driver, started_at = (
        (_text(about, "stream"), _text(about, "driver"), _time(about, "started_at")) if version > 1 else (None,) * 3
    )
    return Batch(
        path,
        run_id,
        attempt,
        _needed(about, "sequence", _whole(about, "sequence", 0, LARGEST_SEQUENCE)),
        _needed(about, "written_at", _time(about, "written_at")),
        events,
        points,
        token if attempt is None else None,
        stream,
        driver,
        started_at,
        None if run is None else record_from_fields(run, run_id),
    )


def _needed(about: Mapping[str, Any], name: str, value: Value | None) -> Value:
    if value is None:
        raise NotABatch(f"its header has no {name}")
    return value


def _text(about: Mapping[str, Any], name: str) -> str | None:
    value = about.get(name)
    if value is None or (isinstance(value, str) and _is_text(value)):
        return value
    raise NotABatch(f"{name} is {_shown(value)}; expected text")


def _is_text(value: str) -> bool:
    """Return whether a text says something and can be stored: lone surrogates cannot."""
    return bool(value) and not any("\ud800" <= character <= "\udfff" for character in value)


def _whole(about: Mapping[str, Any], name: str, lowest: int, highest: int) -> int | None:
    value = about.get(name)
    if value is None or (type(value) is int and lowest <= value <= highest):
        return value
    raise NotABatch(f"{name} is {_shown(value)}; expected a whole number from {lowest} to {highest}")


def _time(about: Mapping[str, Any], name: str) -> str | None:
    """Return a time as the lake stores it: UTC, without a zone, to the microsecond."""
    value = about.get(name)
    if value is None:
        return None
    try:
        when = datetime.fromisoformat(value)
        when = when if when.tzinfo is None else when.astimezone(UTC).replace(tzinfo=None)
    except (TypeError, ValueError, OverflowError) as error:
        raise NotABatch(f"{name} is {_shown(value)}; expected a time such as 2026-01-31 12:00:00.000000") from error
    return when.isoformat(sep=" ", timespec="microseconds")


def _shown(value: object) -> str:
    """Return a value as a message shows it, cut short and in characters that any output takes."""
    shown = ascii(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _points(table: pa.Table) -> pa.Table:
    """Return the points of a file with the columns and types of the store."""
    import pyarrow as pa

    types = pa.types
    wanted: dict[str, tuple[pa.DataType, Sequence[Any], str]] = {
        "metric": (pa.string(), (_is_word,), "text"),
        "step": (pa.int64(), (types.is_integer,), "whole numbers"),
        "value": (pa.float64(), (types.is_floating, types.is_integer), "numbers"),
        "seconds": (pa.float64(), (types.is_floating, types.is_integer, types.is_null), "numbers"),
    }
    columns = {}
    for name, (kind, tests, expected) in wanted.items():
        if table.column_names.count(name) != 1:
            raise NotABatch(f"it has {table.column_names.count(name)} columns {name}; expected one")
        column = table[name]
        if not any(test(column.type) for test in tests):
            raise NotABatch(f"its column {name} is {column.type}; expected {expected}")
        if name != "seconds" and column.null_count:
            raise NotABatch(f"its column {name} has {column.null_count} missing values")
        if name == "metric":
            column.validate(full=True)  # bytes that are no text
        columns[name] = column if column.type == kind else column.cast(kind)
    return pa.table(columns)


def _is_word(kind: pa.DataType) -> bool:
    import pyarrow as pa

    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(plain) or pa.types.is_large_string(plain))


def set_aside(path: Path, reason: str) -> bool:
    """Move a file that cannot be committed out of the way, so that it blocks nothing and is not lost.

    Returns whether it is out of the way; it stays where the folder takes no change.
    """
    folder = path.parent / UNREADABLE
    why = folder / (path.name + REASON)
    try:
        folder.mkdir(exist_ok=True)
        why.write_text(reason + "\n", encoding="utf-8", errors="replace")
        os.replace(path, folder / path.name)
    except OSError:
        if path.exists():
            with contextlib.suppress(OSError):
                why.unlink(missing_ok=True)
            return False
    return True


def files_set_aside(folder: Path) -> dict[str, str]:
    """Return the files of a spool that were set aside, each with the reason."""
    aside = folder / UNREADABLE
    if not aside.is_dir():
        return {}
    found = {}
    for path in sorted(aside.iterdir()):
        if not path.name.endswith(REASON):
            why = path.with_name(path.name + REASON)
            found[path.name] = why.read_text(errors="replace").strip() if why.is_file() else "not a batch of points"
    return found
