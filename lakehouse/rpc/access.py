"""The way to the rows of one lake: our own open store, or the process that keeps it.

A command opens a free lake itself, and asks the process that keeps it otherwise. A training process, a
notebook and everything else that stays around opens nothing: it asks the keeper, which it starts when there
is none. Whoever answers may go away at any time; then the next request finds, starts or becomes another.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from isoflop.lakehouse.address import Address, FileAddress
from isoflop.lakehouse.backends.backend import Backend
from isoflop.lakehouse.backends.catalog import LakeHeld, StoreDead
from isoflop.lakehouse.rpc.endpoint import KeeperGone, endpoint_file
from isoflop.lakehouse.saying import say

if TYPE_CHECKING:
    from isoflop.lakehouse.rpc.client import LakeClient

WAIT_FOR_OWNER = 10.0  # seconds a request waits for a process that has the file and answers no request
TRIES = 4  # how often a request goes to the next keeper when the last one died over it

Result = TypeVar("Result")
_all: weakref.WeakSet[Access] = weakref.WeakSet()


class Access:
    """The way to the rows of one lake.

    Parameters
    ----------
    place : the lake's address
    is_read_only : whether it is opened for reading only; then no file is kept open between two requests
    is_kept : whether the lake is never opened here, but by a keeper
    is_keeper : whether this process is the keeper, which asks no other process
    """

    def __init__(
        self, place: Address, *, is_read_only: bool = False, is_kept: bool = False, is_keeper: bool = False
    ) -> None:
        self.place, self.is_read_only, self.is_kept = place, is_read_only, is_kept
        self.path: Path = place.path
        self.is_new = not is_read_only and isinstance(place, FileAddress) and not self.path.exists()
        self._is_keeper = is_keeper
        self.wait_for_owner = WAIT_FOR_OWNER
        self._lock = threading.RLock()
        self._backend: Backend | None = None
        self._stays = 0
        self._has_forked = False
        _all.add(self)

    @property
    def is_open(self) -> bool:
        """Whether a process that reaches the rows has been found."""
        return self._backend is not None

    @property
    def is_owner(self) -> bool:
        """Whether this process reaches the rows itself, rather than asking the one that keeps them."""
        return self._backend is not None and self.client is None

    @property
    def client(self) -> LakeClient | None:
        """The way to the keeper, when that is who answers."""
        from isoflop.lakehouse.rpc.client import LakeClient

        return self._backend if isinstance(self._backend, LakeClient) else None

    @property
    def spool_folder(self) -> Path:
        """The folder in which finished batches lie."""
        return self.path.with_name(self.path.name + ".spool")

    def ask(self, action: Callable[[Backend, int], Result], repeats: Callable[[], bool] = lambda: True) -> Result:
        """Do something with whoever reaches the rows; with the next one when the last one died over it.

        Parameters
        ----------
        action : gets the backend and how often it was tried before
        repeats : whether it can be done again when it is not known whether it was done
        """
        tries = 0
        with self.staying():
            while True:
                backend = self.resolve()
                try:
                    return action(backend, tries)
                except KeeperGone:
                    self.forget(backend)
                    tries += 1
                    if tries == TRIES or not repeats():
                        raise
                except (StoreDead, LakeHeld):
                    self.forget(backend)
                    raise

    @contextlib.contextmanager
    def staying(self) -> Iterator[None]:
        """Keep a lake that is open for reading only open for the whole block, and let go of it after."""
        with self._lock:
            self._stays += 1
        try:
            yield
        finally:
            with self._lock:
                self._stays -= 1
                is_over = self.is_read_only and not self._stays and isinstance(self.place, FileAddress)
                backend = self._backend if is_over else None
            if backend is not None:
                self.forget(backend)

    def resolve(self, patience: float | None = None) -> Backend:
        """Return the open store, or a client of the process that keeps it.

        Parameters
        ----------
        patience : seconds that a keeper which has to be started may take; None for the usual limit

        Raises
        ------
        StoreError : if neither is to be had
        """
        if not self._lock.acquire(timeout=-1 if patience is None else patience):
            from isoflop.lakehouse.rpc.starting import NoKeeper

            raise NoKeeper(f"another thread waits for a process that opens {self.place}, and none has come to answer")
        try:
            if self._backend is not None:
                return self._backend
            if self.is_kept and not self.is_read_only:
                from isoflop.lakehouse.rpc.starting import START_SECONDS, keeper_of

                self._backend = keeper_of(self.place, self.spool_folder, patience or START_SECONDS)
            else:
                self._backend = self._opened_or_found()
            return self._backend
        finally:
            self._lock.release()

    def _opened_or_found(self) -> Backend:
        from isoflop.lakehouse.rpc.client import LakeClient

        until, has_said = time.monotonic() + self.wait_for_owner, False
        while True:
            if not self._has_forked:
                try:
                    return self._open()
                except LakeHeld as error:
                    held = error
            else:  # what DuckDB knows of open files is its parent's
                held = LakeHeld(self.path, None)
            if not self._is_keeper:
                client = LakeClient.find(self.path, endpoint_file(self.spool_folder), self.is_read_only)
                if client is not None:
                    return client
            if time.monotonic() > until:
                raise held
            if not has_said and time.monotonic() > until - self.wait_for_owner + 2.0:
                has_said = True
                owner = "another process" if held.pid is None else f"process {held.pid}"
                say(f"waiting for {owner}, which has {self.path} open")
            time.sleep(0.1)

    def try_to_open(self) -> Backend:
        """Open the store here now, without waiting for a process that has it.

        Raises
        ------
        LakeHeld : if another process has it
        StoreError : if it cannot be opened
        """
        with self._lock:
            if self._backend is None:
                self._backend = self._open()
            return self._backend

    def _open(self) -> Backend:
        if isinstance(self.place, FileAddress):
            if self.is_read_only:
                from isoflop.lakehouse.backends.read_only import ReadOnlyStore

                return ReadOnlyStore(self.path)
            from isoflop.lakehouse.backends.store import Store

            return Store(self.path, self.spool_folder)
        from isoflop.lakehouse.shared import SharedStore

        store = SharedStore(self.place, self.spool_folder, is_read_only=self.is_read_only)
        self.is_new = self.is_new or store.is_new
        return store

    def forget(self, backend: Backend) -> None:
        """Give up a store that has died or a keeper that has gone; the next request finds another."""
        with self._lock:
            if self._backend is backend:
                self._backend = None
        with contextlib.suppress(Exception):
            backend.close()

    def close(self) -> None:
        """Let go of the lake."""
        with self._lock:
            backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()

    def _after_fork(self) -> None:
        """A forked process has copies of its parent's connections, and must not use, close or free any of them."""
        self._lock = threading.RLock()
        self._stays = 0
        self._has_forked = self.is_kept = True
        client, backend, self._backend = self.client, self._backend, None
        if client is not None:
            client.forget_after_fork()
        elif backend is not None:
            # Freed, DuckDB would write its copy of the log into the parent's file.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(backend))


def _after_fork() -> None:
    for access in list(_all):
        access._after_fork()


os.register_at_fork(after_in_child=_after_fork)
