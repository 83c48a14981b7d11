"""How a lake's file is opened, and what a user reads when it cannot be.

The file is opened by one process at a time; DuckDB's own lock keeps the others out, and `LakeHeld`
names the holder so that the caller can ask it instead.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.address import ENVIRONMENT, resolve, spool_of
from isoflop.lakehouse.backends.claim import Claim, claim
from isoflop.lakehouse.backends.leftovers import partial_of
from isoflop.lakehouse.errors import StoreError

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "ENVIRONMENT",
    "LAYOUT",
    "LakeDamaged",
    "LakeHeld",
    "NotCommitted",
    "StoreDead",
    "connect",
    "is_damage",
    "open_claimed",
    "opening_error",
    "resolve",
]

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


class LakeDamaged(StoreError):
    """The lake's file, or the log beside it, does not hold what was written."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(
            f"{path} is damaged: {_first_line(str(error))}",
            hint=f"isoflop lake repair --lake {shlex.quote(str(path))} saves what can be read; batches not yet "
            f"committed are safe in {spool_of(path)}",
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

    check_place(path)
    if not read_only:
        refuse_unwritable(path)
    try:
        if not path.exists() and not read_only:
            _make(path)
        return duckdb.connect(str(path), read_only=read_only, config=dict(restrictions or {}))
    except duckdb.Error as error:
        raise opening_error(path, error) from error


def refuse_unwritable(path: Path) -> None:
    """Say how to go on where the file, or the folder that its log and its spool go into, cannot be written."""
    for place, what in ((path, "it"), (path.parent, "its folder")):
        if place.exists() and not os.access(place, os.W_OK):
            hint = "open it with --read-only (read_only=True), or get the right to write" if path.exists() else None
            raise StoreError(
                f"{path} cannot be opened: {what} may not be written by this user",
                hint=hint or f"give a file in another folder, or get the right to write into {path.parent}",
            )


def open_claimed(path: Path) -> tuple[duckdb.DuckDBPyConnection, Claim]:
    """Open the file for writing, making it when it is missing, and keep others out until the claim is released.

    Raises
    ------
    LakeHeld : if another process holds it
    StoreError : as `connect`
    """
    import duckdb

    check_place(path)
    refuse_unwritable(path)
    while True:
        try:
            claimed = claim(path, _make)
            if claimed is None:
                duckdb.connect(str(path)).close()  # says who has it, unless it has been let go of just now
                continue
        except duckdb.Error as error:
            raise opening_error(path, error) from error
        except PermissionError as error:
            raise StoreError(
                f"{path} cannot be opened for writing: {error.strerror}",
                hint="--read-only opens it for reading; to write, ask its owner for the right",
            ) from error
        except OSError as error:
            raise StoreError(f"{path} cannot be opened: {error.strerror}") from error
        try:
            return duckdb.connect(str(claimed.path)), claimed
        except duckdb.Error as error:
            claimed.release()
            raise opening_error(path, error) from error


def check_place(path: Path) -> None:
    """Refuse what can be no lake before anything is opened: opening a pipe, for example, waits for ever."""
    if not path.parent.is_dir():
        raise StoreError(f"the folder {path.parent} does not exist", hint=f"mkdir -p {path.parent}")
    if path.exists() and not path.is_file():
        raise StoreError(f"{path} is no ordinary file", hint="give another path with --lake")


def _make(path: Path) -> None:
    """Make an empty database file, whole once it has its name; only one that is attached can be told its layout."""
    import duckdb

    partial = partial_of(path)
    try:
        with duckdb.connect() as con:
            con.execute(f"ATTACH '{str(partial).replace(chr(39), chr(39) * 2)}' AS made {LAYOUT}")
        log = path.with_name(path.name + ".wal")
        if log.exists() and not path.exists():  # of a file that was taken away; a new one must not meet it
            os.replace(log, log.with_name(f"{log.name}.of-removed-{int(log.stat().st_mtime)}"))
        try:
            os.link(partial, path)
        except FileExistsError:  # another process was quicker
            return
        except OSError:  # a file system without hard links
            if not path.exists():
                os.rename(partial, path)
    finally:
        partial.unlink(missing_ok=True)
        partial.with_name(partial.name + ".wal").unlink(missing_ok=True)


def opening_error(path: Path, error: Exception) -> StoreError:
    """Return what a user should read when DuckDB could not open or read the file."""
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
        if path.exists() and not path.stat().st_size:
            return StoreError(
                f"{path} is empty, 0 bytes, and no lake", hint="remove it, or give another path with --lake"
            )
        return StoreError(f"{path} is not a DuckDB database: {first}", hint="give another path with --lake")
    if is_damage(path, error):
        return LakeDamaged(path, error)
    if "newer version" in text or "storage version" in text.lower() or "version number" in text:
        return StoreError(f"{path} was written by another DuckDB: {first}", hint="install the DuckDB that wrote it")
    return StoreError(f"{path} cannot be opened: {first}")


def is_damage(path: Path, error: Exception) -> bool:
    """Return whether an error says that the lake's file or its log is damaged, rather than some other file."""
    text = str(error)
    if "Corrupt database file" in text or "Failure while replaying WAL" in text:
        return True
    return "Could not read enough bytes from file" in text and f'{path.name}"' in text


def is_full(error: Exception) -> bool:
    """Return whether the reason is a disk without room."""
    return "No space left" in str(error) or "not enough space" in str(error).lower()


def _first_line(text: str) -> str:
    return text.splitlines()[0].removeprefix("IO Error: ").removeprefix("FATAL Error: ") if text else "unknown error"
