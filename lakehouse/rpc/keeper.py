"""The process that keeps a lake: it commits what is spooled and answers other processes.

One runs for each lake and machine, in a process of its own, so that no fault of a database, no fork, no killed
training and no reader that has the file open reaches anybody's training. It is started by the first process that
needs it, has the lake open while there are clients or batches, closes the file whole when there are none, and
ends a little later. It may be killed at any moment: what it had not committed still lies in the spool.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO, TypeVar

from isoflop.lakehouse.address import FileAddress, parse_address
from isoflop.lakehouse.backends.backend import Backend, Parameters, Statement
from isoflop.lakehouse.backends.catalog import LakeHeld, NotCommitted, StoreDead
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.ingest.batches import Drained
from isoflop.lakehouse.ingest.writer import batch_files
from isoflop.lakehouse.rpc.access import Access
from isoflop.lakehouse.rpc.endpoint import endpoint_file, lock_file
from isoflop.lakehouse.rpc.server import Answering, LakeServer, described
from isoflop.lakehouse.rpc.starting import log_file, try_lock
from isoflop.lakehouse.runs import registry

COMMIT_EVERY = 0.5  # seconds between commits of the spool
COMMIT_SHARED_EVERY = 1.0  # the same for a shared catalog, where a commit costs more
LONGEST_PAUSE = 30.0  # seconds between attempts while the store takes nothing
LINGER = 3.0  # seconds without clients and batches after which the process ends
FIRST_LINGER = 30.0  # the same before the first client has come
LOOK_FOR_LOST_EVERY = 30.0  # seconds between looks for attempts whose process has gone


Result = TypeVar("Result")


class Keeper:
    """One lake, kept.

    Parameters
    ----------
    access : the way to its rows, opened in this process
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._is_shared = not isinstance(access.place, FileAddress)
        self._woken = threading.Event()
        self._trouble: StoreError | None = None  # why the lake could not be opened, or did not take what is spooled
        self._stuck: set[str] = set()  # files that are in the spool still after a commit that went well
        self._lost = 0  # attempts that were marked as lost and not told to anybody yet
        self._look_for_lost_at = time.monotonic()
        self._has_dead = False  # whether a client went without a word since that look
        self._lock = threading.Lock()
        self._in_flight = 0  # requests that use the open store
        self._server = LakeServer(
            endpoint_file(access.spool_folder),
            Answering(self._ask, self._drain, self._hello, self._said_trouble, self._left, self._died),
        )

    def run(self) -> bool:
        """Keep the lake until no process needs it any more; returns whether it leaves it without trouble."""
        usual = COMMIT_SHARED_EVERY if self._is_shared else COMMIT_EVERY
        pause, has_served = usual, False
        while True:
            self._woken.wait(pause)
            self._woken.clear()
            has_clients = self._server.num_clients > 0
            has_served = has_served or has_clients
            if has_clients or self._waiting() or (self._has_dead and self._access.is_open):
                is_fine = self._commit()
                pause = usual if is_fine else min(2 * pause, LONGEST_PAUSE) * random.uniform(0.8, 1.2)
                if not is_fine and not has_clients and not self._may_come_right():
                    break
            else:
                self._let_go()
                pause = usual
                if time.monotonic() - self._server.heard > (LINGER if has_served else FIRST_LINGER):
                    break
        self._server.close()
        self._let_go()
        return self._trouble is None

    def _ask(self, act: Callable[[Backend], Result]) -> Result:
        """Do something with the open store, which stays open meanwhile."""
        with self._lock:
            self._in_flight += 1
        try:
            return self._access.ask(lambda backend, _: act(backend))
        finally:
            with self._lock:
                self._in_flight -= 1

    def _drain(self) -> Drained:
        """Commit what is spooled, or say at once why that cannot be done now."""
        self._access.try_to_open()
        return self._ask(lambda backend: backend.drain())

    def _waiting(self) -> set[str]:
        """Return the files in the spool that may be committed."""
        return batch_files(self._access.spool_folder) - self._stuck

    def _commit(self) -> bool:
        """Open the lake where it is not, and commit what is spooled; returns whether that went well."""
        try:
            self._access.try_to_open()
            before = self._waiting()
            if before:
                self._drain()
                self._stuck = batch_files(self._access.spool_folder) & (before | self._stuck)
            self._trouble = None
        except StoreError as error:
            self._say(error)
            self._trouble = error
            return False
        except Exception as error:  # a keeper that ends for an error of ours would only be started again
            self._say(error)
            self._trouble = StoreError(f"the spool could not be committed: {type(error).__name__}: {error}")
            return False
        if self._has_dead or time.monotonic() > self._look_for_lost_at:
            self._look_for_lost_at = time.monotonic() + LOOK_FOR_LOST_EVERY
            self._has_dead = False
            with contextlib.suppress(Exception):
                self._lost += registry.mark_lost(_Database(self._ask, self._is_shared))
        return True

    def _may_come_right(self) -> bool:
        """Return whether what keeps the lake from being opened may pass by itself."""
        return isinstance(self._trouble, LakeHeld | NotCommitted | StoreDead) or self._is_shared

    def _hello(self) -> Mapping[str, Any]:
        """Say how the lake is, having tried to open it and to commit what was left in its spool."""
        if not self._commit() and not self._access.is_open:
            assert self._trouble is not None
            return {"is_open": False, "passes": self._may_come_right(), "error": described(self._trouble)}
        lost, self._lost = self._lost, 0
        return {"is_open": True, "is_new": self._access.is_new, "lost": lost}

    def _said_trouble(self) -> str | None:
        trouble = self._trouble
        return None if trouble is None else trouble.message

    def _left(self) -> None:
        """Let go of the lake when the last client leaves, before it hears that it may go."""
        if self._server.num_clients == 0 and self._access.is_open and (not self._waiting() or self._commit()):
            self._let_go()

    def _died(self) -> None:
        """Have the attempts of a client that went without a word looked for."""
        self._has_dead = True

    def _let_go(self) -> None:
        """Close the store, its log folded in, unless a process uses it."""
        with self._lock:
            if self._access.is_open and not self._in_flight:
                with contextlib.suppress(Exception):
                    self._access.close()

    def _say(self, error: Exception) -> None:
        if str(error) != str(self._trouble):
            print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {type(error).__name__}: {error}", file=sys.stderr, flush=True)


