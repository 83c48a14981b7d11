"""What happens in a worker process: train a pack of runs, stop when asked, tell how they ended."""

from __future__ import annotations

import contextlib
import io
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from isoflop.lakehouse.spool import Spool
from isoflop.workers.cluster.inbox import delivery
from isoflop.workers.families import Family
from isoflop.workers.train import Outcome, TrainOptions, train, train_packed


@dataclass(frozen=True)
class Ticket:
    """What a worker needs to know beside the runs themselves.

    Parameters
    ----------
    spool_folder : where finished files go on the driver's machine
    home : Ray's id of the driver's node
    inbox : actor that takes files from other nodes
    checkpoint_folder : holds one folder a run
    cpus : threads the run may use
    gpus : accelerators it was given; 0 trains on the CPU
    timeout_seconds : how long a run of the pack may train [s]; None for no limit
    """

    spool_folder: Path
    home: str
    inbox: Any
    checkpoint_folder: Path
    cpus: float
    gpus: float
    timeout_seconds: float | None = None


class Stop:
    """Why training should end early; None while it should not.

    Ray cancels a task by interrupting its main thread. Here that interrupt is a wish, which training
    honours at the end of a step with a checkpoint, instead of an exception in the middle of one.
    """

    def __init__(self, timeout_seconds: float | None) -> None:
        self._deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._is_asked = False

    def __call__(self) -> str | None:
        """Return 'stopped', 'timeout' or None."""
        if self._is_asked:
            return "stopped"
        if self._deadline is not None and time.monotonic() > self._deadline:
            return "timeout"
        return None

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Ask for the end; a signal handler."""
        self._is_asked = True

    @contextlib.contextmanager
    def on_interrupt(self) -> Iterator[None]:
        """Take interrupts as wishes while the block runs."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self.ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def train_pack(families: Sequence[Family], attempts: Sequence[int], ticket: Ticket) -> list[Outcome]:
    """Train runs in this process and return how each ended; their measurements are durable by then."""
    stop = Stop(ticket.timeout_seconds)
    with stop.on_interrupt():
        _use_threads(ticket.cpus)
        deliver = delivery(ticket.inbox, ticket.home)
        run_ids = [family.record().run_id for family in families]
        spools = [
            Spool(ticket.spool_folder, run_id, attempt, deliver=deliver)
            for run_id, attempt in zip(run_ids, attempts, strict=True)
        ]
        try:
            with said_to(spools[0]):
                return _train(families, spools, ticket, stop)
        finally:
            for spool in spools:
                spool.close()


def _train(families: Sequence[Family], spools: Sequence[Spool], ticket: Ticket, stop: Callable[[], str | None]) -> list[Outcome]:
    device = "auto" if ticket.gpus else "cpu"
    if len(families) > 1:
        return train_packed(families, spools, options=TrainOptions(device=device, checkpoint_folder=None, stop=stop))
    folder = checkpoint_place(ticket.checkpoint_folder, spools[0].run_id)
    outcome = train(families[0], spools[0], options=TrainOptions(device=device, checkpoint_folder=folder, stop=stop))
    if is_done(outcome.status, outcome.reason):
        spools[0].flush()  # the result is on disk before the way back to it goes
        shutil.rmtree(folder, ignore_errors=True)
    return [outcome]


def is_done(status: str | None, reason: str | None) -> bool:
    """Return whether a run has a result: it finished, or it diverged, which is a result too."""
    return status == "finished" or (status == "failed" and reason == "diverged")


def checkpoint_place(folder: Path, run_id: str) -> Path:
    """Return a folder for the checkpoints of a run that this machine can write.

    On another machine without shared storage the lake's own place may not exist; then it is a
    folder of that machine, found again when a later attempt runs there.
    """
    place = folder / run_id
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        place = Path(tempfile.gettempdir()) / "isoflop.checkpoints" / run_id
        place.mkdir(parents=True, exist_ok=True)
    return place


def _use_threads(cpus: float) -> None:
    """Let torch use as many threads as Ray has set aside; a reused worker may have had another number."""
    import torch

    torch.set_num_threads(max(1, round(cpus)))


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
def said_to(spool: Spool) -> Iterator[None]:
    """Send what is printed inside the block to the run's log, where it outlives the cluster."""
    out, err = _Lines(spool, "info"), _Lines(spool, "warning")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            yield
        finally:
            out.finish()
            err.finish()
