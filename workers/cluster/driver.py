"""Run a sweep: hand packs of runs to Ray, watch them, try again what may be tried again.

The driver is the lake's writer. Workers never open the store; they leave files in the spool, and
`lake.hold()` commits them twice a second. Ray retries nothing by itself: why an attempt ended
decides, and every attempt is a row of `attempts`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import RunFailed
from isoflop.lakehouse.runs.provenance import process_label
from isoflop.workers.cluster import ledger
from isoflop.workers.cluster.allowance import Allowance
from isoflop.workers.cluster.board import Board
from isoflop.workers.cluster.capacity import Capacity
from isoflop.workers.cluster.deaths import DRIVER_LEFT, OUT_OF_TIME, Death, death_of
from isoflop.workers.cluster.folders import checkpoint_folder, forget_checkpoints, output_folder, weights_folder
from isoflop.workers.cluster.halving import Halver, halver_of
from isoflop.workers.cluster.interrupt import Interrupt
from isoflop.workers.cluster.packs import Job, Pack, PackQueue, alone, jobs_of, packed, retried
from isoflop.workers.cluster.placement import Held, Placement
from isoflop.workers.cluster.preflight import check_memory
from isoflop.workers.cluster.session import RaySession
from isoflop.workers.cluster.state import SweepState
from isoflop.workers.driven import Driven
from isoflop.workers.orphans import refuse_second_driver, release_orphans
from isoflop.workers.resources import Resources

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse
    from isoflop.workers.sweep import Sweep

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
    only_failed: bool = False,
    force: bool = False,
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
    only_failed : leave out the runs that have not failed yet; the state then counts none of them
    force : train also what this machine is predicted to have no memory for
    session : a Ray session to use and leave open, for several sweeps one after another

    Ctrl-C and `isoflop stop` end it in order: runs in training write a checkpoint, the store is whole, and the
    state says `is_interrupted`. A second Ctrl-C raises KeyboardInterrupt at once.

    Raises
    ------
    FileError : if the sweep file cannot be expanded
    StoreError : if another process runs this sweep already
    RunFailed : if Ray does not start, or no machine is large enough for a run or has the memory for it
    """
    plan = sweep.expand()
    lake.drain()
    run_ids = [record.run_id for record in plan.records]
    orphans = release_orphans(lake)
    refuse_second_driver(lake, sweep.name, run_ids)
    halver = halver_of(lake, sweep, plan.records)  # refuses what it cannot halve before anything is recorded
    sweep_id = lake.record_sweep(name=sweep.name, spec=sweep.text, runs=plan.records)
    done = ledger.done_runs(lake, run_ids)
    jobs = jobs_of(plan, done)
    if only_failed:
        failed = ledger.failed_runs(lake, run_ids)
        jobs = [job for job in jobs if job.run_id in failed]
    board = Board(sweep_id=sweep_id, name=sweep.name, total=len(done) + len(jobs), excluded=plan.excluded, to_do=jobs)
    for note in plan.notes:
        board.say(note, "warning")
    if orphans:
        board.say(f"{orphans} attempts whose driver died are marked as lost", "warning")
    if jobs:
        own = session is None
        session = session or RaySession(address)
        try:
            with Driven(lake, sweep_id) as driven:
                if not session.is_started:
                    where = "starting Ray" if session.is_embedded else f"joining {session.address}"
                    board.say(f"{where} for {len(jobs)} runs")
                    if watch is not None:
                        watch(board.state())
                session.start()
                allowance = Allowance(lake, run_ids, sweep.max_concurrent, sweep.budget)
                driver = _Driver(
                    lake, sweep, session, board, allowance, halver, fail_fast=fail_fast, force=force
                )  # fmt: skip
                driver.run(jobs, driven, watch or (lambda state: None))
        finally:
            if own:
                session.close()
    state = board.state()
    if watch is not None:
        watch(state)
    return state


@dataclass
class _Flight:
    """A pack that is with Ray, and the attempt of each of its runs."""

    pack: Pack
    attempts: dict[str, int]
    held: Held
    is_out_of_time: bool = False
    why_early: str | None = None  # it is asked to end before its last step


