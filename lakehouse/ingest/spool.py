"""One attempt's way into the lake: a buffer in the process, then durable files for the writer.

`log()` converts the values, appends them to a list and returns. A flusher's thread turns the list into a Parquet file
at most every second or every 20,000 points: written under a name that no reader matches, fsynced, renamed. The
file is one batch of the ledger, `run/attempt/sequence`; the writer commits it once and removes it.
A process that is forked off writes a stream of batches of its own.
Nothing here raises into a training loop: a spool that cannot write keeps its points, thins them
when they grow too many, goes on, and says so once. An attempt with nothing to say still leaves an
empty batch now and then: the lake takes it as a heartbeat.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from isoflop.lakehouse.ingest import flusher, forks
from isoflop.lakehouse.ingest.encoding import (
    BY_TOKEN,
    NUMBERED,
    Point,
    as_text,
    batch_name,
    encode_batch,
    plain,
    utc_now,
    write_durably,
)
from isoflop.lakehouse.runs.provenance import process_label
from isoflop.lakehouse.runs.records import RunRecord, record_fields
from isoflop.lakehouse.saying import say

FLUSH_SECONDS = 1.0  # after which what is logged can survive the process
MAX_POINTS = 20_000  # held in memory before a batch is written early
BEAT_SECONDS = 30.0  # between signs of life of an attempt that logs nothing
CLOSE_PATIENCE = 5.0  # seconds that close() goes on trying while the spool folder cannot be written
KEPT_WHEN_BLOCKED = 1_000_000  # points held in memory while the spool folder cannot be written


def _number(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]  # tensors and NumPy scalars convert too
    except Exception:  # whatever an object's own conversion raises, it is no number
        return None


def _step(value: object) -> int | None:
    try:
        step = int(value)  # type: ignore[call-overload]
        is_whole = bool(step == value)  # 2.7 is no step, nor is a text
    except Exception:
        return None
    return step if is_whole and -(2**63) <= step < 2**63 else None


def _shown(value: object) -> str:
    """Return a value as a message shows it, whatever it is."""
    try:
        shown = repr(value)
    except Exception:
        shown = f"a {type(value).__name__}"
    return shown if len(shown) <= 200 else f"{shown[:197]}..."


def _note(message: str, level: str = "warning") -> dict[str, object]:
    return {"kind": "note", "logged_at": utc_now(), "level": as_text(level), "message": as_text(message)}


@dataclass(frozen=True)
class _Pending:
    """A file that is made but perhaps not delivered."""

    name: str
    content: bytes
    steps: int


class Spool:
    """One attempt's buffer and its files.

    Parameters
    ----------
    folder : where finished files are put, the lake's `spool_folder`
    run_id : the run these points belong to
    attempt : its attempt, from `Lakehouse.begin_attempts`; None for one that gets its number when it is committed
    record : what is known of the run, for an attempt without a number: no process has registered it yet
    deliver : called with (file name, content) instead of writing to `folder`, for a worker on another
        machine; it returns only when the content is durable
    flush_seconds, max_points : a file is written at least this often, and when this many steps wait
    beat_seconds : longest silence of a live attempt [s]

    Source of the layout: group commit with a ledger, so a replayed file changes nothing.
    """

    def __init__(
        self,
        folder: Path | str,
        run_id: str,
        attempt: int | None,
        *,
        record: RunRecord | None = None,
        deliver: Callable[[str, bytes], None] | None = None,
        flush_seconds: float = FLUSH_SECONDS,
        max_points: int = MAX_POINTS,
        beat_seconds: float = BEAT_SECONDS,
    ) -> None:
        _warm_up()
        self.run_id, self.attempt = run_id, attempt
        self._header: dict[str, object] = {"version": NUMBERED, "run_id": run_id, "attempt": attempt}
        self.prefix = f"{run_id}.{attempt:04d}." if attempt is not None else ""  # of the names of its files
        if attempt is None:
            token, began = secrets.token_hex(8), utc_now()
            driver, run = process_label(), None if record is None else record_fields(record)
            self._header |= {"version": BY_TOKEN, "token": token, "started_at": began, "driver": driver, "run": run}
            # The time comes first: of two attempts that wait together the earlier one is committed first.
            self.prefix = f"{run_id}.{''.join(filter(str.isdigit, began))}-{token}."
        self._folder = Path(folder)
        self._deliver = deliver or self._write
        self._max_points = self._usual_points = max_points
        self._points: list[Point] = []
        self._events: list[dict[str, object]] = []
        self._pending: _Pending | None = None
        self._sequence = 0
        self._loss: float | None = None  # the last of the points that were written
        self.lock = threading.Lock()  # held by whoever turns the buffer into a file, never by log()
        self._closed = False
        self._has_complained = False
        self._dropped = 0
        self._refused: set[str] = set()  # metrics that have had a value that is no number
        self._beat_seconds = beat_seconds
        self._spoke_at = time.monotonic()
        self._flush_seconds = flush_seconds
        self.due_at = time.monotonic() + flush_seconds  # when the flusher comes by
        self._flusher: flusher.Flusher | None = flusher.join(self, self._folder)
        forks.look_after(self)

    def log(self, step: int, /, seconds: float | None = None, **metrics: float) -> None:
        """Record metric values at a step as they are now; returns at once and never raises.

        Parameters
        ----------
        step : optimizer step, any order, repeats allowed
        seconds : time since the run started [s]
        metrics : name = value; NaN and infinities are kept
        """
        for value in metrics.values():
            if type(value) is not float:
                self._convert(step, metrics)
                break
        if type(step) is not int:
            whole = _step(step)
            if whole is None:
                self._skip(step)
                return
            step = whole
        if type(seconds) is not float and seconds is not None:
            seconds = _number(seconds)
        self._points.append((step, seconds, metrics))
        if len(self._points) >= self._max_points and self.due_at:
            self._hurry()

    def _skip(self, step: object) -> None:
        shown = _shown(step)
        self.note(f"step {shown} is not a whole number below 2^63; its values are skipped", level="warning")

    def _convert(self, step: object, metrics: dict[str, float]) -> None:
        """Make numbers of what was logged, before its owner changes it; what is none costs itself and a note."""
        for metric, value in list(metrics.items()):
            if type(value) is not float:
                number = _number(value)
                if number is None:
                    del metrics[metric]
                    self._refuse(metric, step, value)
                else:
                    metrics[metric] = number

    def _refuse(self, metric: str, step: object, value: object) -> None:
        """Say of a metric whose value is no number, the first time it is none, that it is skipped."""
        if metric in self._refused:
            return
        self._refused.add(metric)
        said = f"metric '{metric}' at step {_shown(step)} is {_shown(value)}, which is not a number; skipped"
        self.note(f"{said}, as are all its values that are none", level="warning")
        self._say(said)

    def note(self, message: str, level: str = "info") -> None:
        """Add a line to the run's log."""
        self._events.append(_note(message, level))

    def started(
        self,
        *,
        host: str,
        device: str,
        hardware: Mapping[str, object] | None = None,
        resumed_step: int | None = None,
        **fields: object,
    ) -> None:
        """Say that the attempt runs, where, and from which step it goes on."""
        hardware_json = None if hardware is None else json.dumps(plain(hardware))
        self._event(
            "started",
            started_at=utc_now(),
            host=host,
            device=device,
            hardware=hardware_json,
            resumed_step=resumed_step,
            **fields,
        )
        self._hurry()

    def resumed(self, step: int) -> None:
        """Say after which step the attempt goes on."""
        self._event("resumed", resumed_step=step)

    def timing(self, phase: str, *, count: int, **seconds: float) -> None:
        """Record a timed phase of the run: how often it came, and p10, p50, p90, total and lowest of its times [s]."""
        self._event("timing", phase=phase, count=count, **seconds)

    def ended(self, status: str, reason: str | None = None, **fields: object) -> None:
        """Say how the attempt ended; `fields` are columns of `attempts`, anything else goes to its `results`."""
        self._event("ended", status=status, reason=reason, finished_at=utc_now(), **fields)

    def flush(self) -> bool:
        """Put everything said so far on disk before returning; False when the folder cannot be written now."""
        with self.lock:
            return self._flush_once()

    def close(self) -> None:
        """Flush; a closed spool takes nothing more.

        While the folder cannot be written this tries again for some seconds, then says what is lost.
        """
        if self._closed:
            return
        self._closed = True
        if self._flusher is not None:
            self._flusher.leave(self)
        until = time.monotonic() + CLOSE_PATIENCE
        while not (is_written := self.flush()) and time.monotonic() < until:
            time.sleep(0.2)
        if not is_written:
            steps = len(self._points) + (self._pending.steps if self._pending else 0)
            logged = "1 step that was logged" if steps == 1 else f"{steps} steps that were logged"
            self._say(f"{logged} could not be written and {'is' if steps == 1 else 'are'} lost")
        forks.leave(self)  # last, so that what an exception leaves here is flushed when the process ends

    @property
    def last_loss(self) -> float | None:
        """The last value of `loss` that was logged; None when there was none."""
        logged = (measured["loss"] for _, _, measured in reversed(self._points) if "loss" in measured)
        return next(logged, self._loss)

    @property
    def is_flushed(self) -> bool:
        """Whether everything said so far is on disk."""
        return not (self._points or self._events or self._pending)

    def _event(self, kind: str, **fields: object) -> None:
        self._events.append({"kind": kind, **fields})

    def _hurry(self) -> None:
        if self._flusher is None:
            self._max_points = self._usual_points
            self._flusher = flusher.join(self, self._folder)
            forks.flush_when_a_fork_ends()
            return
        self.due_at = 0.0
        self._flusher.wake()

    def _begin_stream(self) -> None:
        """Count batches apart from those of the process that began the attempt."""
        stream = secrets.token_hex(4)
        self._header |= {"version": BY_TOKEN, "stream": stream}
        self.prefix = f"{self.prefix.rstrip('.').partition('+')[0]}+{stream}."

    def __reduce__(self) -> tuple[Any, ...]:
        """A process that the spool is sent to adds a stream of batches of its own to the attempt."""
        if self._deliver != self._write:
            raise TypeError("a spool that delivers elsewhere than to a folder cannot be sent to another process")
        return _sent, (self._folder, self.run_id, self.attempt, self._header, self.prefix)

    def after_fork(self) -> None:
        """Begin a stream of batches of its own; what its parent had not written yet is its parent's."""
        self.lock = threading.Lock()
        self._points, self._events, self._pending, self._sequence = [], [], None, 0
        self._begin_stream()
        # The flusher's thread stayed behind; the first point that is logged joins another one.
        self._flusher, self._max_points, self.due_at = None, 0, time.monotonic()

    def flush_now_and_then(self) -> None:
        """Write what waits, or a sign of life; the flusher's thread comes by with this."""
        self.due_at = time.monotonic() + self._flush_seconds
        with self.lock:
            self._flush_once(beats=True)

    def _flush_once(self, *, beats: bool = False) -> bool:
        """Write what waits; return whether nothing is left behind."""
        is_silent = beats and not self._closed and time.monotonic() - self._spoke_at > self._beat_seconds
        while self._pending or self._points or self._events or is_silent:
            try:
                if self._pending is None:
                    self._pending = self._encoded()
                self._deliver(self._pending.name, self._pending.content)
            except Exception as error:  # training goes on whatever happens to the store
                self._complain(error)
                self._thin()
                return False
            self._pending = None
            self._sequence += 1
            self._spoke_at = time.monotonic()
            is_silent = False
            if self._has_complained:
                self._has_complained = False
                lost = f", {self._dropped} points were thinned out" if self._dropped else ""
                self.note(f"the spool can be written again{lost}", level="warning")
        return True

    def _encoded(self) -> _Pending:
        """Turn the buffer into the content of the next file.

        The same bytes are delivered again until that succeeds: whether a failed delivery has arrived
        nobody knows, and a batch must not have two contents.
        """
        num_points, num_events = len(self._points), len(self._events)
        header = {**self._header, "sequence": self._sequence, "written_at": utc_now()}
        try:
            content = encode_batch(self._points[:num_points], self._events[:num_events], header)
        except OverflowError:
            self._points[:num_points] = self._within(self._points[:num_points])
            return self._encoded()
        self._loss = self.last_loss
        del self._points[:num_points]
        del self._events[:num_events]
        return _Pending(batch_name(self.prefix, self._sequence), content, num_points)

    def _within(self, points: list[Point]) -> list[Point]:
        """Return those points whose steps the lake takes; the others are said."""
        for step in {step for step, _, _ in points if not -(2**63) <= step < 2**63}:
            self._skip(step)
        return [point for point in points if -(2**63) <= point[0] < 2**63]

    def _write(self, name: str, content: bytes) -> None:
        if self._sequence and not self._folder.is_dir():
            message = f"the spool {self._folder} had vanished and is made again; what it held uncommitted is lost"
            self._say(message)
            self.note(message, level="warning")
        self._folder.mkdir(parents=True, exist_ok=True)
        write_durably(self._folder / name, content)

    def _complain(self, error: Exception) -> None:
        if not self._has_complained:
            self._has_complained = True
            self._say(
                f"the spool {self._folder} cannot be written ({error}); training goes on and the points wait in memory"
            )
            self.note(f"the spool could not be written: {error}", level="warning")

    def _say(self, message: str) -> None:
        with contextlib.suppress(Exception):
            say(f"run {self.run_id}: {message}")

    def _thin(self) -> None:
        if len(self._points) > KEPT_WHEN_BLOCKED:
            before = len(self._points)
            keep_from = before // 2  # early and late steps matter; the first half loses every other step
            self._points[:keep_from] = self._points[:keep_from:2]
            self._dropped += before - len(self._points)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _sent(folder: Path, run_id: str, attempt: int | None, header: Mapping[str, object], prefix: str) -> Spool:
    spool = Spool(folder, run_id, attempt)
    spool._header, spool.prefix = dict(header), prefix
    spool._begin_stream()
    return spool


@cache
def _warm_up() -> None:
    """Write a batch to nowhere, so that everything that needs to be imported for one is imported in this thread.

    A process that is forked off while a thread imports something waits for that import for ever.
    """
    encode_batch([(0, 0.0, {"loss": 0.0})], [], {})
