"""Ordinary habits at random moments: what people do to a lake without meaning any harm.

Training scripts start and end politely, together, after a fork, without closing; meanwhile somebody reads the
file with plain DuckDB, compacts it, stops or kills the process that keeps it, restarts PostgreSQL, fills the
disk. Nobody who died is started again. In the end every point a script had on disk is in the lake, once; whoever
ended by himself did so in time and with status 0; and nothing is left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.rpc.endpoint import endpoint_file, read_endpoint
from isoflop.lakehouse.runs.provenance import process_start
from tests.chaos.user import INTO_PARENT, OWN
from tests.postgres import Postgres

USER = Path(__file__).with_name("user.py")
LIMIT = 30.0  # seconds after its due time at which a process counts as one that waits for ever
READER = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1], read_only=True); time.sleep(float(sys.argv[2]))"
COUNTED = ("points", "stored", "missing", "doubled", "hung", "dead", "wrong", "left_over", "lakes", "clean")


@dataclass
class Figures:
    """What happened to one lake and what came of it; lakes add up."""

    moments: Counter[str] = field(default_factory=Counter)
    points: int = 0
    stored: int = 0
    missing: int = 0
    doubled: int = 0
    hung: int = 0
    dead: int = 0
    wrong: int = 0  # runs whose status is not how they ended
    left_over: int = 0
    lakes: int = 0
    clean: int = 0
    seconds: float = 0.0
    said: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is lost, doubled, hung, dead, wrong or left over."""
        bad = self.missing or self.doubled or self.hung or self.dead or self.wrong or self.left_over
        return not bad and self.clean == self.lakes

    def __str__(self) -> str:
        line = (
            f"{sum(self.moments.values())} moments in {self.seconds:.0f} s, {self.points:,} points on disk, "
            f"{self.stored:,} stored, missing {self.missing}, doubled {self.doubled}, hung {self.hung}, "
            f"dead {self.dead}, wrong status {self.wrong}, left over {self.left_over}, "
            f"check {'clean' if self.is_clean else 'NOT CLEAN'}"
        )
        return "\n".join((line, *self.said))

    @property
    def is_clean(self) -> bool:
        """Whether `isoflop lake check` found nothing."""
        return self.clean == self.lakes

    def __add__(self, other: Figures) -> Figures:
        counted = {name: getattr(self, name) + getattr(other, name) for name in COUNTED}
        return Figures(
            self.moments + other.moments,
            seconds=self.seconds + other.seconds,
            said=[*self.said, *other.said],
            **counted,
        )


@dataclass
class Script:
    """A training script that runs.

    Parameters
    ----------
    process : it
    key : what its runs are found by
    said : what it says of itself
    due : time of the monotonic clock at which it should have ended
    is_killed : whether it was killed on purpose, so that it need not have ended well
    """

    process: subprocess.Popen[bytes]
    key: str
    said: Path
    due: float
    is_killed: bool = False
    way: str = "plain"


