"""Spools in processes that fork and end: a fork writes files of its own, a process that ends writes its last ones."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  # what imports it later cannot once the main thread has ended
import contextlib
import os
import sys
import threading
import time
import weakref
from typing import Protocol

from isoflop.lakehouse.ingest.signals import interrupts_held_back

BEFORE_FORK = 1.0  # seconds that a fork waits for files that are being written
_held: list[threading.Lock] = []


class Spooling(Protocol):
    """What buffers something that belongs on disk.

    Parameters
    ----------
    lock : held by whoever turns the buffer into a file
    """

    lock: threading.Lock

    @property
    def is_flushed(self) -> bool:
        """Whether everything said so far is on disk."""

    def flush(self) -> bool:
        """Put everything said so far on disk."""

    def after_fork(self) -> None:
        """Go on as a process of its own."""


_open: weakref.WeakSet[Spooling] = weakref.WeakSet()


def look_after(spool: Spooling) -> None:
    """Have a spool flushed when its process ends, and told when it forks."""
    _open.add(spool)


def leave(spool: Spooling) -> None:
    """Look after a spool no longer."""
    _open.discard(spool)


def flush_open() -> None:
    """Put on disk what the open spools of this process hold, because it ends."""
    with interrupts_held_back():
        for spool in list(_open):
            with contextlib.suppress(Exception):
                if not spool.is_flushed:
                    spool.flush()


def flush_when_a_fork_ends() -> None:
    """Have a process that `multiprocessing` forked flush before it leaves, which it does without `atexit`."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing import util

        util.Finalize(None, flush_open, exitpriority=100)


def _before_fork() -> None:
    """Let files that are being written be finished, so that no lock of Arrow's is forked while a thread has it."""
    until = time.monotonic() + BEFORE_FORK
    for spool in list(_open):
        if spool.lock.acquire(timeout=max(0.0, until - time.monotonic())):
            _held.append(spool.lock)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().release()


def _after_fork_in_child() -> None:
    _held.clear()
    for spool in list(_open):
        spool.after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
