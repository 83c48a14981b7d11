"""A real sweep on a real Ray, broken at random moments: the long form of the fault harness.

`isoflop sweep` trains small transformers into a lake on a small disk; a second process holds the lake
too. At seeded moments a training worker, the process that commits, the driver of the sweep or one of
Ray's raylets is killed with SIGKILL, PostgreSQL is frozen or killed, or the disk is filled to the last
byte. What died is started again, as an administrator would; a driver that gave up is submitted again.
Afterwards the sweep has to complete, and everything that was ever whole in the spool is in the lake, once.
"""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.rpc.endpoint import endpoint_file, read_endpoint
from tests.chaos.cluster import RayCluster, plain_environment
from tests.chaos.processes import below, killed, raylets, trainers
from tests.chaos.witness import Witness
from tests.postgres import Postgres

HOLDER = Path(__file__).with_name("holder.py")
PATIENCE = 600.0  # seconds the sweep has to complete after the last fault
WAIT_FOR_TRAINING = 20.0  # seconds a fault waits, on average at most, until the sweep trains again
# Drivers and raylets take longest to come back; with equal chances a sweep would hardly ever train.
WEIGHTS = {
    "worker": 4, "writer": 3, "driver": 2, "raylet": 2, "catalog frozen": 2, "catalog killed": 1, "disk full": 2,
}  # fmt: skip
LABEL = "seed="  # what Ray calls the processes that train
SWEEP = """\
name: chaos
family: transformer
corpus: {{source: builtin}}
grid: {{width: 32, depth: 1, sequence_length: 16, batch_size: 2, validation_tokens: 64, steps: {steps}}}
seeds: {seeds}
retries: {{crash: 1000, preempted: 1000, out_of_memory: 1000}}
"""


