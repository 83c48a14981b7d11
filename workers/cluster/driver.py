"""Run a sweep: hand packs of runs to Ray, watch them, try again what may be tried again.

The driver is the lake's writer. Workers never open the store; they leave files in the spool, and
`lake.hold()` commits them twice a second. Ray retries nothing by itself: why an attempt ended
decides, and every attempt is a row of `attempts`.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import RunFailed
from isoflop.lakehouse.provenance import process_label
from isoflop.workers.cluster import ledger
from isoflop.workers.cluster.board import Board
from isoflop.workers.cluster.interrupt import Interrupt
from isoflop.workers.cluster.packs import Job, Pack, PackQueue, packed, retried
from isoflop.workers.cluster.session import RaySession
from isoflop.workers.cluster.state import SweepState
from isoflop.workers.sweep import Plan, Resources, Sweep

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse

TICK_SECONDS = 0.25  # between pictures for the watcher
LOOK_SECONDS = 1.0  # between looks into the lake and at the cluster's size
GRACE_SECONDS = 30.0  # a worker asked to stop gets this long for its checkpoint

Watch = Callable[[SweepState], None]


def run_sweep(
    lake: Lakehouse,
    sweep: Sweep,
    *,
    address: str | None = None,
    watch: Watch | None = None,
    fail_fast: bool = False,
    session: RaySession | None = None,
) -> SweepState:
    """Train the runs of a sweep that have no result yet, and return how it ended.

    Parameters
    ----------
    lake : where the runs land; held while the sweep runs
    sweep : from `load_sweep`
    address : None for Ray inside this process (in a job of a Ray cluster: that cluster), else a cluster
    watch : called about four times a second, and once at the end, in this thread
    fail_fast : stop at the first run that fails for good, whatever the file says
    session : a Ray session to use and leave open, for several sweeps one after another

    Ctrl-C stops cleanly: runs in training write a checkpoint, the store is whole, and the state says
    `is_interrupted`. A second Ctrl-C raises KeyboardInterrupt at once.

    Raises
    ------
    FileError : if the sweep file cannot be expanded
    StoreError : if another process runs this sweep already
    RunFailed : if Ray does not start, or no machine is large enough for a run
    """
    plan = sweep.expand()
    lake.drain()
    sweep_id = lake.record_sweep(name=sweep.name, spec=sweep.text, runs=plan.records)
    run_ids = [record.run_id for record in plan.records]
    orphans = ledger.release_orphans(lake, sweep.name, run_ids)
    done = ledger.done_runs(lake, run_ids)
    jobs = _jobs(plan, done)
    board = Board(sweep_id=sweep_id, name=sweep.name, total=len(run_ids), excluded=plan.excluded, to_do=jobs)
    if orphans:
        board.say(f"{orphans} attempts of a driver that died are marked as lost", "warning")
    if jobs:
        own = session is None
        session = session or RaySession(address)
        try:
            session.start()
            _Driver(lake, sweep, session, board, watch, fail_fast).run(jobs)
        finally:
            if own:
                session.close()
    state = board.state()
    if watch is not None:
        watch(state)
    return state


def _jobs(plan: Plan, done: set[str]) -> list[Job]:
    return [
        Job(family, record, resources)
        for family, record, resources in zip(plan.runs, plan.records, plan.resources, strict=True)
        if record.run_id not in done
    ]


@dataclass
class _Flight:
    """A pack that is with Ray."""

    pack: Pack
    attempts: dict[str, int]
    cause: str | None = None  # why the driver ended it, when it did


@dataclass(frozen=True)
class _Death:
    """Why a process ended without an answer."""

    status: str
    reason: str
    error: str


class _Driver:
    """One call of `run_sweep`, from the first task to the last."""

    def __init__(
        self, lake: Lakehouse, sweep: Sweep, session: RaySession, board: Board, watch: Watch | None, fail_fast: bool
    ) -> None:
        import ray

        from isoflop.workers.cluster import task

        self._lake, self._sweep, self._session, self._board = lake, sweep, session, board
        self._watch = watch or (lambda state: None)
        self._stops_at_failure = fail_fast or sweep.on_failure == "stop"
        self._ray: Any = ray
        self._train = ray.remote(task.train_pack)
        self._checkpoints = checkpoint_folder(lake)
        self._home = session.home()
        self._inbox: Any = None
        self._queue = PackQueue(())
        self._flights: dict[Any, _Flight] = {}
        self._closed: dict[ledger.Key, tuple[str, str | None, str | None]] = {}
        self._totals = Resources(cpus=0)
        self._stopping_until: float | None = None
        self._looked = 0.0
        self._is_waiting_for_room = False

    def run(self, jobs: Sequence[Job]) -> None:
        """Train the jobs."""
        lake = self._lake
        with lake.hold(), Interrupt() as interrupt:
            try:
                self._look_at_cluster()
                self._queue.put(packed(jobs, self._slots))
                while self._queue or self._flights:
                    if interrupt.is_asked and not self._board.is_interrupted:
                        self._board.is_interrupted = True
                        self._board.say("stopping: runs in training write a checkpoint", "warning")
                        self._stop()
                    self._submit()
                    self._collect()
                    self._look()
                    self._watch(self._board.state())
            finally:
                self._abandon()
                self._settle()

    # Handing out

    def _look_at_cluster(self) -> None:
        nodes = self._session.nodes()
        self._nodes = [node.resources for node in nodes]
        self._hosts = {node.host for node in nodes}
        self._totals = Resources(
            cpus=sum(node.get("CPU", 0.0) for node in self._nodes),
            gpus=sum(node.get("GPU", 0.0) for node in self._nodes),
            memory=int(sum(node.get("memory", 0.0) for node in self._nodes)),
        )
        if self._inbox is None and len(nodes) > 1:
            from isoflop.workers.cluster.inbox import open_inbox

            self._inbox = open_inbox(self._lake.spool_folder, self._home)

    def _slots(self, need: Resources) -> int:
        """Return how many processes with this need the cluster holds now."""
        return sum(_times(self._needed(need), node) for node in self._nodes)

    def _needed(self, need: Resources) -> Resources:
        """Return the need with GPUs decided: where the file leaves it open, one if the cluster has any."""
        if need.gpus is not None:
            return need
        has_gpus = any(node.get("GPU", 0.0) for node in self._nodes)
        return Resources(cpus=need.cpus, gpus=1.0 if has_gpus else 0.0, memory=need.memory)

    def _submit(self) -> None:
        while self._queue and self._stopping_until is None and self._has_room():
            self._launch(self._queue.take())

    def _has_room(self) -> bool:
        need = self._needed(self._queue.peek().resources)
        if self._slots(need) == 0:
            self._too_large(need)
        held = [self._needed(flight.pack.resources) for flight in self._flights.values()]
        fits = (
            need.cpus + sum(one.cpus for one in held) <= self._totals.cpus
            and (need.gpus or 0.0) + sum(one.gpus or 0.0 for one in held) <= (self._totals.gpus or 0.0)
            and (need.memory or 0) + sum(one.memory or 0 for one in held) <= (self._totals.memory or 0)
        )
        if fits or self._session.is_embedded:
            return fits
        # A cluster that grows by itself grows when tasks wait; one in two may.
        return len(held) <= 1.5 * max(1, self._slots(need))

    def _too_large(self, need: Resources) -> None:
        """Refuse a run that fits no machine, or wait for a larger machine of a cluster that may grow."""
        message = f"a run needs {need}, more than any machine of the cluster has ({self._largest()})"
        if self._session.is_embedded:
            raise RunFailed(message, hint="lower `resources` in the sweep file, or use --address with a larger cluster")
        if not self._is_waiting_for_room:
            self._is_waiting_for_room = True
            self._board.say(f"{message}; waiting for one that has", "warning")

    def _largest(self) -> str:
        best = max(self._nodes, key=lambda node: (node.get("GPU", 0.0), node.get("CPU", 0.0)), default={})
        return str(Resources(cpus=best.get("CPU", 0.0), gpus=best.get("GPU", 0.0), memory=int(best.get("memory", 0))))

    def _launch(self, pack: Pack) -> None:
        from isoflop.workers.cluster.task import Ticket

        need = self._needed(pack.resources)
        attempts = self._lake.begin_attempts([job.run_id for job in pack.jobs], process_label())
        ticket = Ticket(
            spool_folder=self._lake.spool_folder,
            home=self._home,
            inbox=self._inbox,
            checkpoint_folder=self._checkpoints,
            cpus=need.cpus,
            gpus=need.gpus or 0.0,
            timeout_seconds=self._sweep.timeout_seconds,
        )
        options = {"memory": need.memory} if need.memory else {}
        task = self._train.options(
            name=pack.jobs[0].label, num_cpus=need.cpus, num_gpus=need.gpus or 0.0, max_retries=0, **options
        )
        families = [job.family for job in pack.jobs]
        reference = task.remote(families, [attempts[job.run_id] for job in pack.jobs], ticket)
        self._flights[reference] = _Flight(pack, attempts)
        for job in pack.jobs:
            self._board.begun(job, attempts[job.run_id])

    # Taking back

    def _collect(self) -> None:
        if not self._flights:
            return
        ready, _ = self._ray.wait(list(self._flights), num_returns=1, timeout=TICK_SECONDS)
        if ready:
            ready, _ = self._ray.wait(list(self._flights), num_returns=len(self._flights), timeout=0)
        for reference in ready:
            flight = self._flights.pop(reference)
            try:
                outcomes = self._ray.get(reference)
            except Exception as error:
                self._died(flight, self._death(error, flight))
            else:
                self._answered(flight, outcomes)

    def _answered(self, flight: _Flight, outcomes: Sequence[Any]) -> None:
        """Sort the runs of a pack whose process came back."""
        from isoflop.workers.cluster.task import is_done

        self._lake.drain()
        again: list[Job] = []
        for job, outcome in zip(flight.pack.jobs, outcomes, strict=True):
            attempt = flight.attempts[job.run_id]
            self._closed[job.run_id, attempt] = (outcome.status, outcome.reason, None)
            if is_done(outcome.status, outcome.reason):
                self._board.ended(job, attempt, status=outcome.status, reason=outcome.reason, loss=outcome.loss)
            else:
                known = ledger.progress(self._lake, [(job.run_id, attempt)]).get((job.run_id, attempt))
                again += self._failed(job, attempt, outcome.reason or "crash", known.error if known else None)
        self._queue.put(retried(again, died_together=False))

    def _died(self, flight: _Flight, death: _Death) -> None:
        """Sort the runs of a pack whose process ended without an answer."""
        from isoflop.workers.cluster.task import is_done

        self._lake.drain()  # what the process said before it died counts
        again: list[Job] = []
        said = ledger.progress(self._lake, flight.attempts.items())
        for job in flight.pack.jobs:
            attempt = flight.attempts[job.run_id]
            end = said.get((job.run_id, attempt))
            if end is not None and is_done(end.status, end.reason):
                self._board.ended(job, attempt, status=end.status, reason=end.reason, loss=end.loss)
                continue
            self._close(job.run_id, attempt, death)
            again += self._failed(job, attempt, death.reason, death.error)
        self._queue.put(retried(again, died_together=True))

    def _failed(self, job: Job, attempt: int, reason: str, error: str | None) -> list[Job]:
        """Decide what becomes of a run without a result; return it when it is tried again."""
        if reason == "stopped" or self._stopping_until is not None:
            self._board.given_back(job, attempt)
            return []
        once_more = job.failed_by(reason)
        if once_more.may_retry(self._sweep.retries):
            self._board.retried(job, attempt, reason, error)
            return [once_more]
        self._board.failed(job, attempt, reason, error)
        if self._stops_at_failure and self._stopping_until is None:
            self._board.say("stopping at the first failure", "warning")
            self._stop()
        return []

    def _close(self, run_id: str, attempt: int, death: _Death) -> None:
        self._closed[run_id, attempt] = (death.status, death.reason, death.error)
        self._lake.end_attempt(run_id, attempt, death.status, death.reason, death.error)

    def _death(self, error: Exception, flight: _Flight) -> _Death:
        """Return why a process ended, from what Ray says about it."""
        known = self._ray.exceptions
        text = str(error).strip() or type(error).__name__
        match error:
            case _ if flight.cause == "timeout":
                return _Death("failed", "timeout", f"did not stop {GRACE_SECONDS:.0f} s after its time limit; its process was ended")
            case known.TaskCancelledError():
                return _Death("failed", "stopped", "stopped before it had a result")
            case known.OutOfMemoryError():
                return _Death("failed", "out_of_memory", text.splitlines()[0])
            case known.NodeDiedError() | known.LocalRayletDiedError() | known.OwnerDiedError():
                return _Death("lost", "preempted", "the machine it ran on is gone")
            case known.WorkerCrashedError():
                if self._has_lost_host(flight):
                    return _Death("lost", "preempted", "the machine it ran on is gone")
                return _Death("lost", "crash", "the worker process died")
            case known.RayTaskError():
                cause = getattr(error, "cause", None) or error
                return _Death("failed", "crash", f"{type(cause).__name__}: {cause}".splitlines()[0])
            case _:
                return _Death("failed", "crash", f"{type(error).__name__}: {text.splitlines()[0]}")

    def _has_lost_host(self, flight: _Flight) -> bool:
        hosts = {at.host for at in ledger.progress(self._lake, flight.attempts.items()).values() if at.host}
        self._look_at_cluster()
        return bool(hosts) and not hosts & self._hosts

    # Watching and stopping

    def _look(self) -> None:
        """Read how far the runs are, and end those that are too slow to end themselves."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        progress = ledger.progress(self._lake, self._board.training)
        self._board.saw(progress)
        if not self._session.is_embedded:
            self._look_at_cluster()
        if self._stopping_until is not None and time.monotonic() > self._stopping_until:
            for reference in self._flights:
                self._ray.cancel(reference, force=True)
        if self._sweep.timeout_seconds is not None:
            limit = self._sweep.timeout_seconds + GRACE_SECONDS
            for reference, flight in self._flights.items():
                if flight.cause is None and any(
                    progress[key].seconds > limit for key in flight.attempts.items() if key in progress
                ):
                    flight.cause = "timeout"
                    self._ray.cancel(reference, force=True)

    def _stop(self) -> None:
        """Start nothing more and ask what runs to stop at the next step."""
        self._stopping_until = time.monotonic() + GRACE_SECONDS
        self._queue.clear()
        for reference in self._flights:
            self._ray.cancel(reference)

    def _abandon(self) -> None:
        """Close the attempts still with Ray: the driver leaves by an error or a second Ctrl-C."""
        for reference, flight in self._flights.items():
            with contextlib.suppress(Exception):
                self._ray.cancel(reference, force=True)
            for job in flight.pack.jobs:
                with contextlib.suppress(Exception):
                    self._close(job.run_id, flight.attempts[job.run_id], _Death("lost", "stopped", "its driver was ended"))
        self._flights.clear()

    def _settle(self) -> None:
        """Commit the last files and leave no attempt open and no checkpoint of a finished run."""
        if not ledger.settle(self._lake, self._closed):
            self._board.say("the process that holds the lake has not committed every file yet; it will", "warning")
        for (run_id, attempt), (status, reason, error) in self._closed.items():
            self._lake.end_attempt(run_id, attempt, status, reason, error)
        for run_id in ledger.done_runs(self._lake, [run_id for run_id, _ in self._closed]):
            shutil.rmtree(self._checkpoints / run_id, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._checkpoints.rmdir()  # goes only when nothing is left in it


def checkpoint_folder(lake: Lakehouse) -> Path:
    """Return the folder beside the lake that holds the checkpoints of unfinished runs."""
    return lake.spool_folder.with_name(lake.path.name + ".checkpoints")


def _times(need: Resources, node: Any) -> int:
    """Return how often a need fits into one machine."""
    times = [
        int(node.get(name, 0.0) / amount)
        for name, amount in (("CPU", need.cpus), ("GPU", need.gpus or 0.0), ("memory", need.memory or 0))
        if amount
    ]
    return min(times, default=1)
