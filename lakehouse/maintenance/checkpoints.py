"""Removing what runs have saved to go on from, which is kept beside a lake and not in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse


@dataclass(frozen=True)
class Files:
    """Files that were removed, or would be.

    Parameters
    ----------
    runs : whose they are
    files, bytes : how many, and how large together
    running : runs that were left alone because they train
    """

    runs: int = 0
    files: int = 0
    bytes: int = 0
    running: int = 0


def remove_checkpoints(lake: Lakehouse, folder: Path, condition: str | None = None, *, dry_run: bool = False) -> Files:
    """Remove the checkpoints of runs that do not train now; whoever trains them again begins anew.

    Files of runs that the lake does not know go too, unless a condition chooses.

    Parameters
    ----------
    folder : has files whose names begin with a run's id and a dot
    condition : SQL over `runs` that chooses among them

    Raises
    ------
    duckdb.Error : if the condition is none
    """
    lake.drain()
    rows = lake.query(f"SELECT run_id, status FROM runs WHERE (\n{condition or 'true'}\n)").to_pylist()
    chosen = {row["run_id"] for row in rows}
    busy = {row["run_id"] for row in rows if row["status"] == "running"}
    found = [path for path in sorted(folder.glob("*.*")) if path.is_file()] if folder.is_dir() else []
    of_run = {path: path.name.partition(".")[0] for path in found}
    gone = [path for path, run in of_run.items() if run not in busy and (condition is None or run in chosen)]
    sizes = [path.stat().st_size for path in gone]
    for path in gone if not dry_run else ():
        path.unlink(missing_ok=True)
    running = len({run for run in of_run.values() if run in busy})
    return Files(len({of_run[path] for path in gone}), len(gone), sum(sizes), running)
