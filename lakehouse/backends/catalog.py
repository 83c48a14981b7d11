"""How a lake's file is opened, and what a person reads when it cannot be.

The file is opened by one process at a time; DuckDB's own lock keeps the others out, and `LakeHeld`
names the holder so that the caller can ask it instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.address import ENVIRONMENT, resolve
from isoflop.lakehouse.errors import StoreError

if TYPE_CHECKING:
    import duckdb

__all__ = ["ENVIRONMENT", "LAYOUT", "LakeHeld", "NotCommitted", "StoreDead", "connect", "opening_error", "resolve"]

# Of a new file. Every column of every table takes whole blocks, so smaller ones leave less of each empty;
# DuckDB compresses numbers in blocks of this size from this storage version on, the oldest we run on.
LAYOUT = "(BLOCK_SIZE 65536, STORAGE_VERSION 'v1.5.0')"


class LakeHeld(StoreError):
    """Another process holds the lake's file."""

    def __init__(self, path: Path, pid: int | None) -> None:
        self.path, self.pid = path, pid
        holder = f"process {pid}" if pid is not None else "another process"
        super().__init__(
            f"{path} is held by {holder}, which does not answer queries for others",
            hint="close that program, or wait until it has finished",
        )


class NotCommitted(StoreError):
    """The spool could not be committed; its files are kept."""

    def __init__(self, place: object, error: Exception) -> None:
        if is_full(error):
            super().__init__(
                f"the disk that holds {place} is full; what is not committed waits in the spool",
                hint="make room; it is committed by itself",
            )
        else:
            super().__init__(
                f"the spool could not be committed to {place}: {_first_line(str(error))}; its files are kept"
            )


class StoreDead(StoreError):
    """The open store met an error after which DuckDB answers nothing more; it has to be opened again."""

    def __init__(self, path: Path, error: Exception) -> None:
        what = "the disk is full" if is_full(error) else _first_line(str(error))
        super().__init__(
            f"{path}: {what}; what is committed is safe, what is not waits in the spool",
            hint="make room; the store is opened again by itself" if is_full(error) else None,
        )


def connect(
    path: Path, *, read_only: bool = False, restrictions: Mapping[str, str] | None = None
) -> duckdb.DuckDBPyConnection:
    """Open the file, making it when it is missing.

    Parameters
    ----------
    path : the file
    read_only : refuse writes
    restrictions : settings to open it with

    Raises
    ------
    LakeHeld : if another process holds it
    StoreError : if it cannot be opened: not a database, damaged, no permission, no space
    """
    import duckdb

    if not path.parent.is_dir():
        raise StoreError(f"the folder {path.parent} does not exist", hint=f"mkdir -p {path.parent}")
    if not read_only:
        _refuse_unwritable(path)
    try:
        if not path.exists() and not read_only:
            _make(path)
        return duckdb.connect(str(path), read_only=read_only, config=dict(restrictions or {}))
    except duckdb.Error as error:
        raise opening_error(path, error) from error


def _refuse_unwritable(path: Path) -> None:
    """Say how to go on where the file, or the folder that its log and its spool go into, cannot be written."""
    for place, what in ((path, "it"), (path.parent, "its folder")):
        if place.exists() and not os.access(place, os.W_OK):
            hint = "open it with --read-only (read_only=True), or get the right to write" if path.exists() else None
            raise StoreError(
                f"{path} cannot be opened: {what} may not be written by this user",
                hint=hint or f"give a file in another folder, or get the right to write into {path.parent}",
            )


def _make(path: Path) -> None:
    """Make an empty database file; only a file that is attached can be told its layout."""
    import duckdb

    with duckdb.connect() as con:
        con.execute(f"ATTACH '{str(path).replace(chr(39), chr(39) * 2)}' AS made {LAYOUT}")


def opening_error(path: Path, error: Exception) -> StoreError:
    """Return what a person should read when DuckDB could not open or read the file."""
    text = str(error)
    if "Could not set lock" in text:
        holder = re.search(r"PID (\d+)", text)
        return LakeHeld(path, int(holder.group(1)) if holder else None)
    if "different configuration than existing" in text:  # this process has it open, with other rights
        return LakeHeld(path, os.getpid())
    first = _first_line(text)
    if is_full(error):
        return StoreError(f"{path} cannot be opened, the disk is full", hint="make room and try again; nothing is lost")
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


def is_full(error: Exception) -> bool:
    """Return whether the reason is a disk without room."""
    return "No space left" in str(error) or "not enough space" in str(error).lower()


def _first_line(text: str) -> str:
    return text.splitlines()[0].removeprefix("IO Error: ").removeprefix("FATAL Error: ") if text else "unknown error"
