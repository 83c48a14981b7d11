"""Getting a damaged lake open again, or what can be read of it into a new file.

Nothing is removed: a log that cannot be replayed is moved aside under a name that says so, and a file with
unreadable blocks stays as it is while its rows go into a new one.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from isoflop.lakehouse.address import FileAddress, parse_address, spool_of
from isoflop.lakehouse.backends.catalog import LakeDamaged, LakeHeld, is_damage, opening_error
from isoflop.lakehouse.backends.claim import Claim, ClaimLost, claim
from isoflop.lakehouse.backends.commits import CommitCount, Loss, read_mark
from isoflop.lakehouse.backends.leftovers import partial_of
from isoflop.lakehouse.errors import StoreError, UsageError
from isoflop.lakehouse.maintenance.salvage import SavedTable, salvage, unreadable_table
from isoflop.lakehouse.schema.migrations import installed_version

LAST_BATCH = "SELECT strftime(max(committed_at), '%Y-%m-%d %H:%M:%S') FROM store.batches"
COUNTS_SINCE = 4  # the schema from which on a lake counts its commits


@dataclass(frozen=True)
class Known:
    """What a lake's file knows without its log.

    Parameters
    ----------
    runs : how many
    last_batch : when the newest batch of measurements was written, UTC; None without any
    commits : how many, None in a lake of a schema that does not count them
    """

    runs: int
    last_batch: str | None
    commits: int | None


@dataclass(frozen=True)
class Finding:
    """What is wrong with a lake's file.

    Parameters
    ----------
    kind : `whole`, `log damaged`, `file damaged` or `commits lost`
    reason : in DuckDB's words
    log_bytes : size of the log beside the file
    is_log_damaged : whether the log cannot be replayed
    known : what the file knows without its log, None where that cannot be told
    losses : commits that it had and has no more
    waiting : batches in the spool by run, which are committed when the lake is opened again
    """

    kind: str
    reason: str | None = None
    log_bytes: int = 0
    is_log_damaged: bool = False
    known: Known | None = None
    losses: Sequence[Loss] = ()
    waiting: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Repaired:
    """What was done.

    Parameters
    ----------
    moved_log : where the damaged log is now
    salvaged : the new file with what could be read, and what that is
    losses : commits that are known to be lost from now on
    """

    moved_log: Path | None = None
    salvaged: Path | None = None
    tables: Sequence[SavedTable] = ()
    losses: Sequence[Loss] = ()


class Repair:
    """A lake's file that no other process can open meanwhile."""

    def __init__(self, path: Path, held: Claim) -> None:
        self.path, self._claim = path, held
        self._log = path.with_name(path.name + ".wal")

    def examine(self) -> Finding:
        """Return what is wrong with the file; every block of it is read.

        Raises
        ------
        StoreError : if it is no lake, or written by another DuckDB
        """
        import duckdb

        log_bytes = self._log.stat().st_size if self._log.exists() else 0
        is_log_damaged, known = False, None
        try:
            try:
                unreadable = unreadable_table(self.path)
            except duckdb.IOException as error:
                if "Failure while replaying WAL" not in str(error):
                    raise
                is_log_damaged, reason = True, _first_line(error)
                with self._without_log() as bare:
                    known = _known(bare)
                    unreadable = unreadable_table(bare)
        except duckdb.Error as error:
            if not is_damage(self.path, error):
                raise opening_error(self.path, error) from error
            return Finding("file damaged", _first_line(error), log_bytes, is_log_damaged, waiting=self._waiting())
        finally:
            self._keep()
        if unreadable is not None:
            return Finding("file damaged", unreadable, log_bytes, is_log_damaged, known, waiting=self._waiting())
        if is_log_damaged:
            return Finding("log damaged", reason, log_bytes, True, known, waiting=self._waiting())
        mark = read_mark(spool_of(self.path))
        known = _known(self.path)
        self._keep()
        losses = mark.losses if mark is not None else ()
        return Finding("commits lost" if losses else "whole", None, log_bytes, False, known, losses, self._waiting())

    def repair(self, found: Finding) -> Repaired:
        """Do what `found` asks for.

        Raises
        ------
        StoreError : if nothing can be read, or what can be read cannot be written
        """
        if found.kind == "file damaged":
            to = _free_name(self.path.with_name(f"{self.path.name}.salvaged"))
            try:
                if found.is_log_damaged:
                    with self._without_log() as bare:
                        tables = salvage(bare, to)
                else:
                    tables = salvage(self.path, to)
            except LakeDamaged as error:
                raise StoreError(
                    f"nothing of {self.path} can be read: {found.reason}",
                    hint=f"restore a copy; batches not yet committed are safe in {spool_of(self.path)}",
                ) from error
            finally:
                self._keep()
            return Repaired(salvaged=to, tables=tables)
        moved = None
        if found.kind == "log damaged":
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
            moved = _free_name(self._log.with_name(f"{self._log.name}.damaged-{stamp}"))
            os.rename(self._log, moved)
        return Repaired(moved_log=moved, losses=self._forgive())

    def _forgive(self) -> Sequence[Loss]:
        """Open the lake, and bring what is noted beside it in line with what it knows."""
        import duckdb

        try:
            with duckdb.connect(str(self.path)) as con:
                if installed_version(con) < COUNTS_SINCE:
                    return ()
                return CommitCount(con, spool_of(self.path)).forgive()
        except duckdb.Error as error:
            raise opening_error(self.path, error) from error
        finally:
            self._keep()

    @contextlib.contextmanager
    def _without_log(self) -> Iterator[Path]:
        """Yield a second name of the file, beside which no log lies."""
        bare = partial_of(self.path)
        try:
            os.link(self.path, bare)
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be read without its log: {error.strerror}",
                hint="copy the lake to a file system with hard links and repair it there",
            ) from error
        try:
            yield bare
        finally:
            bare.unlink()

    def _keep(self) -> None:
        """Take the lock again, which DuckDB gives up when it closes the file."""
        try:
            self._claim.renew()
        except ClaimLost as error:
            raise StoreError(f"{self.path}: {error}", hint="close the other program and repair again") from error

    def _waiting(self) -> dict[str, int]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        found: Counter[str] = Counter()
        for path in spool_of(self.path).glob("*.parquet"):
            with contextlib.suppress(OSError, pa.ArrowException, ValueError, KeyError, TypeError):
                found[str(json.loads(pq.read_schema(path).metadata[b"isoflop"])["run_id"])] += 1
        return dict(found)


