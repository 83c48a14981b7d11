"""What happens in a worker process: train a pack of runs, stop when asked, tell how they ended."""

from __future__ import annotations

import contextlib
import io
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from isoflop.lakehouse.ingest.spool import Spool
from isoflop.workers.cluster.inbox import Deliver, delivery
from isoflop.workers.cluster.ledger import EARLY
from isoflop.workers.families import Experiment
from isoflop.workers.saving import USUAL, Saving
from isoflop.workers.stop_rules import CurveWatch
from isoflop.workers.train import Outcome, TrainOptions, train_packed


@dataclass(frozen=True)
class Ticket:
    """What a worker needs to know beside the runs themselves.

    Parameters
    ----------
    spool_folder : where finished files go on the driver's machine
    home : Ray's id of the driver's node
    inbox : actor that takes files from other nodes
    folder : of the sweep file, where commands run
    output_folder : has a folder for each run of a command
    checkpoint_folder : holds a file for each run that was stopped or has trained for a while
    cpus : threads the run may use
    gpus : accelerators it was given; 0 trains on the CPU
    timeout_seconds : how long a run of the pack may train [s]; None for no limit
    saving : how often a run writes a checkpoint, and what is kept
    diverged : times its best loss at which a run is ended; its pack then holds no other
    """

    spool_folder: Path
    home: str
    inbox: Any
    folder: Path
    output_folder: Path
    checkpoint_folder: Path
    cpus: float
    gpus: float
    timeout_seconds: float | None = None
    saving: Saving = USUAL
    diverged: float | None = None


class Stop:
    """Whether training should end early, and why.

    Ray cancels a task by interrupting its main thread, and a machine that is taken away says SIGTERM first. Here
    both are wishes, which training honours at the end of a step with a checkpoint, instead of an exception in the
    middle of one; after SIGTERM the run is preempted, to be tried again.
    """

    def __init__(self, timeout_seconds: float | None) -> None:
        self._deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._is_asked = self._is_terminated = False
        self.reason: str | None = None
        self.why: str | None = None  # what the curve says, where it is what ended the run

    def __call__(self) -> bool:
        """Return whether to stop; the first reason stands."""
        if self.reason is None and self.why is not None:
            self.reason = "diverged"
        if self.reason is None and self._is_asked:
            self.reason = "preempted" if self._is_terminated else "stopped"
        if self.reason is None and self._deadline is not None and time.monotonic() > self._deadline:
            self.reason = "timeout"
        return self.reason is not None

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Ask for the end; a signal handler."""
        self._is_asked = True
        self._is_terminated = number == signal.SIGTERM

    @contextlib.contextmanager
    def on_interrupt(self) -> Iterator[None]:
        """Take interrupts and SIGTERM as wishes while the block runs."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class AttemptSpool(Spool):
    """A spool that knows which kind of early end it was: asked for, out of time, or for what its curve says.

    Parameters
    ----------
    run_id, attempt : whose measurements it takes
    stop : is told when the curve says that the run should end
    """

    def __init__(self, ticket: Ticket, run_id: str, attempt: int, stop: Stop, deliver: Deliver | None) -> None:
        super().__init__(ticket.spool_folder, run_id, attempt, deliver=deliver)
        self._stop = stop
        self._watch = None if ticket.diverged is None else CurveWatch(ticket.diverged)

    def log(self, step: int, /, seconds: float | None = None, **metrics: float) -> None:
        """Record metric values at a step, and look at what the curve says by them."""
        super().log(step, seconds, **metrics)
        if self._watch is not None and self._stop.why is None and "loss" in metrics:
            self._stop.why = self._watch.problem(step, float(metrics["loss"]))

    def ended(self, status: str, reason: str | None = None, **fields: object) -> None:
        """Say how the attempt ended."""
        if reason == "stopped":
            reason = self._stop.reason
            fields["error"] = self._stop.why if reason == "diverged" else fields.get("error")
        super().ended(status, reason, **fields)


def train_pack(families: Sequence[Experiment], attempts: Sequence[int], ticket: Ticket) -> list[Outcome]:
    """Train runs in this process and return how each ended; their measurements are durable by then."""
    stop = Stop(ticket.timeout_seconds)
    with stop.on_interrupt(), contextlib.ExitStack() as stack:
        deliver = delivery(ticket.inbox, ticket.home)
        spools = [
            stack.enter_context(AttemptSpool(ticket, family.record().run_id, attempt, stop, deliver))
            for family, attempt in zip(families, attempts, strict=True)
        ]
        stack.enter_context(printed_to(spools[0]))
        options = TrainOptions(
            device="auto" if ticket.gpus else "cpu",
            threads=max(1, round(ticket.cpus)),
            checkpoint_folder=writable(ticket.checkpoint_folder),
            saving=_writable(ticket.saving),
            folder=ticket.folder,
            output_folder=writable(ticket.output_folder) if families[0].open_settings else None,
            stop=stop,
        )
        outcomes = train_packed(families, spools, options=options)
        if stop.reason == "diverged":  # nobody goes on from where it was
            for outcome in outcomes:
                for saved in writable(ticket.checkpoint_folder).glob(f"{outcome.run_id}.*"):
                    saved.unlink(missing_ok=True)
    return [replace(outcome, reason=stop.reason) if outcome.reason == "stopped" else outcome for outcome in outcomes]


def _writable(saving: Saving) -> Saving:
    """Return the same with a folder for weights that this machine can write."""
    return saving if saving.weights_folder is None else replace(saving, weights_folder=writable(saving.weights_folder))


def is_done(status: str | None, reason: str | None) -> bool:
    """Return whether a run has a result: it finished, or it diverged or was halved, which are results too."""
    return status == "finished" or (status == "failed" and reason in ("diverged", EARLY))


def writable(folder: Path) -> Path:
    """Return a folder for checkpoints that this machine can write.

    On another machine without shared storage the lake's own place may not exist; then it is a
    folder of that machine, found again when a later attempt runs there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir()) / folder.name
        folder.mkdir(parents=True, exist_ok=True)
    return folder


class _Lines(io.TextIOBase):
    """A text stream whose lines become notes of a run."""

    def __init__(self, spool: Spool, level: str) -> None:
        self._spool, self._level, self._rest = spool, level, ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self._spool.note(line, self._level)
        return len(text)

    def finish(self) -> None:
        if self._rest.strip():
            self._spool.note(self._rest, self._level)
        self._rest = ""


@contextlib.contextmanager
def printed_to(spool: Spool) -> Iterator[None]:
    """Send what is printed inside the block to the run's log, where it outlives the cluster."""
    out, err = _Lines(spool, "info"), _Lines(spool, "warning")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            yield
        finally:
            out.finish()
            err.finish()
