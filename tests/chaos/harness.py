"""Break things at random moments and count what is left.

Logging workers, a holder, for which a keeper commits, and, for a shared lake, a PostgreSQL of its own run as
processes. At seeded moments one of them is killed with SIGKILL, frozen, or the disk fills up. A killed worker
comes back as the next attempt, from its last acknowledged step. In the end every acknowledged point
must be in the lake, none twice, and the lake whole.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isoflop.lakehouse import Lakehouse, RunRecord
from isoflop.lakehouse.maintenance import find_problems
from isoflop.lakehouse.rpc.endpoint import endpoint_file, read_endpoint
from tests.chaos.processes import killed
from tests.postgres import Postgres

HERE = Path(__file__).parent
RATE = 2_000  # steps a second and worker
PATIENCE = 60.0  # seconds the lake has to take everything in at the end


@dataclass
class Figures:
    """What happened and what came of it."""

    seed: int
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    acknowledged: int = 0
    stored: int = 0
    missing: int = 0
    doubled: int = 0
    unfinished: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing acknowledged is lost, nothing is doubled, and everything finished."""
        return not (self.missing or self.doubled or self.unfinished or self.problems)

    def __str__(self) -> str:
        faults = ", ".join(f"{number} x {what}" for what, number in sorted(self.faults.items())) or "none"
        return (
            f"seed {self.seed}: {self.seconds:.0f} s, {self.attempts} attempts, faults: {faults}\n"
            f"  acknowledged {self.acknowledged:,} points, stored {self.stored:,}; "
            f"missing {self.missing}, doubled {self.doubled}, unfinished runs {self.unfinished}, "
            f"problems {len(self.problems)}" + "".join(f"\n    {problem}" for problem in self.problems[:5])
        )


@dataclass
class Worker:
    """One run, its present process and what it has acknowledged so far."""

    record: RunRecord
    process: subprocess.Popen[bytes] | None = None
    attempt: int = 0
    checkpoints: list[int] = field(
        default_factory=list
    )  # steps to resume from; a resumed attempt overwrites later ones