@dataclass
class Figures:
    """What happened in one experiment and what came of it; experiments add up."""

    moments: Counter[str] = field(default_factory=Counter)
    submissions: int = 0
    attempts: int = 0
    runs: int = 0
    acknowledged: int = 0
    landed: int = 0
    missing: int = 0
    doubled: int = 0
    experiments: int = 0
    clean: int = 0
    completed: int = 0
    seconds: float = 0.0
    said: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing acknowledged is lost, nothing doubled, every check clean and every sweep complete."""
        return not (self.missing or self.doubled) and self.clean == self.completed == self.experiments

    def __str__(self) -> str:
        line = (
            f"{sum(self.moments.values())} moments in {self.seconds:.0f} s, acknowledged {self.acknowledged:,}, "
            f"landed {self.landed:,}, missing {self.missing}, doubled {self.doubled}, "
            f"check {'clean' if self.clean else 'NOT CLEAN'}, sweep {'complete' if self.completed else 'NOT COMPLETE'}"
        )
        return "\n".join((line, *self.said))

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            self.moments + other.moments,
            *(getattr(self, name) + getattr(other, name) for name in COUNTED),
            seconds=self.seconds + other.seconds,
            said=[*self.said, *other.said],
        )


COUNTED = (
    "submissions", "attempts", "runs", "acknowledged", "landed", "missing", "doubled", "experiments", "clean",
    "completed",
)  # fmt: skip


class SweepChaos:
    """One experiment.

    Parameters
    ----------
    address : of a lake that does not exist yet
    folder : for the sweep file, messages and what the witness copies
    moments : how many times something is broken
    has_cluster : whether the sweep joins a cluster of two machines instead of starting Ray inside its driver
    runs, steps : of the sweep
    server : the catalog of a shared lake
    fill : fills the lake's disk when called with True, makes room when called with False
    """

    def __init__(
        self,
        address: str,
        folder: Path,
        seed: int,
        *,
        moments: int,
        has_cluster: bool,
        runs: int = 4,
        steps: int = 6_000,
        server: Postgres | None = None,
        fill: Callable[[bool], None] | None = None,
    ) -> None:
        self.address, self.folder = address, folder
        self._random = random.Random(seed)
        self._moments, self._runs, self._steps = moments, runs, steps
        self._server, self._fill = server, fill
        self._has_cluster = has_cluster
        self._messages = open(folder / "messages.txt", "ab")
        self._holder: subprocess.Popen[bytes] | None = None
        self._driver: subprocess.Popen[bytes] | None = None
        self._cluster: RayCluster | None = None
        self._sweeps = 0
        self._is_stopping = False
        self.figures = Figures(experiments=1)
        with Lakehouse(address) as lake:
            self._spool = lake.spool_folder
        self._environment = {**plain_environment(), "OMP_NUM_THREADS": "1"}

    def run(self) -> Figures:
        """Break things, let the sweep complete, count."""
        began = time.monotonic()
        with Witness(self._spool, self.folder / "acknowledged") as witness:
            try:
                if self._has_cluster:
                    self._cluster = RayCluster(self._environment)
                    self._environment = self._cluster.environment
                self._next_sweep()
                self._break_things(witness)
                self._is_stopping = True
                self._pause(PATIENCE, until_done=True)
            finally:
                self._end()
        self._count(witness)
        self.figures.seconds = time.monotonic() - began
        return self.figures

    # Faults

    def _break_things(self, witness: Witness) -> None:
        faults = {"worker": self._kill_worker, "writer": self._kill_writer, "driver": self._kill_driver}
        faults["raylet"] = self._kill_raylet
        if self._server is not None:
            faults |= {"catalog frozen": self._freeze_catalog, "catalog killed": self._kill_catalog}
        if self._fill is not None:
            faults["disk full"] = self._fill_disk
        weights = [WEIGHTS[kind] for kind in faults]
        broken = 0
        while broken < self._moments:
            self._wait_for_training(witness)
            self._pause(self._random.uniform(0.0, 4.0))
            (kind,) = self._random.choices(list(faults), weights)
            if faults[kind]():
                self.figures.moments[kind] += 1
                broken += 1

    def _wait_for_training(self, witness: Witness) -> None:
        """Let the sweep come back to its work, mostly; a fault may also meet it on its way there."""
        since, patience = time.monotonic(), self._random.uniform(0.0, 2 * WAIT_FOR_TRAINING)
        while witness.newest < since and time.monotonic() < since + patience:
            self._pause(0.2)

    def _trainers(self) -> list[int]:
        return [pid for root in self._roots() for pid in trainers(root, LABEL)]

    def _kill_worker(self) -> bool:
        found = self._trainers()
        return bool(found) and killed(self._random.choice(found))

    def _kill_writer(self) -> bool:
        pid = self._writer()
        return pid > 0 and killed(pid)

    def _kill_driver(self) -> bool:
        return self._driver is not None and self._driver.poll() is None and killed(self._driver.pid)

    def _kill_raylet(self) -> bool:
        found = [pid for root in self._roots() for pid in raylets(root)]
        return bool(found) and killed(self._random.choice(found))

    def _freeze_catalog(self) -> bool:
        assert self._server is not None
        self._server.freeze()
        self._pause(self._random.uniform(0.5, 5.0))
        self._server.thaw()
        return True

    def _kill_catalog(self) -> bool:
        assert self._server is not None
        self._server.stop(hard=True)
        self._pause(self._random.uniform(0.5, 3.0))
        self._server.start()
        return True

    def _fill_disk(self) -> bool:
        assert self._fill is not None
        self._fill(True)
        self._pause(self._random.uniform(0.5, 4.0))
        self._fill(False)
        return True

    def _writer(self) -> int:
        """Return the process that keeps the lake at this moment, 0 when none says so."""
        endpoint = read_endpoint(endpoint_file(self._spool))
        return 0 if endpoint is None else endpoint.pid

    def _roots(self) -> list[int]:
        """Return the processes below which this experiment's Ray runs."""
        if self._cluster is not None:
            return self._cluster.roots()
        return [self._driver.pid] if self._driver is not None else []

    # Keeping it going

    def _pause(self, seconds: float, *, until_done: bool = False) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._keep_alive() and until_done:
                return
            time.sleep(0.1)

    def _keep_alive(self) -> bool:
        """Start again what has died; return whether the sweep is complete."""
        if self._cluster is not None:
            self._cluster.keep_alive()
        if self._holder is None or self._holder.poll() is not None:
            self._holder = self._started([str(HOLDER), self.address])
        if self._driver is not None and self._driver.poll() is None:
            return False
        if self._driver is not None and self._driver.returncode == 0:
            if self._is_stopping:
                return True
            self._next_sweep()  # it was done before everything was broken
        self._submit()
        return False

    def _next_sweep(self) -> None:
        self._sweeps += 1
        self._driver = None
        text = SWEEP.format(steps=self._steps + self._sweeps, seeds=self._runs)
        (self.folder / f"sweep{self._sweeps}.yaml").write_text(text)

    def _submit(self) -> None:
        self.figures.submissions += 1
        command = ["-m", "isoflop", "sweep", f"sweep{self._sweeps}.yaml", "--lake", self.address]
        self._driver = self._started(command + (["--address", self._cluster.address] if self._cluster else []))

    def _started(self, command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *command], stdout=self._messages, stderr=self._messages, cwd=self.folder,
            env=self._environment, start_new_session=True,
        )  # fmt: skip

    def _end(self) -> None:
        left = {pid for one in (self._driver, self._holder) if one is not None for pid in (one.pid, *below(one.pid))}
        for pid in left:
            killed(pid)
        for one in (self._driver, self._holder):
            if one is not None:
                one.wait()
        if self._cluster is not None:
            self._cluster.close()
        self._messages.close()

    # Counting

    def _count(self, witness: Witness) -> None:
        figures = self.figures
        with Lakehouse(self.address) as lake:
            lake.drain()
            landed: Counter[tuple[str, int, str, int]] = Counter()
            values = {}
            rows = lake.query("SELECT run_id, attempt, metric, step, value FROM metrics")
            for *key, value in zip(*(column.to_pylist() for column in rows.columns), strict=True):
                landed[tuple(key)] += 1  # type: ignore[index]
                values[tuple(key)] = value
            for point, value in witness.points():
                figures.acknowledged += 1
                there = values.get(point)
                is_same = there is not None and (there == value or (math.isnan(there) and math.isnan(value)))
                figures.missing += not is_same
            figures.landed = sum(landed.values())
            figures.doubled = sum(count - 1 for count in landed.values())
            runs = lake.query(
                "SELECT r.run_id, any_value(r.status) AS status, any_value(r.steps) AS steps, count(*) AS points, "
                "count(DISTINCT c.step) AS distinct_steps, max(c.step) - min(c.step) + 1 AS span "
                "FROM runs r LEFT JOIN curves c USING (run_id) GROUP BY r.run_id"
            ).to_pylist()
            (row,) = lake.query("SELECT count(*) AS n FROM attempts").to_pylist()
        figures.attempts, figures.runs = row["n"], len(runs)
        unfinished = [
            run for run in runs
            if run["status"] != "finished" or not run["points"] == run["distinct_steps"] == run["span"] == run["steps"]
        ]  # fmt: skip
        figures.completed = int(len(runs) == self._sweeps * self._runs and not unfinished)
        check = subprocess.run(
            [sys.executable, "-m", "isoflop", "lake", "check", "--lake", self.address],
            capture_output=True, text=True, env=self._environment, cwd=self.folder,
        )  # fmt: skip
        figures.clean = int(check.returncode == 0)
        figures.said += [f"  {run}" for run in unfinished[:5]]
        figures.said += [f"  {line}" for line in (check.stdout + check.stderr).splitlines()] if check.returncode else []
        if not figures.is_whole:
            figures.said += [f"  messages: {line}" for line in _last_lines(self.folder / "messages.txt")]


def _last_lines(path: Path, count: int = 20) -> list[str]:
    return path.read_text(errors="replace").splitlines()[-count:]


def password_environment() -> None:
    """Let every process of an experiment find the catalog's password where people put it."""
    os.environ["PGPASSWORD"] = Postgres.PASSWORD
