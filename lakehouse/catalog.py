"""Where a lake is, and how its file is opened.

An address is `--lake`, else the environment's ISOFLOP_LAKE, else `./isoflop.duckdb`. The file is
opened by one process at a time; DuckDB's own lock keeps the others out, and `LakeHeld` names the
holder so that the caller can ask it instead.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import StoreError, UsageError

if TYPE_CHECKING:
    import duckdb

ENVIRONMENT = "ISOFLOP_LAKE"
DEFAULT = "isoflop.duckdb"


class LakeHeld(StoreError):
    """Another process holds the lake's file."""

    def __init__(self, path: Path, pid: int | None) -> None:
        self.path, self.pid = path, pid
        holder = f"process {pid}" if pid is not None else "another process"
        super().__init__(
            f"{path} is held by {holder}, which does not answer queries for others",
            hint="close that program, or wait until it has finished",
        )


def resolve(address: str | os.PathLike[str] | None = None) -> Path:
    """Return the absolute path of the lake that `address` names.

    Raises
    ------
    UsageError : if the address is a URL or a folder
    """
    text = str(address) if address is not None else os.environ.get(ENVIRONMENT) or DEFAULT
    if re.match(r"[a-z][a-z0-9+]*://", text):
        raise UsageError(f"'{text}' is not the path of a lake; give a file, for example runs.duckdb")
    path = Path(text).expanduser().absolute()
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the file of the lake, for example {path / DEFAULT}")
    return path


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    """Open the file for reading and writing, making it when it is missing.

    Raises
    ------
    LakeHeld : if another process holds it
    StoreError : if it cannot be opened: not a database, damaged, no permission, no space
    """
    import duckdb

    if not path.parent.is_dir():
        raise StoreError(f"the folder {path.parent} does not exist", hint=f"mkdir -p {path.parent}")
    try:
        return duckdb.connect(str(path))
    except duckdb.Error as error:
        raise opening_error(path, error) from error


def opening_error(path: Path, error: Exception) -> StoreError:
    """Return what a person should read when DuckDB could not open or read the file."""
    text = str(error)
    if "Could not set lock" in text:
        holder = re.search(r"PID (\d+)", text)
        return LakeHeld(path, int(holder.group(1)) if holder else None)
    first = text.splitlines()[0].removeprefix("IO Error: ")
    if "not a valid DuckDB database" in text:
        return StoreError(f"{path} is not a DuckDB database: {first}", hint="give another path with --lake")
    if "Corrupt database" in text or "checksum" in text or "Failure while replaying WAL" in text:
        return StoreError(
            f"{path} is damaged: {first}",
            hint=f"restore a copy; batches not yet committed are safe in {path}.spool",
        )
    if "newer version" in text or "storage version" in text.lower() or "version number" in text:
        return StoreError(f"{path} was written by another DuckDB: {first}", hint="install the DuckDB that wrote it")
    return StoreError(f"{path} cannot be opened: {first}")
