"""A run of a user's own training code: `with lake.run(...) as run: run.log(step=…, loss=…)`.

Everything goes through the spool: the run, its points and its end are files that another process commits. So
nothing of the lake, however slow, full or broken, reaches the training, and a process that is forked off or
started inside the block logs into the same run.
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
import platform
import time
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from isoflop.lakehouse.errors import RecordError
from isoflop.lakehouse.ingest.encoding import plain
from isoflop.lakehouse.ingest.events import ATTEMPT_FIELDS, RUN_FIELDS
from isoflop.lakehouse.ingest.signals import interrupts_held_back
from isoflop.lakehouse.ingest.spool import Spool
from isoflop.lakehouse.runs.provenance import code_version, host_name
from isoflop.lakehouse.runs.records import RunRecord, record_fields
from isoflop.lakehouse.saying import say

if TYPE_CHECKING:
    from pathlib import Path

# What the end of an attempt says by itself; a summary of such a name is one of the run's own results.
OWN = frozenset(("status", "reason", "host", "device", "hardware", "code_version", "started_at", "finished_at"))
COLUMNS = frozenset((*ATTEMPT_FIELDS, *RUN_FIELDS)) - OWN - {"resumed_step", "error", "traceback"}
EVERYTHING_EARLIER = 2**63 - 1  # the step after which a run goes on, while it has not said a step yet


class Recorder(Protocol):
    """Who sees to it that spooled runs are committed."""

    spool_folder: Path

    def begin(self) -> None:
        """Somebody starts to spool."""

    def end(self, prefix: str) -> None:
        """Somebody has spooled all; returns when the files of this prefix are committed, or after a bounded wait."""


class RunLog:
    """One attempt at a run, recorded from inside a `with` block.

    Leaving the block ends the attempt as finished; an exception ends it as failed with its traceback
    and goes on upwards. Entering it twice with the same config and seed makes a second attempt.

    Parameters
    ----------
    recorder : who commits what is spooled
    record : the run
    resume : whether the attempt goes on where the last one was: its points stay in `curves` up to this step, or, for
        True, up to the step before the first one logged

    Raises
    ------
    RecordError : for a run that no lake could take
    """

    def __init__(self, recorder: Recorder, record: RunRecord, resume: Any = False) -> None:
        for check in (record_fields, lambda run: run.run_id):  # now, and not when it is committed
            check(record)
        if resume is not None and not isinstance(resume, bool | int):  # NumPy has numbers of its own
            try:
                resume = bool(resume) if type(resume).__name__.startswith("bool") else operator.index(resume)
            except TypeError:
                said = f"resume is {resume!r}; expected True, False or the step after which the run goes on"
                raise RecordError(said) from None
        self.record = record
        self._recorder = recorder
        self._resume: bool | int = False if resume is None else resume
        self._spool: Spool | None = None
        self._summary: dict[str, Any] = {}
        self._results: dict[str, Any] = {}
        self._started = 0.0
        self._seconds: float | None = None  # the last that was given
        self._owner = 0
        self._finds_step = resume is True

    @property
    def run_id(self) -> str:
        """The identity of the run."""
        return self.record.run_id

    @property
    def config(self) -> Mapping[str, object]:
        """The settings of the run."""
        return self.record.config

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.record.seed

    @property
    def output(self) -> Path:
        """A folder of the run's own beside the lake, for checkpoints; made when it is asked for, and it stays."""
        folder = self._recorder.spool_folder.with_suffix(".outputs") / self.run_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def __enter__(self) -> RunLog:
        if self._spool is not None:
            hint = "lake.run(…) again makes a run, or an attempt, of its own"
            raise RecordError(f"run {self.run_id} is open already in this process", hint=hint)
        self._recorder.begin()
        self._owner = os.getpid()
        self._spool = Spool(self._recorder.spool_folder, self.run_id, None, record=self.record)
        after = None if self._resume is False else EVERYTHING_EARLIER if self._resume is True else int(self._resume)
        self._spool.started(
            host=host_name(), device=platform.processor() or platform.machine(), code_version=code_version(),
            resumed_step=after,
        )  # fmt: skip
        self._started = time.perf_counter()
        return self

    def log(self, *, step: int, seconds: float | None = None, **metrics: float) -> None:
        """Record metric values at a step, as they are now; `seconds` counts from the start of the run unless given.

        Metrics called `tokens` and `flops` are totals so far; their last values become those of the run.
        """
        if self._spool is None:
            self._say_where_it_works("log")
            return
        if self._finds_step:
            self._find_step(self._spool, step)
        if seconds is None:
            # Digits below the microsecond are noise of the clock, and would double what a point takes on disk.
            at = round(time.perf_counter() - self._started, 6)
        else:
            self._seconds = at = seconds
        self._spool.log(step, at, **metrics)

    def _find_step(self, spool: Spool, step: object) -> None:
        """Say after which step the run goes on, now that its first step is known."""
        with contextlib.suppress(Exception):  # a step that is no number is said by the spool
            spool.resumed(int(step) - 1)  # type: ignore[call-overload]
            self._finds_step = False

    def note(self, message: str, level: str = "info") -> None:
        """Add a line to the run's log."""
        if self._spool is None:
            self._say_where_it_works("note")
            return
        self._spool.note(message, level)

    def summary(self, **values: object) -> None:
        """Set final values: loss, validation_loss, step_seconds, params, tokens, steps, flops, …, or your own.

        Those that are columns of `runs` become these, also where `lake.run` said something else before;
        the others go to its `results`.
        """
        for name, value in values.items():
            (self._summary if name in COLUMNS else self._results)[name] = plain(value)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        spool, self._spool = self._spool, None
        if spool is None:  # it was left before
            return
        with interrupts_held_back():
            if os.getpid() == self._owner:
                spool.ended(**self._ending(kind, error, trace, spool.last_loss))
            # A process that was forked off inside the block leaves it too; how the run ends is not its to say.
            spool.close()
        self._recorder.end(spool.prefix)

    def _ending(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        loss: float | None,
    ) -> dict[str, Any]:
        """Return what the end of the attempt says."""
        seconds = time.perf_counter() - self._started if self._seconds is None else self._seconds
        ending: dict[str, Any] = {"train_seconds": seconds, **self._summary, "results": self._results}
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            if loss is not None and not math.isfinite(loss):
                return {"status": "failed", "reason": "diverged", "error": f"the last loss is {loss}", **ending}
            return {"status": "finished", **ending}
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else "crash"
        text = "".join(traceback.format_exception(kind, error, trace))
        what = f"{type(error).__name__}: {plain(error)}"
        return {"status": "failed", "reason": reason, "error": what, "traceback": text, **ending}

    def _say_where_it_works(self, what: str) -> None:
        """Say once that something came too late or too early to be recorded."""
        if self._owner != -1:
            self._owner = -1
            say(
                f"run {self.run_id}: {what}() works inside the `with` block of the run; what comes before or "
                "after it is not recorded"
            )

    def __getstate__(self) -> dict[str, Any]:
        """A process that the run is sent to, by `spawn` or Ray, logs into the same attempt."""
        assert self._spool is not None, "a run can be sent to another process inside its `with` block"
        state = {**self.__dict__, "_finds_step": False, "_owner": 0}
        del state["_started"]
        return {**state, "_elapsed": time.perf_counter() - self._started}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._started = time.perf_counter() - state.pop("_elapsed")
        self.__dict__.update(state)