class _Driver:
    """One call of `run_sweep`, from the first task to the last."""

    def __init__(
        self,
        lake: Lakehouse,
        sweep: Sweep,
        session: RaySession,
        board: Board,
        allowance: Allowance,
        halver: Halver | None,
        *,
        fail_fast: bool,
        force: bool,
    ) -> None:
        import ray

        from isoflop.workers.cluster import task

        self._lake, self._sweep, self._session, self._board = lake, sweep, session, board
        self._allowance, self._halver = allowance, halver
        self._force = force
        self._stops_at_failure = fail_fast or sweep.stops_at_failure
        self._ray: Any = ray
        self._train = ray.remote(task.train_pack)
        self._is_done, self._ticket = task.is_done, task.Ticket
        self._home = session.home()
        self._capacity, self._placement = Capacity(), Placement(sweep.is_timed_alone)
        self._inbox: Any = None
        self._queue = PackQueue(())
        self._flights: dict[Any, _Flight] = {}
        self._closed: dict[ledger.Key, Death] = {}  # how attempts ended, for those whose own word never arrives
        self._stopping_until: float | None = None
        self._looked = 0.0
        self._is_waiting_for_room = False

    def run(self, jobs: Sequence[Job], driven: Driven, watch: Watch) -> None:
        """Train the jobs, until they have ended or somebody wants to stop."""
        with self._lake.hold(), Interrupt() as interrupt:
            try:
                self._look_at_cluster()
                if self._session.is_embedded:
                    for said in check_memory(jobs, self._capacity, self._sweep.max_concurrent, force=self._force):
                        self._board.say(said, "warning")
                together = packed(jobs, self._capacity.slots, self._sweep.max_concurrent)
                is_apart = self._sweep.stop_when is not None or self._sweep.is_timed_alone
                self._queue.put(alone(jobs) if is_apart else together)
                while self._queue or self._flights:
                    is_asked = interrupt.is_asked or driven.is_asked_to_stop()
                    if is_asked and not self._board.is_interrupted:
                        self._board.is_interrupted = True
                        self._board.say("stopping: runs in training write a checkpoint", "warning")
                        self._stop()
                    self._submit()
                    self._collect()
                    self._look()
                    watch(self._board.state())
            finally:
                self._abandon()
                self._settle()

    # Handing out

    def _look_at_cluster(self) -> None:
        self._capacity = Capacity(self._session.nodes())
        if not self._capacity.nodes:
            raise RunFailed("the Ray cluster is gone", hint="run the sweep again: finished runs are kept, others go on")
        # A cluster that was started elsewhere may grow while a task waits, so it has an inbox from the start.
        if self._inbox is None and (len(self._capacity.nodes) > 1 or not self._session.is_embedded):
            from isoflop.workers.cluster.inbox import open_inbox

            self._inbox = open_inbox(self._lake.spool_folder, self._home)

    def _submit(self) -> None:
        while self._queue and self._stopping_until is None and self._has_room():
            wanted = self._queue.peek().jobs
            most = self._allowance.most(wanted, self._board.training)
            if most is None:
                return
            if most == 0:
                left_out = self._queue.clear()
                self._board.left_out(left_out)
                self._board.say(
                    f"skipped: budget: {len(left_out)} runs are not started ({self._allowance.says(wanted)}); "
                    "with a larger budget the sweep goes on",
                    "warning",
                )
                return
            self._launch(self._queue.take(most))

    def _has_room(self) -> bool:
        need = self._queue.peek().resources
        slots = self._capacity.slots(need)
        if slots == 0:
            self._too_large(need)
        if self._placement.has_room(self._capacity, need, self._held()):
            return True
        return not self._session.is_embedded and self._placement.may_wait(len(self._flights), slots)

    def _held(self) -> list[Held]:
        return [flight.held for flight in self._flights.values()]

    def _too_large(self, need: Resources) -> None:
        """Refuse a run that fits no machine, or wait for a larger machine of a cluster that may grow."""
        need = self._capacity.decided(need)
        message = f"a run needs {need}; the largest machine has {self._capacity.largest()}"
        if self._session.is_embedded:
            raise RunFailed(message, hint="lower `resources` in the sweep file, or use a larger cluster with --address")
        if not self._is_waiting_for_room:
            self._is_waiting_for_room = True
            self._board.say(f"{message}; waiting for a larger one", "warning")

    def _launch(self, pack: Pack) -> None:
        need = self._capacity.decided(pack.resources)
        attempts = self._lake.begin_attempts([job.run_id for job in pack.jobs], process_label())
        ticket = self._ticket(
            spool_folder=self._lake.spool_folder,
            home=self._home,
            inbox=self._inbox,
            folder=self._sweep.folder,
            output_folder=output_folder(self._lake),
            checkpoint_folder=checkpoint_folder(self._lake),
            cpus=need.cpus,
            gpus=need.gpus or 0.0,
            timeout_seconds=self._sweep.timeout_seconds,
            saving=self._sweep.saving(weights_folder(self._lake)),
            diverged=None if self._sweep.stop_when is None else self._sweep.stop_when.diverged,
        )
        machine = self._placement.machine(self._capacity, need, self._held())
        asked = self._placement.options(need, machine)
        task = self._train.options(name=pack.jobs[0].label, max_retries=0, **asked)
        families = [job.family for job in pack.jobs]
        reference = task.remote(families, [attempts[job.run_id] for job in pack.jobs], ticket)
        self._flights[reference] = _Flight(pack, attempts, Held(need, machine.node_id if machine else None))
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
            self._allowance.look_again()
            flight = self._flights.pop(reference)
            try:
                outcomes = self._ray.get(reference)
            except Exception as error:  # whatever Ray raises ends this pack only
                self._died(flight, self._death(error, flight))
            else:
                self._answered(flight, outcomes)

    def _answered(self, flight: _Flight, outcomes: Sequence[Any]) -> None:
        """Sort the runs of a pack whose process came back."""
        again: list[Job] = []
        for job, outcome in zip(flight.pack.jobs, outcomes, strict=True):
            attempt = flight.attempts[job.run_id]
            if outcome.reason == "stopped" and flight.why_early is not None:
                outcome = replace(outcome, reason=ledger.EARLY, error=flight.why_early)
                ledger.ended_early(self._lake, (job.run_id, attempt), flight.why_early)
                forget_checkpoints(self._lake, job.run_id)
            self._closed[job.run_id, attempt] = Death(outcome.status, outcome.reason, outcome.error)
            if self._is_done(outcome.status, outcome.reason):
                self._board.ended(job, attempt, status=outcome.status, reason=outcome.reason, loss=outcome.loss)
            else:
                again += self._failed(job, attempt, outcome.reason or "crash", outcome.error)
        self._queue.put(retried(again, died_together=False))

    def _died(self, flight: _Flight, death: Death) -> None:
        """Sort the runs of a pack whose process ended without an answer."""
        self._lake.drain()  # what the process said before it died counts
        said = ledger.progress(self._lake, flight.attempts.items())
        again: list[Job] = []
        for job in flight.pack.jobs:
            attempt = flight.attempts[job.run_id]
            end = said.get((job.run_id, attempt))
            if end is not None and self._is_done(end.status, end.reason):
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
        if self._stops_at_failure:
            self._board.say("stopping at the first failure", "warning")
            self._stop()
        return []

    def _close(self, run_id: str, attempt: int, death: Death) -> None:
        self._closed[run_id, attempt] = death
        self._lake.end_attempt(run_id, attempt, death.status, death.reason, death.error)

    def _death(self, error: Exception, flight: _Flight) -> Death:
        if flight.is_out_of_time:
            return OUT_OF_TIME
        hosts = {at.host for at in ledger.progress(self._lake, flight.attempts.items()).values() if at.host}
        self._look_at_cluster()
        alive = {node.host for node in self._capacity.nodes}
        return death_of(error, has_lost_machine=bool(hosts) and not hosts & alive)

    # Watching and stopping

    def _look(self) -> None:
        """Read how far the runs are, and end processes that do not end themselves."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        progress = ledger.progress(self._lake, self._board.training)
        self._board.saw(progress)
        if not self._session.is_embedded:
            self._look_at_cluster()
        is_over = self._stopping_until is not None and now > self._stopping_until
        limit = self._sweep.timeout_seconds
        early = {} if self._halver is None else self._halver.losers(self._board.training)
        for reference, flight in self._flights.items():
            seconds = max((progress[key].seconds for key in flight.attempts.items() if key in progress), default=0.0)
            if limit is not None and seconds > limit + GRACE_SECONDS:
                flight.is_out_of_time = True
            why = next((early[key] for key in flight.attempts.items() if key in early), None)
            if why is not None and flight.why_early is None:
                flight.why_early = why
                self._ray.cancel(reference)
            if is_over or flight.is_out_of_time:
                self._ray.cancel(reference, force=True)

    def _stop(self) -> None:
        """Start nothing more and ask what runs to stop at its next step."""
        self._stopping_until = time.monotonic() + GRACE_SECONDS
        self._queue.clear()
        for reference in self._flights:
            self._ray.cancel(reference)

    def _abandon(self) -> None:
        """Close the attempts still with Ray: the driver leaves by an error or a second Ctrl-C."""
        for reference, flight in self._flights.items():
            with contextlib.suppress(Exception):
                self._ray.cancel(reference, force=True)
            for run_id, attempt in flight.attempts.items():
                with contextlib.suppress(Exception):
                    self._close(run_id, attempt, DRIVER_LEFT)
        self._flights.clear()

    def _settle(self) -> None:
        """Commit the last files and leave no attempt open."""
        if not ledger.settle(self._lake, self._closed):
            self._board.say("the process that holds the lake has not committed every file yet; it will", "warning")
        for (run_id, attempt), death in ledger.still_open(self._lake, self._closed).items():
            self._lake.end_attempt(run_id, attempt, death.status, death.reason, death.error)
        for folder in (checkpoint_folder(self._lake), output_folder(self._lake)):
            with contextlib.suppress(OSError):
                folder.rmdir()  # goes when no run has a checkpoint left, or no command has written anything
