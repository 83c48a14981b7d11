"""A spool file as its writer makes it: names, bytes, and putting them on disk so that they are whole."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

NUMBERED, BY_TOKEN = 1, 2  # versions of spool files: the attempt has its number, or gets it when it is committed
SUFFIX = ".parquet"

Point = tuple[int, float | None, Mapping[str, float]]


def utc_now() -> str:
    """Return the time as the lake stores it: UTC, without a zone, to the microsecond."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


def batch_name(prefix: str, sequence: int) -> str:
    """Return the spool file name of a batch; names of one prefix sort in the order they were written."""
    return f"{prefix}{sequence:08d}{SUFFIX}"


def write_durably(path: Path, content: bytes) -> None:
    """Write `content` so that `path` either holds all of it, on disk, or does not exist."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def plain(value: object, depth: int = 20) -> object:
    """Return a value as JSON takes it: text as keys, scalars of NumPy and torch as numbers, what is left as text."""
    match value:
        case bool() | int() | float() | str() | None:
            return value
        case Mapping() if depth:
            return {as_text(key): plain(item, depth - 1) for key, item in list(value.items())}
        case list() | tuple() | set() | frozenset() if depth:
            return [plain(item, depth - 1) for item in list(value)]
    try:
        return plain(value.item(), 0)  # type: ignore[attr-defined]
    except Exception:
        return as_text(value)


def as_text(value: object) -> str:
    """Return a value as text, whatever it is."""
    try:
        return str(value)
    except Exception:
        return f"a {type(value).__name__}"


def encode_batch(points: list[Point], events: list[dict[str, object]], header: Mapping[str, object]) -> bytes:
    """Return the Parquet bytes of one batch: a row a metric value, the events in the file's metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    steps: list[int] = []
    seconds: list[float | None] = []
    metrics: list[str] = []
    values: list[float] = []
    for step, at, measured in points:
        for metric, value in measured.items():
            steps.append(step)
            seconds.append(at)
            metrics.append(metric)
            values.append(value)
    table = pa.table(
        {
            "metric": _words(metrics),
            "step": pa.array(steps, pa.int64()),
            "value": pa.array(values, pa.float64()),
            "seconds": pa.array(seconds, pa.float64()),
        }
    )
    about = plain({**header, "events": events})
    table = table.replace_schema_metadata({"isoflop": json.dumps(about)})
    sink = pa.BufferOutputStream()
    # Numbers that hardly repeat gain nothing from a dictionary, and a spool file is not asked for statistics.
    pq.write_table(table, sink, compression="snappy", use_dictionary=["metric"], write_statistics=False)
    return bytes(sink.getvalue())


def _words(metrics: list[str]) -> pa.Array:
    """Return names as a dictionary array; each name is looked at once, however many points it has."""
    import pyarrow as pa

    codes: dict[str, int] = {}
    indices = [codes.setdefault(metric, len(codes)) for metric in metrics]
    names = [str(name).encode("utf-8", "replace").decode() for name in codes]
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(names, pa.string()))
