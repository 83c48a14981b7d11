"""Which runs go together in one process, in which order, and which are tried again.

Pure bookkeeping: no Ray, no clock, no store.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from isoflop.lakehouse.runs.records import RunRecord
from isoflop.workers.families import Experiment
from isoflop.workers.sweep import Resources, SweepPlan

MAX_PACK = 1024  # runs trained in one program; more would make one failure expensive
CAUSES = ("crash", "out_of_memory", "preempted", "timeout")


@dataclass(frozen=True, eq=False)
class Job:
    """One run that has to be trained, and what has gone wrong with it so far."""

    family: Experiment
    record: RunRecord
    resources: Resources
    failures: Mapping[str, int] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """The identity of the run."""
        return self.record.run_id

    @property
    def label(self) -> str:
        """What users call the run."""
        return self.record.name or self.run_id

    @property
    def work(self) -> float:
        """FLOPs of the run, 1 where they are not known; the measure of progress."""
        return float(self.record.flops or 1.0)

    def failed_by(self, cause: str) -> Job:
        """Return the job after one more failure of this cause; lack of memory doubles what it reserves."""
        counts = Counter(self.failures)
        counts[cause] += 1
        resources = self.resources.doubled() if cause == "out_of_memory" else self.resources
        return replace(self, failures=dict(counts), resources=resources)

    def may_retry(self, retries: Mapping[str, int]) -> bool:
        """Return whether every cause it has failed by is still within its number of retries."""
        return all(count <= retries.get(cause, 0) for cause, count in self.failures.items())


@dataclass(frozen=True, eq=False)
class Pack:
    """Jobs that one process trains together; most packs hold one."""

    jobs: tuple[Job, ...]

    @property
    def resources(self) -> Resources:
        """What the process needs; jobs with different needs never share one."""
        return self.jobs[0].resources

    def halves(self) -> tuple[Pack, ...]:
        """Return the pack in two parts, so that a run that kills its process is soon alone."""
        middle = math.ceil(len(self.jobs) / 2)
        return tuple(Pack(part) for part in (self.jobs[:middle], self.jobs[middle:]) if part)


def jobs_of(plan: SweepPlan, done: set[str]) -> list[Job]:
    """Return the runs of a plan that have no result yet, in its order."""
    return [
        Job(family, record, resources)
        for family, record, resources in zip(plan.runs, plan.records, plan.resources, strict=True)
        if record.run_id not in done
    ]


def packed(jobs: Sequence[Job], slots: Callable[[Resources], int], most: int | None = None) -> list[Pack]:
    """Return the jobs as packs, in their order.

    Parameters
    ----------
    jobs : runs to train; those with equal `pack_key()` and resources go together
    slots : how many processes with these resources can train at the same time; a group is spread over all
    most : runs at once, in all processes together; None for no limit
    """
    groups: dict[Hashable, list[Job]] = {}
    for position, job in enumerate(jobs):
        key = job.family.pack_key()
        alone: Hashable = ("alone", position)
        groups.setdefault(alone if key is None else ("together", key, job.resources), []).append(job)
    return [Pack(tuple(part)) for group in groups.values() for part in _parts(group, slots(group[0].resources), most)]


def alone(jobs: Sequence[Job]) -> list[Pack]:
    """Return the jobs each in a pack of its own, where one of them may have to end before the others."""
    return [Pack((job,)) for job in jobs]


def _parts(group: Sequence[Job], slots: int, most: int | None) -> Iterable[Sequence[Job]]:
    slots = max(1, slots if most is None else min(slots, most))
    size = min(MAX_PACK, math.ceil(len(group) / slots), MAX_PACK if most is None else most // slots)
    return (group[start : start + size] for start in range(0, len(group), size))


def retried(jobs: Sequence[Job], died_together: bool) -> list[Pack]:
    """Return the packs in which failed jobs are tried again.

    A process that died took all its runs along, and one of them may be why: they come back in two
    halves. Runs that failed on their own come back alone.
    """
    if died_together and len(jobs) > 1:
        return list(Pack(tuple(jobs)).halves())
    return [Pack((job,)) for job in jobs]


class PackQueue:
    """Packs that wait, first come first served; repetitions go to the end."""

    def __init__(self, packs: Iterable[Pack]) -> None:
        self._packs = deque(packs)

    def __len__(self) -> int:
        return len(self._packs)

    @property
    def num_jobs(self) -> int:
        """Runs that wait."""
        return sum(len(pack.jobs) for pack in self._packs)

    def peek(self) -> Pack:
        """Return the pack that is next."""
        return self._packs[0]

    def take(self, most: int | None = None) -> Pack:
        """Remove and return the pack that is next; with a number of runs, the rest of a larger one stays first."""
        pack = self._packs.popleft()
        if most is None or most >= len(pack.jobs):
            return pack
        self._packs.appendleft(Pack(pack.jobs[most:]))
        return Pack(pack.jobs[:most])

    def put(self, packs: Iterable[Pack]) -> None:
        """Add packs at the end."""
        self._packs.extend(packs)

    def clear(self) -> list[Job]:
        """Remove everything and return the jobs that will not run."""
        jobs = [job for pack in self._packs for job in pack.jobs]
        self._packs.clear()
        return jobs
