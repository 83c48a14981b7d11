"""A spool file as the writer sees it: one batch of points and events, or a file to set aside."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.ingest.spool import SPOOL_VERSION

if TYPE_CHECKING:
    import pyarrow as pa

UNREADABLE = "unreadable"
REASON = ".reason.txt"


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
    """One spool file: its points and its events."""

    path: Path
    run_id: str
    attempt: int
    sequence: int
    written_at: str
    events: Sequence[dict[str, Any]]
    points: pa.Table

    @property
    def batch_id(self) -> str:
        """The key of the ledger."""
        return f"{self.run_id}/{self.attempt}/{self.sequence}"


def read_batch(path: Path) -> Batch | None:
    """Return the batch of a spool file, or None when the file is not one (or is gone)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
        about = json.loads(table.schema.metadata[b"isoflop"])
        if int(about["version"]) > SPOOL_VERSION or not {"metric", "step", "value", "seconds"} <= set(
            table.column_names
        ):
            return None
        return Batch(
            path,
            str(about["run_id"]),
            int(about["attempt"]),
            int(about["sequence"]),
            str(about["written_at"]),
            list(about["events"]),
            table,
        )
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return None


def set_aside(path: Path, reason: str) -> None:
    """Move a file that cannot be committed out of the way, so that it blocks nothing and is not lost."""
    folder = path.parent / UNREADABLE
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        (folder / (path.name + REASON)).write_text(reason + "\n")
        os.replace(path, folder / path.name)


def files_set_aside(folder: Path) -> dict[str, str]:
    """Return the files of a spool that were set aside, each with the reason."""
    aside = folder / UNREADABLE
    if not aside.is_dir():
        return {}
    found = {}
    for path in sorted(aside.iterdir()):
        if not path.name.endswith(REASON):
            why = path.with_name(path.name + REASON)
            found[path.name] = why.read_text().strip() if why.is_file() else "not a batch of points"
    return found