class Habits:
    """One lake under attack.

    Parameters
    ----------
    address : of a lake that does not exist yet
    folder : for what the scripts say
    moments : how many habits meet it
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
        server: Postgres | None = None,
        fill: Callable[[bool], None] | None = None,
    ) -> None:
        self.address, self.folder, self._moments = address, folder, moments
        self._random = random.Random(seed)
        self._server, self._fill = server, fill
        self._messages = open(folder / "messages.txt", "ab")
        self._scripts: list[Script] = []
        self._number = 0
        self.figures = Figures(lakes=1)
        with Lakehouse(address) as lake:
            self._path, self._spool = lake.path, lake.spool_folder

    def run(self) -> Figures:
        """Live with the habits, then count."""
        began = time.monotonic()
        habits = self._habits()
        try:
            for _ in range(self._moments):
                kind = self._random.choice(list(habits))
                habits[kind]()
                self.figures.moments[kind] += 1
                self._wait()
            self._settle()
            self._count()
        finally:
            for script in self._scripts:
                script.process.kill()
            self._messages.close()
        self.figures.seconds = time.monotonic() - began
        if not self.figures.is_whole:
            text = (self.folder / "messages.txt").read_text(errors="replace").splitlines()
            self.figures.said += [f"  messages: {line}" for line in text[-25:]]
        return self.figures

    def _habits(self) -> dict[str, Callable[[], None]]:
        habits: dict[str, Callable[[], None]] = {
            "polite": self._polite, "loops": self._loops, "short runs": self._short, "fork": self._forks,
            "pool": self._pool, "unclosed": self._unclosed, "asking": self._asking, "compact": self._compact,
            "commands": self._commands, "keeper killed": self._keeper_killed, "keeper stopped": self._keeper_stopped,
            "script killed": self._script_killed, "interrupted": self._interrupted,
        }  # fmt: skip
        if self._server is None:
            habits |= {"reader": self._reader, "link": self._link}
        else:
            habits |= {"catalog killed": self._catalog_killed, "catalog frozen": self._catalog_frozen}
        if self._fill is not None:
            habits["disk full"] = self._disk_full
        return habits

    # Habits

    def _polite(self) -> None:
        for _ in range(self._random.randint(1, 3)):
            self._start(seconds=self._random.uniform(0.0, 1.5))

    def _loops(self) -> None:
        at = time.time() + 2.0
        for _ in range(self._random.randint(4, 8)):
            self._start(seconds=1.0, at=at)

    def _short(self) -> None:
        at = time.time() + 2.0
        for _ in range(self._random.randint(3, 6)):
            self._start(seconds=0.0, at=at)

    def _forks(self) -> None:
        self._start(way="fork", seconds=0.0)

    def _pool(self) -> None:
        self._start(way="pool", seconds=0.0)

    def _unclosed(self) -> None:
        self._start(way="unclosed", seconds=self._random.uniform(0.0, 1.0))

    def _asking(self) -> None:
        self._start(way="asking", seconds=self._random.uniform(0.0, 1.0))
        self._start(seconds=1.0)

    def _link(self) -> None:
        link = self.folder / f"link{self._number}.duckdb"
        link.symlink_to(self._path)
        self._start(address=str(link), seconds=0.5)
        self._start(seconds=0.5)

    def _two(self, seconds: float = 3.0, **config: object) -> list[Script]:
        two = [self._start(seconds=seconds, config=config) for _ in range(2)]
        self._pause(self._random.uniform(0.5, 2.0))
        return two

    def _compact(self) -> None:
        self._two(4.0, **{f"key_{self._number}": 1.5})
        self._command("lake", "compact", may_refuse=True)
        self._start(seconds=0.5, config={f"other_{self._number}": "word"})
        self._command("lake", "compact", may_refuse=True)

    def _commands(self) -> None:
        self._two()
        self._command("sql", "SELECT count(*) FROM runs")
        self._command("lake", "check")
        self._command("runs")

    def _reader(self) -> None:
        seconds = self._random.uniform(1.0, 4.0)
        with subprocess.Popen(
            [sys.executable, "-c", READER, str(self._path), str(seconds)], stdout=self._messages, stderr=self._messages
        ) as reader:
            self._two(seconds=1.0)
            reader.wait()

    def _keeper_killed(self) -> None:
        self._two()
        for _ in range(self._random.randint(1, 3)):
            endpoint = read_endpoint(endpoint_file(self._spool))
            if endpoint is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(endpoint.pid, signal.SIGKILL)
            self._pause(self._random.uniform(0.0, 1.0))

    def _keeper_stopped(self) -> None:
        self._two()
        endpoint = read_endpoint(endpoint_file(self._spool))
        if endpoint is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(endpoint.pid, signal.SIGSTOP)
                self._pause(self._random.uniform(0.5, 4.0))
                os.kill(endpoint.pid, signal.SIGCONT)

    def _script_killed(self) -> None:
        for script in self._two():
            script.is_killed = True
            script.process.send_signal(self._random.choice((signal.SIGKILL, signal.SIGTERM)))

    def _interrupted(self) -> None:
        first, _ = self._two()
        first.is_killed = True
        first.process.send_signal(signal.SIGINT)

    def _catalog_killed(self) -> None:
        assert self._server is not None
        self._two(8.0)
        for _ in range(4):
            self._server.stop(hard=True)
            self._pause(self._random.uniform(0.2, 1.0))
            self._server.start()
            self._pause(self._random.uniform(0.5, 1.5))

    def _catalog_frozen(self) -> None:
        assert self._server is not None
        self._two()
        self._server.freeze()
        self._pause(self._random.uniform(0.5, 4.0))
        self._server.thaw()

    def _disk_full(self) -> None:
        assert self._fill is not None
        self._two()
        self._fill(True)
        self._pause(self._random.uniform(0.5, 2.0))
        self._fill(False)

    # Processes

    def _start(self, *, way: str = "plain", seconds: float, **spec: Any) -> Script:
        self._number += 1
        key, said = f"k{self._number}", self.folder / f"said{self._number}.txt"
        given = {"address": self.address, "key": key, "way": way, "seconds": seconds, "said": str(said), **spec}
        process = subprocess.Popen(
            [sys.executable, str(USER), json.dumps(given)], stdin=subprocess.DEVNULL, stdout=self._messages,
            stderr=self._messages, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True,
        )  # fmt: skip
        due = time.monotonic() + seconds + max(0.0, spec.get("at", 0.0) - time.time())
        script = Script(process, key, said, due, way=way)
        self._scripts.append(script)
        return script

    def _command(self, *words: str, may_refuse: bool = False) -> None:
        """Run a command beside the scripts; it has to answer, and in time."""
        try:
            done = subprocess.run(
                [sys.executable, "-m", "isoflop", *words, "--lake", self.address], stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, timeout=LIMIT + 10, cwd=self.folder, text=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            self.figures.hung += 1
            self.figures.said.append(f"  `isoflop {' '.join(words)}` did not end")
            return
        is_refusal = may_refuse and done.returncode == 3 and "Traceback" not in done.stderr
        if done.returncode and not is_refusal:
            self.figures.dead += 1
            self.figures.said.append(f"  `isoflop {' '.join(words)}`: {done.returncode} {done.stderr.strip()[-300:]}")

    def _pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def _wait(self) -> None:
        """Wait for the scripts of this moment; one that does not end in time is one that waits for ever."""
        for script in self._scripts:
            if script.process.poll() is None:
                try:
                    script.process.wait(max(0.1, script.due + LIMIT - time.monotonic()))
                except subprocess.TimeoutExpired:
                    self.figures.hung += 1
                    load = os.getloadavg()[0]
                    self.figures.said.append(f"  {script.way} {script.key} did not end (load {load:.1f})")
                    script.is_killed = True
                    script.process.kill()
                    script.process.wait()
            if script.process.returncode and not script.is_killed:
                self.figures.dead += 1
                self.figures.said.append(f"  {script.way} {script.key} died with {script.process.returncode}")
                script.is_killed = True

    # Counting

    def _settle(self) -> None:
        """See that the last one out leaves the lake whole, and nothing beside it."""
        self._command("lake", "ingest")
        until = time.monotonic() + LIMIT
        while (left := self._leftovers()) and time.monotonic() < until:
            time.sleep(0.2)
        self.figures.left_over += len(left)
        self.figures.said += [f"  left over: {name}" for name in left]

    def _leftovers(self) -> list[str]:
        endpoint = read_endpoint(endpoint_file(self._spool))
        living = endpoint is not None and process_start(endpoint.pid) is not None
        kept = {"commits.json"}
        left = [path.name for path in self._spool.glob("*") if path.name not in kept] if self._spool.is_dir() else []
        beside = [path.name for path in self._path.parent.glob(self._path.name + ".*") if path != self._spool]
        return [*(["a keeper"] if living else []), *left, *beside]

    def _count(self) -> None:
        figures = self.figures
        copied = self._path
        if self._server is None:
            copied = self.folder / "copy.duckdb"
            shutil.copyfile(self._path, copied)
        stored: dict[str, list[tuple[int, int]]] = {}
        statuses: dict[str, tuple[str, str | None]] = {}
        with contextlib.ExitStack() as stack:
            if self._server is None:
                con = stack.enter_context(duckdb.connect(str(copied), read_only=True))
                rows = con.execute(POINTS).fetchall()
                ends = con.execute(ENDS).fetchall()
            else:
                lake = stack.enter_context(Lakehouse(self.address))
                rows = [tuple(row.values()) for row in lake.query(POINTS).to_pylist()]
                ends = [tuple(row.values()) for row in lake.query(ENDS).to_pylist()]
        for key, step, count in rows:
            stored.setdefault(key, []).append((step, count))
        for key, status, reason in ends:
            statuses[key] = (status, reason)
        figures.stored = sum(count for points in stored.values() for _, count in points)
        for script in self._scripts:
            for key, steps, status in self._promised(script):
                points = dict(stored.get(key, ()))
                figures.points += len(steps)
                lost = len(steps - points.keys())
                figures.missing += lost
                figures.doubled += sum(count - 1 for count in points.values())
                found = statuses.get(key)
                is_wrong = status is not None and found != status
                figures.wrong += is_wrong
                if lost or is_wrong:
                    line = f"  {script.way} {key}: {lost} of {len(steps)} missing, {found} instead of {status}"
                    figures.said.append(line)
        check = subprocess.run(
            [sys.executable, "-m", "isoflop", "lake", "check", "--lake", self.address],
            capture_output=True, text=True, cwd=self.folder,
        )  # fmt: skip
        figures.clean = int(check.returncode == 0)
        if check.returncode:
            figures.said += [f"  {line}" for line in (check.stdout + check.stderr).splitlines()[:8]]

    def _promised(self, script: Script) -> list[tuple[str, set[int], tuple[str, str | None] | None]]:
        """Return the runs of a script: key, steps that were on disk, and how the run ended where that is certain."""
        lines = [line.split() for line in script.said.read_text().splitlines()] if script.said.exists() else []
        upto = max((int(words[1]) for words in lines if words[0] == "upto"), default=0)
        has_left, is_done = ["left"] in lines, ["done"] in lines
        finished: tuple[str, str | None] = ("finished", None)
        match script.way:
            case "fork":
                into = set(range(100 + INTO_PARENT)) if is_done else set()
                own = [(f"{script.key}.{k}", set(range(OWN)), finished) for k in range(2)] if is_done else []
                return [(script.key, into, finished if has_left else None), *own]
            case "pool":
                return [(f"{script.key}.{k}", set(range(OWN)), finished) for k in range(4)] if is_done else []
            case "many":
                done = [int(words[1]) for words in lines if words[0] == "run"]
                return [(f"{script.key}.{number}", {0}, finished) for number in done]
        return [(script.key, set(range(upto)), finished if has_left else None)]


POINTS = """
SELECT r.key, m.step, count(*) AS n FROM metrics m JOIN runs r USING (run_id) WHERE m.metric = 'loss' GROUP BY ALL
"""
ENDS = "SELECT key, status, reason FROM runs WHERE family = 'habit'"
