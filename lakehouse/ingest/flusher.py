"""The threads that turn buffers into files: a few for all the spools of a process, not one each.

A process that trains hundreds of runs at once would otherwise spend its time on waking threads. A
flusher looks after the spools of one folder only, and after so many that a round of slow writes stays
well under a second: a folder that hangs holds up no other.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Protocol

SPOOLS_A_THREAD = 32  # written by it one after another

_registry = threading.Lock()
_flushers: dict[Path, list[Flusher]] = {}


class Flushable(Protocol):
    """What a flusher looks after."""

    due_at: float

    def flush_now_and_then(self) -> None:
        """Write what waits and say by `due_at` when to come again; must not raise."""


class Flusher:
    """A thread that lives as long as it has something to look after."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clients: list[Flushable] = []
        self._wake = threading.Event()
        threading.Thread(target=self._run, name=f"flusher-{folder.name}", daemon=True).start()

    def wake(self) -> None:
        """Look at once whose time has come; returns without waiting."""
        if not self._wake.is_set():
            self._wake.set()

    def leave(self, client: Flushable) -> None:
        """Look after `client` no longer; a round that has begun may still come to it."""
        with _registry, contextlib.suppress(ValueError):
            self._clients.remove(client)
        self.wake()

    def _run(self) -> None:
        while True:
            with _registry:
                clients = tuple(self._clients)
                if not clients:
                    others = [flusher for flusher in _flushers.pop(self._folder) if flusher is not self]
                    if others:
                        _flushers[self._folder] = others
                    return
            now = time.monotonic()
            self._wake.wait(max(0.0, min(client.due_at for client in clients) - now))
            self._wake.clear()
            for client in clients:
                if client.due_at <= time.monotonic():
                    with contextlib.suppress(Exception):  # one that fails must not take the others along
                        client.flush_now_and_then()


def join(client: Flushable, folder: Path) -> Flusher:
    """Have `client` looked after by a thread for `folder`, an old one with room or a new one."""
    with _registry:
        flushers = _flushers.setdefault(folder, [])
        flusher = next((flusher for flusher in flushers if len(flusher._clients) < SPOOLS_A_THREAD), None)
        if flusher is None:
            flusher = Flusher(folder)
            flushers.append(flusher)
        flusher._clients.append(client)
    flusher.wake()  # it may be asleep until later than this one wants
    return flusher


def _forget() -> None:
    """A fork has none of its parent's threads, and perhaps a lock that no thread opens."""
    global _registry
    _registry = threading.Lock()
    _flushers.clear()


os.register_at_fork(after_in_child=_forget)
