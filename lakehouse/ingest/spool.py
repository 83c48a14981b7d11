"""One attempt's way into the lake: a buffer in the process, then durable files for the writer.

`log()` appends to a list and returns. A flusher's thread turns the list into a Parquet file at most every
second or every 20,000 points: written under a name that no reader matches, fsynced, renamed. The
file is one batch of the ledger, `run/attempt/sequence`; the writer commits it once and removes it.
Nothing here raises into a training loop: a spool that cannot write keeps its points, thins them
when they grow too many, goes on, and says so once. An attempt with nothing to say still leaves an
empty batch now and then: the lake takes it as a heartbeat.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.ingest import flusher

if TYPE_CHECKING:
    import pyarrow as pa

SPOOL_VERSION = 1
FLUSH_SECONDS = 1.0
MAX_POINTS = 20_000
BEAT_SECONDS = 30.0  # between signs of life of an attempt that logs nothing
CLOSE_PATIENCE = 5.0  # seconds that close() goes on trying while the spool folder cannot be written
KEPT_WHEN_BLOCKED = 1_000_000  # points held in memory while the spool folder cannot be written
SUFFIX = ".parquet"

Point = tuple[int, float | None, Mapping[str, float]]


def utc_now() -> str:
    """Return the time as the lake stores it: UTC, without a zone, to the microsecond."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


def batch_name(run_id: str, attempt: int, sequence: int) -> str:
    """Return the spool file name of a batch; names of one attempt sort in the order they were written."""
    return f"{run_id}.{attempt:04d}.{sequence:08d}{SUFFIX}"


def write_durably(path: Path, content: bytes) -> None:
    """Write `content` so that `path` either holds all of it, on disk, or does not exist."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _number(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]  # tensors and NumPy scalars convert too
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None


def _step(value: object) -> int | None:
    try:
        step = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
    return step if -(2**63) <= step < 2**63 else None


def _note(message: str, level: str = "warning") -> dict[str, object]:
    return {"kind": "note", "logged_at": utc_now(), "level": level, "message": str(message)}


def _plain(value: object) -> object:
    """Return what JSON takes for a value it does not know: a NumPy or torch scalar its number, else text."""
    try:
        return value.item()  # type: ignore[attr-defined]
    except Exception:
        return str(value)


def encode_batch(points: list[Point], events: list[dict[str, object]], header: dict[str, object]) -> bytes:
    """Return the Parquet bytes of one batch: a row a metric value, the events in the file's metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    steps: list[int] = []
    seconds: list[float | None] = []
    metrics: list[str] = []
    values: list[float] = []
    for given, at, measured in points:
        step = given if type(given) is int and -(2**63) <= given < 2**63 else _step(given)
        if step is None:
            events.append(_note(f"step {given!r} is not a whole number below 2^63; its values are skipped"))
            continue
        for metric, value in measured.items():
            number = value if type(value) is float else _number(value)
            if number is None:
                events.append(_note(f"metric '{metric}' at step {step} is {value!r}, which is not a number; skipped"))
                continue
            steps.append(step)
            seconds.append(at if at is None or type(at) is float else _number(at))
            metrics.append(metric)
            values.append(number)
    table = pa.table(
        {
            "metric": _words(metrics),
            "step": pa.array(steps, pa.int64()),
            "value": pa.array(values, pa.float64()),
            "seconds": pa.array(seconds, pa.float64()),
        }
    )
    about = {**header, "events": events}
    table = table.replace_schema_metadata({"isoflop": json.dumps(about, default=_plain)})
    sink = pa.BufferOutputStream()
    # Numbers that hardly repeat gain nothing from a dictionary, and nobody asks a spool file for statistics.
    pq.write_table(table, sink, compression="snappy", use_dictionary=["metric"], write_statistics=False)
    return bytes(sink.getvalue())