class Chaos:
    """One experiment with a lake at `address`.

    Parameters
    ----------
    folder : for acknowledgements and messages
    workers, steps : how many runs of how many steps
    disk : fills the lake's disk when called with True, makes room when called with False
    """

    def __init__(
        self,
        address: str,
        folder: Path,
        seed: int,
        *,
        workers: int = 3,
        steps: int = 8_000,
        server: Postgres | None = None,
        disk: Callable[[bool], None] | None = None,
    ) -> None:
        self.address, self.folder, self.steps = address, folder, steps
        self.random = random.Random(seed)
        self.figures = Figures(seed)
        self._server, self._disk = server, disk
        self._holder: subprocess.Popen[bytes] | None = None
        self._messages = open(folder / "messages.txt", "ab")
        with Lakehouse(address) as lake:
            self.workers = [Worker(RunRecord(family="chaos", config={"i": i})) for i in range(workers)]
            lake.record_runs([worker.record for worker in self.workers])
            self._spool = lake.spool_folder

    def run(self, seconds: float) -> Figures:
        """Break something every half second or so for `seconds`, then let everything finish, then count."""
        began = time.monotonic()
        faults: list[Callable[[], None]] = [self.kill_worker, self.kill_holder, self.kill_keeper]
        if self._server is not None:
            faults += [self.freeze_catalog, self.kill_catalog]
        if self._disk is not None:
            faults.append(self.fill_disk)
        try:
            self._keep_alive()
            while time.monotonic() - began < seconds:
                self._pause(self.random.uniform(0.2, 1.0))
                self.random.choice(faults)()
            until = time.monotonic() + PATIENCE
            while any(not self._is_done(worker) for worker in self.workers) and time.monotonic() < until:
                self._pause(0.1)
        finally:
            self._end()
        self._count()
        self.figures.seconds = time.monotonic() - began
        return self.figures

    # Faults

    def kill_worker(self) -> None:
        """SIGKILL a worker in the middle of whatever it does."""
        living = [worker for worker in self.workers if worker.process is not None and worker.process.poll() is None]
        if living:
            process = self.random.choice(living).process
            assert process is not None
            self._kill(process, "worker killed")

    def kill_holder(self) -> None:
        """SIGKILL the process for which the lake is kept."""
        if self._holder is not None and self._holder.poll() is None:
            self._kill(self._holder, "holder killed")

    def kill_keeper(self) -> None:
        """SIGKILL the process that commits."""
        endpoint = read_endpoint(endpoint_file(self._spool))
        if endpoint is not None and killed(endpoint.pid):
            self.figures.faults["keeper killed"] += 1

    def freeze_catalog(self) -> None:
        """Stop PostgreSQL where it stands for a while."""
        assert self._server is not None
        self.figures.faults["catalog frozen"] += 1
        self._server.freeze()
        self._pause(self.random.uniform(0.2, 1.0))
        self._server.thaw()

    def kill_catalog(self) -> None:
        """SIGKILL PostgreSQL and start it again after a while."""
        assert self._server is not None
        self.figures.faults["catalog killed"] += 1
        self._server.stop(hard=True)
        self._pause(self.random.uniform(0.2, 1.0))
        self._server.start()

    def fill_disk(self) -> None:
        """Leave the lake's disk no room for a while."""
        assert self._disk is not None
        self.figures.faults["disk filled"] += 1
        self._disk(True)
        self._pause(self.random.uniform(0.5, 1.5))
        self._disk(False)

    def _kill(self, process: subprocess.Popen[bytes], what: str) -> None:
        self.figures.faults[what] += 1
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    # Keeping it going

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._keep_alive()
            time.sleep(0.05)

    def _keep_alive(self) -> None:
        """Start again what has died."""
        if self._holder is None or self._holder.poll() is not None:
            self._holder = self._start("holder.py", self.address)
        for worker in self.workers:
            if (worker.process is None or worker.process.poll() is not None) and not self._is_done(worker):
                worker.attempt += 1
                self.figures.attempts += 1
                start = self._resume_from(worker)
                worker.process = self._start(
                    "worker.py", str(self._spool), worker.record.run_id, str(worker.attempt), str(start),
                    str(self.steps - start), str(self._acknowledgements(worker)), str(RATE),
                )  # fmt: skip

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, str(HERE / program), *arguments], stdout=self._messages, stderr=self._messages
        )

    def _acknowledgements(self, worker: Worker) -> Path:
        return self.folder / f"{worker.record.run_id}.acknowledged"

    def _acknowledged(self, worker: Worker) -> list[list[str]]:
        path = self._acknowledgements(worker)
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def _is_done(self, worker: Worker) -> bool:
        lines = self._acknowledged(worker)
        return bool(lines) and lines[-1][-1] == "done"

    def _resume_from(self, worker: Worker) -> int:
        """Return the step a checkpoint would give: some acknowledged one, not always the last."""
        newest = [
            line for line in self._acknowledged(worker) if int(line[1]) == worker.attempt - 1 and line[3] != "done"
        ]
        worker.checkpoints += [int(line[3]) for line in newest]
        chosen = self.random.choice(worker.checkpoints[-3:]) if worker.checkpoints else 0
        worker.checkpoints = [step for step in worker.checkpoints if step <= chosen]
        return chosen

    def _end(self) -> None:
        for process in (*(worker.process for worker in self.workers), self._holder):
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                process.wait()
        self._messages.close()

    # Counting

    def _count(self) -> None:
        figures = self.figures
        with Lakehouse(self.address) as lake:
            lake.drain()
            for worker in self.workers:
                run_id = worker.record.run_id
                promised: set[tuple[int, int]] = set()
                for _, attempt, start, upto in self._acknowledged(worker):
                    last = self.steps if upto == "done" else int(upto)
                    promised |= {(int(attempt), step) for step in range(int(start), last)}
                rows = lake.query(
                    "SELECT attempt, step, count(*) AS n FROM store.metrics WHERE run_id = ? AND metric = 'loss' "
                    "GROUP BY ALL",
                    [run_id],
                ).to_pylist()
                stored = {(row["attempt"], row["step"]) for row in rows}
                figures.acknowledged += len(promised)
                figures.stored += sum(row["n"] for row in rows)
                figures.missing += len(promised - stored)
                figures.doubled += sum(row["n"] - 1 for row in rows)
                curve = lake.query("SELECT step FROM curves WHERE run_id = ? ORDER BY step", [run_id])[
                    "step"
                ].to_pylist()
                (row,) = lake.query("SELECT status FROM runs WHERE run_id = ?", [run_id]).to_pylist()
                if curve != list(range(self.steps)) or row["status"] != "finished":
                    figures.unfinished += 1
            figures.problems = find_problems(lake).records()
