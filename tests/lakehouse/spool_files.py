"""Spool files as training processes write them that have spoken to nobody."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from isoflop.lakehouse import RunRecord
from isoflop.lakehouse.ingest.spool import encode_batch, utc_now
from isoflop.lakehouse.runs.records import record_fields

Points = Sequence[tuple[int, float | None, Mapping[str, float]]]


def header(run: RunRecord, token: str, sequence: int, /, **fields: Any) -> dict[str, Any]:
    """The metadata of a file of an attempt known by its token."""
    return {
        "version": 2, "run_id": run.run_id, "attempt": None, "token": token, "stream": None, "sequence": sequence,
        "written_at": utc_now(), "driver": None, "started_at": None, "run": record_fields(run), **fields,
    }  # fmt: skip


def put(
    folder: Path,
    run: RunRecord,
    token: str,
    sequence: int = 0,
    points: Points = (),
    events: Sequence[dict[str, Any]] = (),
    /,
    **fields: Any,
) -> Path:
    """Write a file of version 2 and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    about = header(run, token, sequence, **fields)
    names = (run.run_id, token, *(() if about["stream"] is None else (about["stream"],)), f"{sequence:08d}")
    path = folder / (".".join(map(str, names)) + ".parquet")
    path.write_bytes(encode_batch(list(points), list(events), about))
    return path


def losses(*steps: int, **others: float) -> Points:
    """A loss at each step, 100 minus the step."""
    return [(step, None, {"loss": 100.0 - step, **others}) for step in steps]


def put_raw(path: Path, about: object, columns: Mapping[str, Any] | None = None) -> Path:
    """Write a Parquet file with any header and any columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "metric": ["loss"],
            "step": pa.array([1], pa.int64()),
            "value": [1.0],
            "seconds": pa.array([None], pa.float64()),
            **(columns or {}),
        }
    )
    pq.write_table(table.replace_schema_metadata({"isoflop": json.dumps(about)}), path)
    return path
