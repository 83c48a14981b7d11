"""A run of people's own training code: `with lake.run(...) as run: run.log(step=…, loss=…)`."""

from __future__ import annotations

import platform
import time
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.ingest.spool import Spool
from isoflop.lakehouse.runs.provenance import code_version, host_name, process_label
from isoflop.lakehouse.runs.records import RunRecord

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse


class RunLog:
    """One attempt at a run, recorded from inside a `with` block.

    Leaving the block ends the attempt as finished; an exception ends it as failed with its traceback
    and goes on upwards. Entering it twice with the same config and seed makes a second attempt.
    """

    def __init__(self, lake: Lakehouse, record: RunRecord) -> None:
        self.record = record
        self._lake = lake
        self._spool: Spool | None = None
        self._summary: dict[str, Any] = {}
        self._started = 0.0

    @property
    def run_id(self) -> str:
        """The identity of the run."""
        return self.record.run_id

    def __enter__(self) -> RunLog:
        self._lake.record_runs([self.record])
        attempt = self._lake.begin_attempts([self.run_id], process_label())[self.run_id]
        self._lake._start_keeping()
        self._spool = Spool(self._lake.spool_folder, self.run_id, attempt)
        self._spool.started(
            host=host_name(), device=platform.processor() or platform.machine(), code_version=code_version()
        )
        self._started = time.perf_counter()
        return self

    def log(self, *, step: int, seconds: float | None = None, **metrics: float) -> None:
        """Record metric values at a step; `seconds` counts from the start of the run unless given."""
        assert self._spool is not None, "log() works inside the with block"
        # Digits below the microsecond are noise of the clock, and would double what a point takes on disk.
        self._spool.log(step, round(time.perf_counter() - self._started, 6) if seconds is None else seconds, **metrics)

    def note(self, message: str, level: str = "info") -> None:
        """Add a line to the run's log."""
        assert self._spool is not None, "note() works inside the with block"
        self._spool.note(message, level)

    def summary(self, **values: object) -> None:
        """Set final values: loss, validation_loss, step_seconds, params, tokens, steps, flops, …, or your own.

        Those that are columns of `runs` become these, also where `lake.run` said something else before;
        the others go to its `results`.
        """
        self._summary.update(values)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._spool is not None
        seconds = time.perf_counter() - self._started
        ending: dict[str, Any] = {"train_seconds": seconds, **self._summary}
        if error is None:
            self._spool.ended("finished", **ending)
        else:
            reason = "interrupted" if isinstance(error, KeyboardInterrupt) else "crash"
            text = "".join(traceback.format_exception(kind, error, trace))
            self._spool.ended("failed", reason, error=f"{type(error).__name__}: {error}", traceback=text, **ending)
        self._spool.close()
        self._lake._stop_keeping()
        self._lake._drain_quietly()