@contextlib.contextmanager
def repairing(address: str | None) -> Iterator[Repair]:
    """Keep other processes away from a lake's file for the block, and yield what can look into it and mend it.

    Raises
    ------
    UsageError : for a shared lake
    StoreError : if there is no file, or a process holds it
    """
    place = parse_address(address)
    if not isinstance(place, FileAddress):
        raise UsageError(
            f"{place} has no file to repair", hint="its catalog is PostgreSQL's: restore a dump of it; lake check looks"
        )
    path = place.path
    if not path.exists():
        raise StoreError(f"there is no lake at {path}", hint="name another one with --lake")
    if path.stat().st_size == 0:
        raise StoreError(f"{path} is empty, 0 bytes: there is nothing to repair", hint="remove it, or restore a copy")
    held = claim(path, lambda _: None)
    if held is None:
        raise _in_use(path)
    try:
        yield Repair(held.path, held)
    finally:
        held.release()


def _in_use(path: Path) -> StoreError:
    """Return the error that names who holds a file."""
    import duckdb

    who = "another process"
    try:
        duckdb.connect(str(path), read_only=True).close()
    except duckdb.Error as error:
        told = opening_error(path, error)
        if isinstance(told, LakeHeld) and told.pid is not None:
            who = f"process {told.pid}"
    return StoreError(
        f"{path} is held by {who}; a lake is repaired while no process has it open", hint=f"end {who} first"
    )


def _known(path: Path) -> Known | None:
    """Return what a file that can be opened knows, None where it is no lake."""
    import duckdb

    with duckdb.connect(str(path), read_only=True) as con:
        version = installed_version(con)
        if not version:
            return Known(0, None, None)
        try:
            ((runs,),) = con.execute("SELECT count(*) FROM store.runs").fetchall()
            ((last,),) = con.execute(LAST_BATCH).fetchall()
            commits = None
            if version >= COUNTS_SINCE:
                ((commits,),) = con.execute("SELECT max(number) FROM store.commits").fetchall()
        except duckdb.IOException:
            return None
    return Known(runs, last, commits)


def _free_name(path: Path) -> Path:
    """Return a name that no file has: `path`, or with a number behind it."""
    number = 1
    chosen = path
    while chosen.exists():
        number += 1
        chosen = path.with_name(f"{path.name}-{number}")
    return chosen


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].removeprefix("IO Error: ")
