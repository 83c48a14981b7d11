"""Seeing to it that what this process spools is committed: by the keeper, or by itself where it has the lake open.

While a run is open a thread looks every second whether the keeper lives, and starts another one when it does
not. In the end the files of the run are waited for, never for longer than some seconds: what is not committed
by then is in the spool, and a line says so.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from isoflop.lakehouse.address import Address
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.ingest.writer import batch_files
from isoflop.lakehouse.rpc.access import Access
from isoflop.lakehouse.rpc.client import LakeClient
from isoflop.lakehouse.rpc.starting import find_keeper
from isoflop.lakehouse.saying import say

LOOK_EVERY = 1.0  # seconds between looks whether the keeper lives
PATIENCE = 5.0  # seconds that the end of a run waits for its files to be committed
IMPATIENCE = 0.5  # the same after a wait that was in vain, until one is not
LONGEST_PAUSE = 15.0  # seconds between attempts to have a keeper started while none comes to answer
LEAVING = 10.0  # seconds that closing waits for the keeper to let go of the lake
_all: weakref.WeakSet[Committing] = weakref.WeakSet()


class Committing:
    """What a lake's runs are recorded by.

    Parameters
    ----------
    access : the way to the lake
    drain : commits the spool where this process has the lake open
    """

    def __init__(self, access: Access, drain: Callable[[], object]) -> None:
        self._access, self._drain = access, drain
        self.spool_folder: Path = access.spool_folder
        self._patience = PATIENCE
        self._open = 0
        self._waiting: set[str] = set()  # prefixes of files that were not committed when their run ended
        self._is_over = threading.Event()
        self._watch: threading.Thread | None = None
        self._lock = threading.Lock()
        _all.add(self)

    def begin(self) -> None:
        """Somebody starts to spool."""
        with self._lock:
            self._open += 1
            if self._watch is None and self._access.is_kept:
                self._is_over.clear()
                self._watch = threading.Thread(target=self._look_after, name="isoflop-keeper-watch", daemon=True)
                self._watch.start()

    def end(self, prefix: str) -> None:
        """Somebody has spooled all; returns when the files of this prefix are committed, or after a bounded wait."""
        self.leave()
        self._waiting.add(prefix)
        if self.settle(prefix):
            self._waiting.discard(prefix)

    def leave(self) -> None:
        """Somebody spools no more."""
        with self._lock:
            self._open = max(0, self._open - 1)
            if self._open == 0 and self._watch is not None:
                self._is_over.set()
                self._watch = None

    def settle(self, prefix: str) -> bool:
        """Wait until the files of a prefix are committed; False, and a line that says what is left, if they are not."""
        until, reason = time.monotonic() + self._patience, ""
        while left := self._files([prefix]):
            try:
                self._commit(max(0.1, until - time.monotonic()))
            except StoreError as error:
                reason = error.message
            if time.monotonic() > until:
                self._patience = IMPATIENCE
                batches = "1 batch waits" if len(left) == 1 else f"{len(left)} batches wait"
                say(
                    f"{batches} in {self.spool_folder} to be committed{': ' if reason else ''}{reason}; "
                    f"what lies there is safe, {self._who()}"
                )
                return False
            if batch_files(self.spool_folder).intersection(left):
                time.sleep(0.05)
        self._patience = PATIENCE
        return True

    def _commit(self, patience: float) -> None:
        if not self._access.is_kept:
            self._drain()
            return
        backend = self._access.resolve(patience)
        client = self._access.client
        assert client is not None, "a lake that is kept is never opened here"
        try:
            client.drain(patience)
        except StoreError:
            if not client.is_alive:
                self._access.forget(backend)
            raise

    def _who(self) -> str:
        client = find_keeper(self._access.place, self.spool_folder) if self._access.is_kept else None
        if client is None:
            return "the next that opens the lake commits them, for example `isoflop lake ingest`"
        with contextlib.closing(client):
            return f"process {client.pid} commits them when it can"

    def _look_after(self) -> None:
        """Have another keeper started when the one there was has gone."""
        is_over, told, pause = self._is_over, None, LOOK_EVERY
        while not is_over.wait(pause):
            client = self._access.client
            if client is not None and client.is_alive:
                pause, told = LOOK_EVERY, self._told(client, told)
                continue
            if client is not None:
                self._access.forget(client)
            try:
                self._access.resolve(LOOK_EVERY)
                pause = LOOK_EVERY
            except StoreError:
                # Each attempt costs the start of a process, which a disk that is full all night need not pay for.
                pause = min(2 * pause, LONGEST_PAUSE)

    def _told(self, client: LakeClient, told: str | None) -> str | None:
        """Say what the lake suffers from, once; returns what has been said."""
        with contextlib.suppress(StoreError):
            trouble = client.trouble(LOOK_EVERY)
            if trouble is not None and trouble != told:
                say(f"{trouble}")
            return trouble
        return told

    def close(self) -> None:
        """Wait once more for what was not committed, and tell the keeper that nothing more will come."""
        with self._lock:
            self._open = 0
            self._is_over.set()
            self._watch = None
        waiting, self._waiting = self._waiting, set()
        if waiting and self._access.is_kept and self._files(waiting):
            with contextlib.suppress(StoreError):  # that it waits was said already
                self._commit(IMPATIENCE)
        client = self._access.client
        if client is not None:
            client.leave(LEAVING)

    def _files(self, prefixes: Collection[str]) -> list[str]:
        return [name for name in batch_files(self.spool_folder) if name.startswith(tuple(prefixes))]

    def __reduce__(self) -> tuple[Any, ...]:
        """In a process that it is sent to, what is recorded is committed by the keeper."""
        return _sent, (self._access.place,)

    def _after_fork(self) -> None:
        """A forked process has no threads of its parent's, and no runs but those it opens."""
        self._lock = threading.Lock()
        self._open, self._watch, self._waiting, self._patience = 0, None, set(), PATIENCE
        self._is_over = threading.Event()


def _sent(place: Address) -> Committing:
    return Committing(Access(place, is_kept=True), lambda: None)


def _after_fork() -> None:
    for committing in list(_all):
        committing._after_fork()


os.register_at_fork(after_in_child=_after_fork)
