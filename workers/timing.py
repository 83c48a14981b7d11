"""Where the time of a step goes, measured by the device's own clock.

Rules, because a number without its clock means nothing:

- CUDA: device events recorded between the phases and read back later, so measuring never makes the host
  wait. A phase is the time the device took from one event to the next, its waiting for the host included.
- CPU, one thread: CPU time of the training thread. Machines are shared, and a neighbor stretches wall
  time by any factor while the work stays the same; so does the process's own writing to the store.
- CPU, several threads: wall time, since the CPU time of a team does not say how long it took.

Wall time is kept beside it in both CPU cases. `step_seconds` of a run is the median step, `step_seconds_min` the
fastest one, which neighbors have slowed down least. `contention` is the share of the wall time of all steps in which
the training thread had no processor; only the CPU time of one thread says it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from isoflop.lakehouse.ingest.spool import Spool


@dataclass(frozen=True)
class PhaseSummary:
    """Durations of one phase over the steps [s]."""

    count: int
    lowest: float
    p10: float
    p50: float
    p90: float
    total: float


def summarize(durations: Sequence[float]) -> PhaseSummary:
    """Return count, percentiles and sum of at least one duration [s].

    Example
    -------
    >>> summarize([0.1, 0.2, 0.3, 0.4, 0.5]).p50
    0.3
    """
    import numpy as np

    values = np.asarray(durations, np.float64)
    low, middle, high = (float(value) for value in np.percentile(values, (10, 50, 90)))
    return PhaseSummary(len(values), float(values.min()), low, middle, high, float(values.sum()))


def without_processor(cpu_seconds: float, wall_seconds: float) -> float | None:
    """Return the share of wall time in which a thread that always had work did not compute [1].

    Example
    -------
    >>> without_processor(3.0, 4.0)
    0.25
    """
    return max(0.0, 1 - cpu_seconds / wall_seconds) if wall_seconds else None


class StepClock(ABC):
    """Times the phases of steps: `begin_step`, `lap(phase)` after each phase, `end_step`, now and then `read`.

    A phase that comes several times in a step (micro-batches) counts as one duration, their sum.
    """

    def __init__(self) -> None:
        self.phases: dict[str, array[float]] = {}
        self.wall_seconds: array[float] = array("d")  # of each step, as the host saw it

    @abstractmethod
    def begin_step(self) -> None:
        """Begin a step."""

    @abstractmethod
    def lap(self, phase: str) -> None:
        """Say that the work since the last call was `phase`."""

    @abstractmethod
    def end_step(self) -> None:
        """End a step; the phase `step` is all of it."""

    @abstractmethod
    def read(self) -> list[float]:
        """Return the duration [s] of each step ended since the last read; on a GPU this waits for it."""

    def add(self, phase: str, seconds: float) -> None:
        """Record a duration measured elsewhere."""
        self.phases.setdefault(phase, array("d")).append(seconds)

    def median(self, phase: str) -> float | None:
        """Return the median duration of a phase [s], or None if it never ran."""
        durations = self.phases.get(phase)
        return summarize(durations).p50 if durations else None

    def report(self, spool: Spool) -> None:
        """Write a summary of every phase to the run's spool."""
        for phase, durations in self.phases.items():
            summary = summarize(durations)
            spool.timing(phase, **asdict(summary))

    def contention(self) -> float | None:
        """Return the share of the steps' wall time without a processor [1], None where the clock cannot say."""
        return None


class HostClock(StepClock):
    """A clock of the calling thread, for work that is done when a call returns."""

    def __init__(self, *, is_cpu_time: bool) -> None:
        super().__init__()
        self._now = time.thread_time if is_cpu_time else time.perf_counter
        self._is_cpu_time = is_cpu_time
        self._laps: dict[str, float] = {}
        self._unread: list[float] = []
        self._began = self._last = self._wall = 0.0

    def begin_step(self) -> None:
        """Begin a step."""
        self._laps.clear()
        self._wall = time.perf_counter()
        self._began = self._last = self._now()

    def lap(self, phase: str) -> None:
        """Add the time since the last call to `phase`."""
        now = self._now()
        self._laps[phase] = self._laps.get(phase, 0.0) + now - self._last
        self._last = now

    def end_step(self) -> None:
        """Close the step at its last lap."""
        seconds = self._last - self._began
        self.wall_seconds.append(time.perf_counter() - self._wall)
        for phase, duration in self._laps.items():
            self.add(phase, duration)
        self.add("step", seconds)
        self._unread.append(seconds)

    def read(self) -> list[float]:
        """Return the steps since the last read."""
        unread, self._unread = self._unread, []
        return unread

    def contention(self) -> float | None:
        """Return what wall time has beyond the CPU time of one thread, as a share of it."""
        return (
            without_processor(sum(self.phases.get("step", ())), sum(self.wall_seconds)) if self._is_cpu_time else None
        )


class DeviceClock(StepClock):
    """A clock of CUDA events; events are used again once they were read."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._free: list[torch.cuda.Event] = []
        self._steps: list[list[tuple[str, torch.cuda.Event]]] = []  # laps of each unread step, the first its beginning
        self._wall = 0.0

    def begin_step(self) -> None:
        """Record the event that begins a step."""
        self._wall = time.perf_counter()
        self._steps.append([("", self._record())])

    def lap(self, phase: str) -> None:
        """Record the event that ends a phase."""
        self._steps[-1].append((phase, self._record()))

    def end_step(self) -> None:
        """Leave the step to be read."""
        self.wall_seconds.append(time.perf_counter() - self._wall)

    def read(self) -> list[float]:
        """Wait for the last event, then turn the events of every unread step into durations."""
        if not self._steps:
            return []
        self._steps[-1][-1][1].synchronize()
        steps = [self._durations(laps) for laps in self._steps]
        self._steps = []
        return steps

    def _durations(self, laps: list[tuple[str, torch.cuda.Event]]) -> float:
        by_phase: dict[str, float] = {}
        for (_, before), (phase, after) in pairwise(laps):
            by_phase[phase] = by_phase.get(phase, 0.0) + before.elapsed_time(after) / 1000
        for phase, seconds in by_phase.items():
            self.add(phase, seconds)
        total = sum(by_phase.values())
        self.add("step", total)
        self._free.extend(event for _, event in laps)
        return total

    def _record(self) -> torch.cuda.Event:
        import torch

        event = self._free.pop() if self._free else torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event
