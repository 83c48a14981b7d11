"""What a sweep has done so far, as one frozen picture a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RunningRun:
    """A run in training.

    Parameters
    ----------
    step, steps : optimizer steps done and planned; None where not known yet
    loss : newest training loss [nat/token]
    seconds : since it started [s]
    """

    run_id: str
    label: str
    attempt: int
    host: str | None = None
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Failure:
    """A run that is over without a result."""

    run_id: str
    label: str
    reason: str
    error: str | None = None


@dataclass(frozen=True)
class Event:
    """Something a user watching a sweep should read; `level` is info, warning or error."""

    number: int
    level: str
    message: str


@dataclass(frozen=True)
class SweepState:
    """A sweep at one moment.

    Parameters
    ----------
    total : runs of the sweep; every run is counted in exactly one of skipped, queued, running,
        finished, diverged, stopped_early, failed and over_budget
    skipped : runs that were already done when the sweep started, diverged ones among them
    retried : attempts made again after a crash, preemption, lack of memory or timeout
    stopped_early : runs that halving has ended before their last step
    over_budget : runs that were not started, because the sweep's budget does not hold them
    excluded : rows of the grid that the `exclude` conditions removed; not part of `total`
    remaining_seconds : estimate from the FLOPs done so far [s]; None until something has finished
    """

    sweep_id: str
    name: str
    total: int
    excluded: int = 0
    skipped: int = 0
    queued: int = 0
    finished: int = 0
    diverged: int = 0
    retried: int = 0
    over_budget: int = 0
    stopped_early: int = 0
    running: tuple[RunningRun, ...] = ()
    failures: tuple[Failure, ...] = ()
    seconds: float = 0.0
    remaining_seconds: float | None = None
    events: tuple[Event, ...] = field(default=(), repr=False)
    is_interrupted: bool = False

    @property
    def failed(self) -> int:
        """Runs that are over without a result."""
        return len(self.failures)

    @property
    def done(self) -> int:
        """Runs with a result: finished, diverged or stopped early, now or before."""
        return self.skipped + self.finished + self.diverged + self.stopped_early

    @property
    def is_complete(self) -> bool:
        """Whether every run of the sweep has a result."""
        return self.done == self.total

    @property
    def exit_code(self) -> int:
        """What the command line returns: 0 complete or all the budget holds, 4 a run failed, 130 interrupted."""
        if self.is_interrupted:
            return 130
        return 0 if self.done + self.over_budget == self.total else 4

    def events_after(self, number: int) -> Iterator[Event]:
        """Yield the events a watcher has not seen yet."""
        return (event for event in self.events if event.number > number)