def _words(metrics: list[str]) -> pa.Array:
    """Return names as a dictionary array; each name is looked at once, however many points it has."""
    import pyarrow as pa

    codes: dict[str, int] = {}
    indices = [codes.setdefault(metric, len(codes)) for metric in metrics]
    names = [str(name).encode("utf-8", "replace").decode() for name in codes]
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(names, pa.string()))


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
    run_id, attempt : the attempt these points belong to, from `Lakehouse.begin_attempts`
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
        attempt: int,
        *,
        deliver: Callable[[str, bytes], None] | None = None,
        flush_seconds: float = FLUSH_SECONDS,
        max_points: int = MAX_POINTS,
        beat_seconds: float = BEAT_SECONDS,
    ) -> None:
        self.run_id, self.attempt = run_id, attempt
        self._folder = Path(folder)
        self._deliver = deliver or self._write
        self._max_points = max_points
        self._points: list[Point] = []
        self._events: list[dict[str, object]] = []
        self._pending: _Pending | None = None
        self._sequence = 0
        self._lock = threading.Lock()  # held by whoever turns the buffer into a file, never by log()
        self._closed = False
        self._has_complained = False
        self._dropped = 0
        self._beat_seconds = beat_seconds
        self._spoke_at = time.monotonic()
        self._flush_seconds = flush_seconds
        self.due_at = time.monotonic() + flush_seconds  # when the flusher comes by
        self._flusher = flusher.join(self, self._folder)

    def log(self, step: int, /, seconds: float | None = None, **metrics: float) -> None:
        """Record metric values at a step; returns at once and never raises.

        Parameters
        ----------
        step : optimiser step, any order, repeats allowed
        seconds : time since the run started [s]
        metrics : name = value; NaN and infinities are kept
        """
        self._points.append((step, seconds, metrics))
        if len(self._points) >= self._max_points and self.due_at:
            self._hurry()

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
        hardware_json = None if hardware is None else json.dumps(hardware, default=_plain)
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

    def timing(self, phase: str, *, count: int, p10: float, p50: float, p90: float, total: float) -> None:
        """Record a timed phase of the run [s]."""
        self._event("timing", phase=phase, count=count, p10=p10, p50=p50, p90=p90, total=total)

    def ended(self, status: str, reason: str | None = None, **fields: object) -> None:
        """Say how the attempt ended; `fields` are columns of `attempts`, anything else goes to its `results`."""
        self._event("ended", status=status, reason=reason, finished_at=utc_now(), **fields)

    def flush(self) -> bool:
        """Put everything said so far on disk before returning; False when the folder cannot be written now."""
        with self._lock:
            return self._flush_once()

    def close(self) -> None:
        """Flush; a closed spool takes nothing more.

        While the folder cannot be written this tries again for some seconds, then says what is lost.
        """
        if self._closed:
            return
        self._closed = True
        self._flusher.leave(self)
        until = time.monotonic() + CLOSE_PATIENCE
        while not (is_written := self.flush()) and time.monotonic() < until:
            time.sleep(0.2)
        if not is_written:
            steps = len(self._points) + (self._pending.steps if self._pending else 0)
            self._say(f"{steps} steps that were logged could not be written and are lost")

    def _event(self, kind: str, **fields: object) -> None:
        self._events.append({"kind": kind, **fields})

    def _hurry(self) -> None:
        self.due_at = 0.0
        self._flusher.wake()

    def flush_now_and_then(self) -> None:
        """Write what waits, or a sign of life; the flusher's thread comes by with this."""
        self.due_at = time.monotonic() + self._flush_seconds
        with self._lock:
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
        header: dict[str, object] = {
            "version": SPOOL_VERSION, "run_id": self.run_id, "attempt": self.attempt,
            "sequence": self._sequence, "written_at": utc_now(),
        }  # fmt: skip
        content = encode_batch(self._points[:num_points], self._events[:num_events], header)
        del self._points[:num_points]
        del self._events[:num_events]
        return _Pending(batch_name(self.run_id, self.attempt, self._sequence), content, num_points)

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
            print(f"isoflop: run {self.run_id}: {message}", file=sys.stderr)

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
