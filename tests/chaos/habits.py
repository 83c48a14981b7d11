"""Ordinary habits at random moments: what people do to a lake without meaning any harm.

Training scripts start and end politely, together, after a fork, without closing; meanwhile somebody reads the
file with plain DuckDB, compacts it, stops or kills the process that keeps it, restarts PostgreSQL, fills the
disk; sometimes two such things happen at once. Nobody who died is started again. After every moment what a
script left in peace is there without any command; in the end every point a script had on disk is in the lake,
once; whoever ended by himself did so in time and with status 0; and nothing is left behind.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import duckdb

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.address import parse_address
from isoflop.lakehouse.rpc.endpoint import endpoint_file, read_endpoint
from tests.chaos.reckoning import Figures, Script, Stored, promises, reckon, stored_or_none
from tests.chaos.scripts import LIMIT, Scripts
from tests.postgres import Postgres

STORES = Path(__file__).parents[1] / "fixtures" / "stores"
OLD_RUNS = 3  # in each store of an older schema
READER = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1], read_only=True); time.sleep(float(sys.argv[2]))"
TWO_AT_ONCE = 0.3  # of the moments
MINUTE = 60.0  # seconds for which PostgreSQL is restarted again and again, once in a long run
AFTER = 1.0  # seconds after a fault in which a block that is left may still have met it
# What keeps the lake from answering for a while, what has to be answered, and what brings lakes of its own.
BLOCKING = {"reader", "keeper stopped", "disk full", "catalog killed", "catalog frozen"}
ASKING = {"asking", "commands", "compact", "old schema", "reader"}
CATALOG = {"catalog killed", "catalog frozen"}
Act: TypeAlias = Callable[[random.Random], None]


class Habits:
    """One lake under attack.

    Parameters
    ----------
    address : of a lake that does not exist yet
    folder : for what the scripts say
    moments : how many habits meet it
    server : the catalog of a shared lake
    fill : fills the lake's disk when called with True, makes room when called with False
    has_minute : whether the catalog is killed and started for a whole minute at one of the moments
    stop : when it is set, no further moment begins
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
        has_minute: bool = False,
        stop: threading.Event | None = None,
    ) -> None:
        place = parse_address(address)
        self.address, self.folder, self._path = address, folder, place.path
        self._spool = self._path.with_name(self._path.name + ".spool")
        self._moments, self._random = moments, random.Random(seed)
        self._server, self._fill, self._has_minute = server, fill, has_minute and server is not None
        self._stop = stop or threading.Event()
        self.figures = Figures(lakes=1)
        self._scripts = Scripts(address, folder, self.figures)
        self._blocked: list[tuple[float, float]] = []  # when the lake could not answer, by the clock of the day

    def run(self) -> Figures:
        """Live with the habits, then count."""
        began = time.monotonic()
        minute = self._random.randrange(1, max(2, self._moments)) if self._has_minute else None
        try:
            for number in range(self._moments):
                if self._stop.is_set():
                    break
                before = len(self._scripts.started)
                self._live(number, is_minute=number == minute)
                self._scripts.wait()
                self._see(self._scripts.started[before:])
            self._settle()
            self._count()
        finally:
            self._scripts.close()
        self.figures.seconds = time.monotonic() - began
        if not self.figures.is_whole:
            self.figures.said += self._scripts.messages()
        return self.figures

    def _live(self, number: int, *, is_minute: bool) -> None:
        """Let one habit meet the lake, or two at once."""
        habits, chance = self._habits(), self._random
        if number == 0 and chance.random() < 0.5:
            self.figures.moments["new lake"] += 1
            self._short(chance)  # which of them makes the lake is theirs to settle
            return
        if number == 0:
            Lakehouse(self.address).close()
        if is_minute:
            self.figures.moments["catalog minute"] += 1
            self._catalog_minute(chance)
            return
        kind = chance.choice(list(habits))
        kinds = [kind]
        others = [other for other in habits if _go_together(kind, other)]
        if chance.random() < TWO_AT_ONCE and others:
            kinds.append(chance.choice(others))
        seeds = [chance.random() for _ in kinds]
        with ThreadPoolExecutor(len(kinds)) as pool:
            for future in [pool.submit(habits[k], random.Random(s)) for k, s in zip(kinds, seeds, strict=True)]:
                future.result()
        self.figures.moments[kind] += 1
        if len(kinds) > 1:
            self.figures.beside[kinds[1]] += 1

    def _habits(self) -> dict[str, Act]:
        habits: dict[str, Act] = {
            "polite": self._polite, "loops": self._loops, "short runs": self._short, "fork": self._forks,
            "pool": self._pool, "unclosed": self._unclosed, "asking": self._asking, "compact": self._compact,
            "commands": self._commands, "keeper killed": self._keeper_killed, "keeper stopped": self._keeper_stopped,
            "script killed": self._script_killed, "interrupted": self._interrupted,
        }  # fmt: skip
        if self._server is None:
            habits |= {"reader": self._reader, "link": self._link, "old schema": self._old_schema}
        else:
            habits |= {"catalog killed": self._catalog_killed, "catalog frozen": self._catalog_frozen}
        if self._fill is not None:
            habits["disk full"] = self._disk_full
        return habits

    # Scripts

    def _polite(self, chance: random.Random) -> None:
        for _ in range(chance.randint(1, 3)):
            self._scripts.start(seconds=chance.uniform(0.0, 1.5))

    def _loops(self, chance: random.Random) -> None:
        at = time.time() + 2.0
        for _ in range(chance.randint(4, 8)):
            self._scripts.start(seconds=1.0, at=at)

    def _short(self, chance: random.Random) -> None:
        at = time.time() + 2.0
        for _ in range(chance.randint(3, 6)):
            self._scripts.start(at=at)

    def _forks(self, chance: random.Random) -> None:
        self._scripts.start(way="fork")

    def _pool(self, chance: random.Random) -> None:
        self._scripts.start(way="pool")

    def _unclosed(self, chance: random.Random) -> None:
        self._scripts.start(way="unclosed", seconds=chance.uniform(0.0, 1.0))

    def _asking(self, chance: random.Random) -> None:
        self._scripts.start(way="asking", seconds=chance.uniform(0.0, 1.0))
        self._scripts.start(seconds=1.0)

    def _link(self, chance: random.Random) -> None:
        link = self.folder / f"link{len(self._scripts.started)}.duckdb"
        link.symlink_to(self._path)
        self._scripts.start(address=str(link), seconds=0.5)
        self._scripts.start(seconds=0.5)

    def _two(self, chance: random.Random, seconds: float = 3.0, **config: object) -> list[Script]:
        """Start two scripts of about this length; return when both train."""
        two = [self._scripts.start(seconds=seconds * chance.uniform(0.3, 1.3), **config) for _ in range(2)]
        self._scripts.entered(two)
        time.sleep(chance.uniform(0.0, 0.5 * seconds))
        return two

    def _two_or_more(self, chance: random.Random) -> None:
        """Have scripts train, start or leave in the moment that comes next."""
        if chance.random() < 0.5:
            self._two(chance)
            return
        at = time.time() + 2.0
        for _ in range(chance.randint(2, 4)):
            self._scripts.start(seconds=0.5, at=at)
        time.sleep(chance.uniform(1.5, 3.5))  # before they open the lake, or as they leave

    # Commands and readers

    def _compact(self, chance: random.Random) -> None:
        number = len(self._scripts.started)
        self._two(chance, 4.0, **{f"key_{number}": 1.5})
        self._scripts.command("lake", "compact", may_refuse=True)
        self._scripts.start(seconds=0.5, **{f"other_{number}": "word"})
        self._scripts.command("lake", "compact", may_refuse=True)

    def _commands(self, chance: random.Random) -> None:
        self._two(chance)
        self._scripts.command("sql", "SELECT count(*) FROM runs")
        self._scripts.command("lake", "check")
        self._scripts.command("runs")

    def _reader(self, chance: random.Random) -> None:
        seconds = chance.uniform(1.0, 4.0)
        with self._blocking():
            reader = self._scripts.launched([sys.executable, "-c", READER, str(self._path), str(seconds)])
            self._two(chance, 1.0)
            with contextlib.suppress(subprocess.TimeoutExpired):
                reader.wait(LIMIT)
            reader.kill()
            reader.wait()

    def _old_schema(self, chance: random.Random) -> None:
        """Several scripts open a lake of an older version at once; it has become whole when they have left it."""
        version = chance.randint(1, len(list(STORES.iterdir())))
        path = self._path.with_name(f"old{len(self._scripts.started)}.store")
        path.write_bytes(gzip.decompress((STORES / f"schema-{version}.store.gz").read_bytes()))
        at = time.time() + 2.0
        for _ in range(chance.randint(2, 4)):
            self._scripts.start(address=str(path), seconds=0.2, at=at)

    # Faults

    def _kill_keeper(self) -> None:
        endpoint = read_endpoint(endpoint_file(self._spool))
        if endpoint is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(endpoint.pid, signal.SIGKILL)

    def _keeper_killed(self, chance: random.Random) -> None:
        self._two_or_more(chance)
        for _ in range(chance.randint(1, 3)):
            self._kill_keeper()
            time.sleep(chance.uniform(0.0, 1.0))

    def _keeper_stopped(self, chance: random.Random) -> None:
        self._two_or_more(chance)
        endpoint = read_endpoint(endpoint_file(self._spool))
        if endpoint is not None:
            with contextlib.suppress(ProcessLookupError), self._blocking():
                os.kill(endpoint.pid, signal.SIGSTOP)
                time.sleep(chance.uniform(0.5, 4.0))
                os.kill(endpoint.pid, signal.SIGCONT)

    def _script_killed(self, chance: random.Random) -> None:
        for script in self._two(chance):
            self._scripts.send(script, chance.choice((signal.SIGKILL, signal.SIGTERM)))

    def _interrupted(self, chance: random.Random) -> None:
        first, _ = self._two(chance)
        self._scripts.send(first, signal.SIGINT)
        if chance.random() < 0.3:  # some press it twice
            time.sleep(chance.uniform(0.0, 0.5))
            self._scripts.send(first, signal.SIGINT)

    def _restart_catalog(self, chance: random.Random) -> None:
        assert self._server is not None
        self._server.stop(hard=True)
        time.sleep(chance.uniform(0.2, 1.0))
        self._server.start()

    def _catalog_killed(self, chance: random.Random) -> None:
        self._two(chance, 8.0)
        with self._blocking():
            for _ in range(4):
                self._restart_catalog(chance)
                time.sleep(chance.uniform(0.5, 1.5))

    def _catalog_minute(self, chance: random.Random) -> None:
        until = time.monotonic() + MINUTE
        for _ in range(2):
            self._scripts.start(seconds=MINUTE)
        with self._blocking():
            while time.monotonic() < until:
                self._restart_catalog(chance)
                if chance.random() < 0.3:
                    self._scripts.start(seconds=chance.uniform(0.0, 2.0))
                time.sleep(1.0)

    def _catalog_frozen(self, chance: random.Random) -> None:
        assert self._server is not None
        self._two_or_more(chance)
        with self._blocking():
            self._server.freeze()
            time.sleep(chance.uniform(0.5, 4.0))
            self._server.thaw()

    def _disk_full(self, chance: random.Random) -> None:
        assert self._fill is not None
        self._two(chance)
        with self._blocking():
            self._fill(True)
            time.sleep(chance.uniform(0.5, 2.0))
            self._fill(False)

    @contextlib.contextmanager
    def _blocking(self) -> Iterator[None]:
        """Remember that nobody could be answered meanwhile."""
        began = time.time()
        try:
            yield
        finally:
            self._blocked.append((began, time.time() + AFTER))

    # Counting

    def _see(self, scripts: list[Script]) -> None:
        """See that what was left in peace is in the lake without any command, and in the file copied alone."""
        for address in {script.address for script in scripts}:
            own = [script for script in scripts if script.address == address]
            path = Path(address).resolve() if self._server is None else self._path
            is_other = self._server is None and path != self._path.resolve()
            stored = self._seen(address, path, own)
            if is_other and stored is not None:
                self._count_old(path, own, stored)

    def _seen(self, address: str, path: Path, scripts: list[Script]) -> Stored | None:
        """Return what is stored when all that is owed is there, or after a while; None when nothing can be read."""
        owed = [
            promise for script in scripts for promise in promises(script)
            if promise.left_at is not None and not any(a <= promise.left_at <= b for a, b in self._blocked)
        ]  # fmt: skip
        until, copy, is_first = time.monotonic() + LIMIT, self.folder / "copy.duckdb", True
        while owed:
            stored = stored_or_none(address, path, copy, is_shared=self._server is not None)
            if stored is not None:
                owed_still = [promise for promise in owed if not stored.has(promise)]
                if not owed_still:
                    return stored
            if is_first:
                is_first = False
                self.figures.not_at_once += 1
            if time.monotonic() > until:
                what = "nothing can be read" if stored is None else ", ".join(promise.key for promise in owed_still)
                load = os.getloadavg()[0]
                self._scripts.complain("late", f"not there without a command: {what} (load {load:.1f})")
                return stored
            time.sleep(0.2)
        return None

    def _count_old(self, path: Path, scripts: list[Script], stored: Stored) -> None:
        """Reckon a lake of an older schema, whose own runs are there still, and take it away."""
        reckon(self.figures, scripts, stored)
        with duckdb.connect(str(shutil.copyfile(path, self.folder / "old.duckdb")), read_only=True) as con:
            (count,) = con.execute("SELECT count(*) FROM runs WHERE family <> 'habit'").fetchall()[0]
        if count != OLD_RUNS:
            self._scripts.complain("missing", f"{OLD_RUNS - count} runs of the older schema are missing")

    def _settle(self) -> None:
        """See that the last one out leaves the lake whole, and nothing beside it."""
        self._scripts.command("lake", "ingest")
        left = [*self._scripts.left_over(), *self._beside()]
        self._scripts.command("runs")  # who opens a free lake finds the runs whose scripts were killed
        self.figures.left_over += len(left)
        self.figures.said += [f"  left over: {name}" for name in left]

    def _beside(self) -> list[str]:
        """Return the files beside the lakes of this experiment that nobody needs any more."""
        left = []
        for path in self._path.parent.glob("*.spool" if self._server is None else f"{self._path.name}.spool"):
            left += [f"{path.name}/{file.name}" for file in path.iterdir() if file.name != "commits.json"]
        beside = [path.name for path in self._path.parent.iterdir() if path.suffix in (".wal", ".partial", ".lock")]
        return [*left, *beside]

    def _count(self) -> None:
        is_shared = self._server is not None
        stored = stored_or_none(self.address, self._path, self.folder / "copy.duckdb", is_shared=is_shared)
        if stored is None:
            self._scripts.complain("missing", "the lake cannot be read when its file is copied alone")
            return
        others = {script.address for script in self._scripts.started if ".store" in script.address}
        reckon(self.figures, (script for script in self._scripts.started if script.address not in others), stored)
        check = subprocess.run(
            [sys.executable, "-m", "isoflop", "lake", "check", "--lake", self.address],
            capture_output=True, text=True, cwd=self.folder,
        )  # fmt: skip
        self.figures.clean = int(check.returncode == 0)
        if check.returncode:
            self.figures.said += [f"  {line}" for line in (check.stdout + check.stderr).splitlines()[:8]]


def _go_together(kind: str, other: str) -> bool:
    """Return whether two habits may meet: neither needs an answer that the other keeps from it."""
    if kind == other or {kind, other} <= CATALOG:
        return False
    return not ((kind in BLOCKING and other in ASKING) or (other in BLOCKING and kind in ASKING))
