"""Watching a statement while it is answered: how far it is, and the way to stop it.

Whoever asks opens a watch with `watched`; it is found again through a context variable, so that the fitting
engine can `report` without being handed anything. Nobody watching costs one look at that variable.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from isoflop.lakehouse.errors import Interrupted

STOPPED_EVERY = 0.5  # seconds between two attempts to stop what goes on
REPORTED_EVERY = 0.05  # seconds between two reports that are passed on


@dataclass(frozen=True)
class Progress:
    """How far one part of an answer is.

    Parameters
    ----------
    part : what is counted: `descents`, `folds`, `percent of a query`
    done, total : how many of them
    """

    part: str
    done: int
    total: int


OnProgress = Callable[[Progress], None]


class Watch:
    """One statement while it is answered.

    Parameters
    ----------
    progress : called in the thread that works, with how far it is; None when it is not wanted
    """

    def __init__(self, progress: OnProgress | None = None) -> None:
        self.progress = progress
        self._is_canceled = False
        self._stops: dict[int, Callable[[], object]] = {}
        self._lock = threading.RLock()  # Ctrl-C may come while its own thread has it
        self._reported: dict[str, float] = {}
        self._again: threading.Timer | None = None

    def check(self) -> None:
        """Return unless the caller asked to stop.

        Raises
        ------
        Interrupted : when the caller did
        """
        if self._is_canceled:
            raise Interrupted

    def report(self, part: str, done: int, total: int) -> None:
        """Say how far a part is; most of many reports in a row are left out.

        Raises
        ------
        Interrupted : when the caller asked to stop
        """
        self.check()
        if self.progress is None:
            return
        now = time.monotonic()
        if done < total and now - self._reported.get(part, 0.0) < REPORTED_EVERY:
            return
        self._reported[part] = now
        self.progress(Progress(part, done, total))

    @contextlib.contextmanager
    def stoppable(self, stop: Callable[[], object]) -> Iterator[None]:
        """Have `cancel` call `stop` while the block waits for something that cannot look for itself.

        Raises
        ------
        Interrupted : when the caller has asked to stop already
        """
        key = id(stop)
        with self._lock:
            self.check()
            self._stops[key] = stop
        try:
            yield
        finally:
            with self._lock:
                self._stops.pop(key, None)

    def cancel(self) -> None:
        """Stop what is being answered, from any thread; whoever waits for it meets `Interrupted`.

        What has not quite begun cannot be stopped, so it is told again until no statement goes on.
        """
        with self._lock:
            self._is_canceled = True
            for stop in list(self._stops.values()):
                with contextlib.suppress(Exception):
                    stop()
            if self._stops and self._again is None:
                self._again = threading.Timer(STOPPED_EVERY, self._cancel_again)
                self._again.daemon = True
                self._again.start()

    def _cancel_again(self) -> None:
        with self._lock:
            self._again = None
            is_over = not self._stops
        if not is_over:
            self.cancel()


class Watches:
    """What one lake or session is answering now."""

    def __init__(self) -> None:
        self._open: weakref.WeakSet[Watch] = weakref.WeakSet()

    @contextlib.contextmanager
    def watched(self, progress: OnProgress | None = None) -> Iterator[Watch]:
        """Answer under the watch that is open, or under a new one."""
        with watched(progress) as watch:
            self._open.add(watch)
            yield watch

    def cancel(self) -> None:
        """Stop everything that is being answered."""
        for watch in list(self._open):
            watch.cancel()


_current: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextlib.contextmanager
def watched(progress: OnProgress | None = None) -> Iterator[Watch]:
    """Open a watch for the block; inside another one this is that one, reporting to `progress` meanwhile."""
    outer = _current.get()
    if outer is not None:
        before, outer.progress = outer.progress, progress or outer.progress
        try:
            yield outer
        finally:
            outer.progress = before
        return
    watch = Watch(progress)
    token = _current.set(watch)
    try:
        yield watch
    finally:
        _current.reset(token)


def report(part: str, done: int, total: int) -> None:
    """Tell whoever watches how far a part of the answer is, and stop here if they asked to.

    Raises
    ------
    Interrupted : when the caller asked to stop
    """
    watch = _current.get()
    if watch is not None:
        watch.report(part, done, total)


def check() -> None:
    """Stop here if whoever watches asked to.

    Raises
    ------
    Interrupted : when the caller did
    """
    watch = _current.get()
    if watch is not None:
        watch.check()