class _Log(io.TextIOBase):
    """What the keeper says, for as long as there is room for it: a full disk is no reason to end.

    Parameters
    ----------
    file : where it is written
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._file.write(text)
            self._file.flush()
        return len(text)


class _Database:
    """A lake as recording asks for one, over its access."""

    def __init__(self, ask: Callable[[Callable[[Backend], Any]], Any], is_shared: bool) -> None:
        self._ask, self.is_shared = ask, is_shared

    def query(self, sql: str, parameters: Parameters = None, relations: Any = None) -> Any:
        return self._ask(lambda backend: backend.query(sql, parameters, relations))

    def write(self, statements: Any, relations: Any = None) -> None:
        chosen: list[Statement] = list(statements)
        self._ask(lambda backend: backend.write(chosen, relations))


def main(address: str, lock: int) -> None:
    """Keep a lake.

    Parameters
    ----------
    address : of the lake
    lock : descriptor of the file whose lock says that this process keeps it
    """
    if not try_lock(lock):
        return
    sys.stdout = sys.stderr = _Log(sys.stderr)
    access = Access(parse_address(address), is_keeper=True)
    access.wait_for_owner = 5.0
    file = log_file(access.spool_folder)
    with contextlib.suppress(OSError):
        file.touch(mode=0o600)
    is_fine = Keeper(access).run()
    is_over = is_fine or not batch_files(access.spool_folder)  # else the log says why they wait
    for left in (lock_file(access.spool_folder), *((file,) if is_over else ())):
        with contextlib.suppress(OSError):
            left.unlink()
    with contextlib.suppress(OSError):
        access.spool_folder.rmdir()  # goes when it is empty


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
    os._exit(0)  # threads that still wait for clients need not be waited for
