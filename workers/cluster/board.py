"""Keeps count while a sweep runs and draws a `SweepState` when asked."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence

from isoflop.lakehouse.units import format_number
from isoflop.workers.cluster.ledger import EARLY, AttemptProgress, Key
from isoflop.workers.cluster.packs import Job
from isoflop.workers.cluster.state import Event, Failure, RunningRun, SweepState

KEPT_EVENTS = 200  # lines of the latest happenings


class Board:
    """The counts of one sweep.

    Parameters
    ----------
    total : runs of the sweep
    skipped : of these, done before
    to_do : runs that this call has to train
    """

    def __init__(self, *, sweep_id: str, name: str, total: int, excluded: int, to_do: list[Job]) -> None:
        self._sweep_id, self._name = sweep_id, name
        self._total, self._excluded = total, excluded
        self._skipped = total - len(to_do)
        self._work_in_all = sum(job.work for job in to_do)
        self._work_done = 0.0
        self._finished = self._diverged = self._retried = self._over_budget = self._early = 0
        self._failures: list[Failure] = []
        self._training: dict[Key, Job] = {}
        self._progress: Mapping[Key, AttemptProgress] = {}
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._num_events = 0
        self._started = time.monotonic()
        self._first_run: float | None = None
        self.is_interrupted = False

    def say(self, message: str, level: str = "info") -> None:
        """Add an event."""
        self._num_events += 1
        self._events.append(Event(self._num_events, level, message))

    def begun(self, job: Job, attempt: int) -> None:
        """Note that a run was handed to the cluster."""
        self._training[job.run_id, attempt] = job
        self._first_run = self._first_run or time.monotonic()

    def ended(self, job: Job, attempt: int, *, status: str, reason: str | None, loss: float | None) -> None:
        """Note that an attempt has a result."""
        self._training.pop((job.run_id, attempt), None)
        self._work_done += job.work
        if reason == "diverged":
            self._diverged += 1
            self.say(f"{job.label} diverged; its curve is kept")
        elif reason == EARLY:
            self._early += 1
            self.say(f"{job.label} is stopped early; its curve is kept")
        else:
            self._finished += 1
            self.say(f"{job.label} {status}" + ("" if loss is None else f", loss {format_number(loss)}"))

    def given_back(self, job: Job, attempt: int) -> None:
        """Note that an attempt was stopped before it had a result."""
        self._training.pop((job.run_id, attempt), None)

    def retried(self, job: Job, attempt: int, reason: str, error: str | None) -> None:
        """Note that an attempt failed and the run is tried again."""
        self._training.pop((job.run_id, attempt), None)
        self._retried += 1
        self.say(f"{job.label}: attempt {attempt} ended by {_words(reason)}{_because(error)}; trying again", "warning")

    def failed(self, job: Job, attempt: int, reason: str, error: str | None) -> None:
        """Note that a run is over without a result."""
        self._training.pop((job.run_id, attempt), None)
        self._work_done += job.work
        self._failures.append(Failure(job.run_id, job.label, reason, error))
        self.say(f"{job.label} failed by {_words(reason)}{_because(error)}", "error")

    def left_out(self, jobs: Sequence[Job]) -> None:
        """Note runs that the budget does not hold."""
        self._over_budget += len(jobs)
        self._work_done += sum(job.work for job in jobs)

    @property
    def training(self) -> Mapping[Key, Job]:
        """The attempts that are with the cluster."""
        return self._training

    def saw(self, progress: Mapping[Key, AttemptProgress]) -> None:
        """Take in how far the attempts in training are."""
        self._progress = progress

    def state(self) -> SweepState:
        """Return the picture of now."""
        running = tuple(self._running())
        ended = self._finished + self._diverged + self._early + len(self._failures)
        return SweepState(
            sweep_id=self._sweep_id,
            name=self._name,
            total=self._total,
            excluded=self._excluded,
            skipped=self._skipped,
            queued=self._total - self._skipped - ended - len(running) - self._over_budget,
            finished=self._finished,
            diverged=self._diverged,
            retried=self._retried,
            over_budget=self._over_budget,
            stopped_early=self._early,
            running=running,
            failures=tuple(self._failures),
            seconds=time.monotonic() - self._started,
            remaining_seconds=self._remaining(running),
            events=tuple(self._events),
            is_interrupted=self.is_interrupted,
        )

    def _running(self) -> list[RunningRun]:
        runs = []
        for (run_id, attempt), job in self._training.items():
            now = self._progress.get((run_id, attempt))
            if now is not None and now.status == "running":
                steps = None if job.record.steps is None else int(job.record.steps)
                runs.append(RunningRun(run_id, job.label, attempt, now.host, now.step, steps, now.loss, now.seconds))
        return runs

    def _remaining(self, running: tuple[RunningRun, ...]) -> float | None:
        """Return the seconds left if FLOPs go on at the rate they went so far."""
        if self._first_run is None:
            return None
        done = self._work_done
        for run in running:
            if run.step and run.steps:
                done += self._training[run.run_id, run.attempt].work * min(1.0, run.step / run.steps)
        if done <= 0.0:
            return None
        return (time.monotonic() - self._first_run) * max(0.0, self._work_in_all - done) / done


def _words(reason: str) -> str:
    return {
        "crash": "a crash",
        "out_of_memory": "lack of memory",
        "preempted": "the loss of its machine",
        "timeout": "its time limit",
    }.get(reason, reason.replace("_", " "))


def _because(error: str | None) -> str:
    return f" ({error.splitlines()[0][:160]})" if error else ""
