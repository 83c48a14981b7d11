"""One attempt's way into the lake: a buffer in the process, then durable files for the writer.

`log()` appends to a list and returns. A thread turns the list into a Parquet file at most every
second or every 20,000 points: written under a name that no reader matches, fsynced, renamed. The
file is one batch of the ledger, `run/attempt/sequence`; the writer commits it once and removes it.
Nothing here raises into a training loop: a spool that cannot write keeps its points, thins them
when they grow too many, goes on, and says so once.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

SPOOL_VERSION = 1
FLUSH_SECONDS = 1.0
MAX_POINTS = 20_000
KEPT_WHEN_BLOCKED = 1_000_000  # points held in memory while the spool folder cannot be written
SUFFIX = ".parquet"

Point = tuple[int, float | None, Mapping[str, float]]


def utc_now() -> str:
    """Return the time as the lake stores it: UTC, without a zone, to the microsecond."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ")


def batch_name(run_id: str, attempt: int, sequence: int) -> str:
    """Return the spool file name of a batch; names of one attempt sort in the order they were written."""
    return f"{run_id}.{attempt:04d}.{sequence:08d}{SUFFIX}"


def write_durably(path: Path, content: bytes) -> None:
    """Write `content` so that `path` either holds all of it, on disk, or does not exist."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with open(partial, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _number(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]  # tensors and NumPy scalars convert too
    except (TypeError, ValueError):
        return None


def _note(message: str, level: str = "warning") -> dict[str, object]:
    return {"kind": "note", "logged_at": utc_now(), "level": level, "message": message}


def encode_batch(points: list[Point], events: list[dict[str, object]], header: dict[str, object]) -> bytes:
    """Return the Parquet bytes of one batch: a row a metric value, the events in the file's metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    steps: list[int] = []
    seconds: list[float | None] = []
    metrics: list[str] = []
    values: list[float] = []
    for step, at, measured in points:
        for metric, value in measured.items():
            number = _number(value)
            if number is None:
                events.append(_note(f"metric '{metric}' at step {step} is {value!r}, which is not a number; skipped"))
                continue
            steps.append(step)
            seconds.append(at)
            metrics.append(metric)
            values.append(number)
    table = pa.table(
        {
            "metric": pa.array(metrics, pa.string()).dictionary_encode(),
            "step": pa.array(steps, pa.int64()),
            "value": pa.array(values, pa.float64()),
            "seconds": pa.array(seconds, pa.float64()),
        }
    )
    about = {**header, "events": events}
    table = table.replace_schema_metadata({"isoflop": json.dumps(about)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


class Spool:
    """One attempt's buffer and its files.

    Parameters
    ----------
    folder : where finished files are put, the lake's `spool_folder`
    run_id, attempt : the attempt these points belong to, from `Lakehouse.begin_attempts`
    deliver : called with (file name, content) instead of writing to `folder`, for a worker on another
        machine; it returns only when the content is durable

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
    ) -> None:
        self.run_id, self.attempt = run_id, attempt
        self._folder = Path(folder)
        self._deliver = deliver or self._write
        self._max_points = max_points
        self._points: list[Point] = []
        self._events: list[dict[str, object]] = []
        self._sequence = 0
        self._lock = threading.Lock()  # held by whoever turns the buffer into a file, never by log()
        self._wake = threading.Event()
        self._closed = False
        self._has_complained = False
        self._dropped = 0
        self._thread = threading.Thread(
            target=self._flush_periodically, args=(flush_seconds,), name=f"spool-{run_id}", daemon=True
        )
        self._thread.start()

    def log(self, step: int, /, seconds: float | None = None, **metrics: float) -> None:
        """Record metric values at a step; returns at once and never raises.

        Parameters
        ----------
        step : optimiser step, any order, repeats allowed
        seconds : time since the run started [s]
        metrics : name = value; NaN and infinities are kept
        """
        self._points.append((step, seconds, metrics))
        if len(self._points) >= self._max_points and not self._wake.is_set():
            self._wake.set()

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
        hardware_json = None if hardware is None else json.dumps(hardware)
        self._event(
            "started",
            started_at=utc_now(),
            host=host,
            device=device,
            hardware=hardware_json,
            resumed_step=resumed_step,
            **fields,
        )
        self._wake.set()

    def timing(self, phase: str, *, count: int, p10: float, p50: float, p90: float, total: float) -> None:
        """Record a timed phase of the run [s]."""
        self._event("timing", phase=phase, count=count, p10=p10, p50=p50, p90=p90, total=total)

    def ended(self, status: str, reason: str | None = None, **fields: object) -> None:
        """Say how the attempt ended; `fields` are columns of `attempts`, anything else goes to its `results`."""
        self._event("ended", status=status, reason=reason, finished_at=utc_now(), **fields)

    def flush(self) -> None:
        """Put everything said so far on disk before returning."""
        with self._lock:
            self._flush_once()

    def close(self) -> None:
        """Flush and stop the thread; a closed spool takes nothing more."""
        if self._closed:
            return
        self._closed = True
        self._wake.set()
        self._thread.join(timeout=30)
        self.flush()

    def _event(self, kind: str, **fields: object) -> None:
        self._events.append({"kind": kind, **fields})

    def _flush_periodically(self, every: float) -> None:
        while not self._closed:
            self._wake.wait(every)
            self._wake.clear()
            with self._lock:
                self._flush_once()

    def _flush_once(self) -> None:
        points, events = self._points, self._events
        if not points and not events:
            return
        num_points, num_events = len(points), len(events)
        taken, told = points[:num_points], events[:num_events]
        header: dict[str, object] = {
            "version": SPOOL_VERSION, "run_id": self.run_id, "attempt": self.attempt,
            "sequence": self._sequence, "written_at": utc_now(),
        }  # fmt: skip
        try:
            name = batch_name(self.run_id, self.attempt, self._sequence)
            self._deliver(name, encode_batch(taken, told, header))
        except Exception as error:  # training goes on whatever happens to the store
            self._complain(error)
            self._thin()
            return
        del points[:num_points]
        del events[:num_events]
        self._sequence += 1
        if self._has_complained:
            self._has_complained = False
            lost = f", {self._dropped} points were thinned out" if self._dropped else ""
            self.note(f"the spool can be written again{lost}", level="warning")

    def _write(self, name: str, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_durably(self._folder / name, content)

    def _complain(self, error: Exception) -> None:
        if not self._has_complained:
            self._has_complained = True
            with contextlib.suppress(Exception):
                print(
                    f"isoflop: run {self.run_id}: the spool {self._folder} cannot be written ({error}); "
                    "training goes on and the points wait in memory",
                    file=sys.stderr,
                )
            self.note(f"the spool could not be written: {error}", level="warning")

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
