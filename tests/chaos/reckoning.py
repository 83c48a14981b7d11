"""What scripts were promised by a lake, and what has become of it.

A script says in a file of its own what it has on disk and which `with` blocks it has left (`user.py`). From that
follow the points that must be stored, once and with their values, and how the runs must have ended.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StoreError
from tests.chaos.user import INTO_PARENT, OWN, OWN_LOSS, loss_at

COUNTED = (
    "points", "stored", "missing", "late", "doubled", "hung", "dead", "wrong", "left_over", "lakes", "clean",
    "not_at_once",
)  # fmt: skip
LAST_OF_PARENT = 100  # points that a script logs before it forks
FINISHED = ("finished", None)
INTERRUPTED = ("failed", "interrupted")
LOST = ("lost", "driver_died")
Ending = tuple[str, str | None]  # status, reason

POINTS = """
SELECT r.key, m.step, count(*) AS n, min(m.value) AS lowest, max(m.value) AS highest
FROM metrics m JOIN runs r USING (run_id) WHERE m.metric = 'loss' AND r.family = 'habit' GROUP BY ALL
"""
ENDS = """
SELECT r.key, any_value(r.status) AS status, any_value(r.reason) AS reason, count(a.attempt) AS attempts
FROM runs r LEFT JOIN attempts a USING (run_id) WHERE r.family = 'habit' GROUP BY r.key
"""


@dataclass
class Figures:
    """What happened to lakes and what came of it; lakes add up."""

    moments: Counter[str] = field(default_factory=Counter)
    beside: Counter[str] = field(default_factory=Counter)  # what happened at the same moment
    points: int = 0
    stored: int = 0
    missing: int = 0
    late: int = 0  # runs whose block was left in peace and that are not there without a command
    doubled: int = 0
    hung: int = 0
    dead: int = 0
    wrong: int = 0  # runs whose status or values are not what was logged
    left_over: int = 0
    lakes: int = 0
    clean: int = 0
    not_at_once: int = 0  # moments after which the lake was whole a little later, not at once; no fault
    seconds: float = 0.0
    said: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is lost, late, doubled, hung, dead, wrong or left over."""
        bad = self.missing + self.late + self.doubled + self.hung + self.dead + self.wrong + self.left_over
        return not bad and self.clean == self.lakes

    def __str__(self) -> str:
        line = (
            f"{sum(self.moments.values())} moments in {self.seconds:.0f} s, {self.points:,} points on disk, "
            f"{self.stored:,} stored, missing {self.missing}, late {self.late}, doubled {self.doubled}, "
            f"hung {self.hung}, dead {self.dead}, wrong {self.wrong}, left over {self.left_over}, "
            f"check {'clean' if self.clean == self.lakes else 'NOT CLEAN'}"
        )
        return "\n".join((line, *self.said))

    def __add__(self, other: Figures) -> Figures:
        counted = {name: getattr(self, name) + getattr(other, name) for name in COUNTED}
        return Figures(
            self.moments + other.moments,
            self.beside + other.beside,
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
    address : of its lake
    key : what its runs are found by
    said : the file in which it says what it has done
    due : time of the monotonic clock at which it should have ended
    way : how it trains
    signals : what it was killed or interrupted with; such a script need not have ended well
    """

    process: subprocess.Popen[bytes]
    address: str
    key: str
    said: Path
    due: float
    way: str = "plain"
    signals: list[str] = field(default_factory=list)

    def lines(self) -> list[list[str]]:
        """Return what it has said so far, in words."""
        return [line.split() for line in self.said.read_text().splitlines()] if self.said.exists() else []

    def has_said(self, word: str) -> bool:
        """Return whether it has said this."""
        return any(words[0] == word for words in self.lines())


@dataclass(frozen=True)
class Promise:
    """What must be in the lake of one run.

    Parameters
    ----------
    key : of the run
    num_points : the steps below this number are stored
    ending : how it has ended, None where that is not certain
    left_at : when its block had been left, by the clock of the day; None for one that was not left
    """

    key: str
    num_points: int
    ending: Ending | None
    left_at: float | None = None


def promises(script: Script) -> list[Promise]:
    """Return the runs of a script."""
    lines = script.lines()
    upto = max((int(words[1]) for words in lines if words[0] == "upto"), default=0)
    left_at = next((float(words[1]) for words in lines if words[0] == "left"), None)
    is_done = script.has_said("done")
    match script.way:
        case "fork":
            own = [Promise(f"{script.key}.{k}", OWN, FINISHED, left_at) for k in range(2)] if is_done else []
            into = LAST_OF_PARENT + INTO_PARENT if is_done else 0
            return [Promise(script.key, into, FINISHED if left_at else None, left_at), *own]
        case "pool":
            return [Promise(f"{script.key}.{k}", OWN, FINISHED, left_at) for k in range(4)] if is_done else []
        case "many":
            done = [int(words[1]) for words in lines if words[0] == "run"]
            return [Promise(f"{script.key}.{number}", 1, FINISHED) for number in done]
    if left_at is not None:
        return [Promise(script.key, upto, FINISHED, left_at)]
    if script.signals == ["SIGINT"]:  # a second one may come while the points are written
        upto = max((int(words[1]) for words in lines if words[0] in ("upto", "interrupted")), default=0)
    return [Promise(script.key, upto, _ending_of_killed(script, upto))]


def _ending_of_killed(script: Script, upto: int) -> Ending | None:
    """Return how a run ended whose block was not left, None where the signal may have come before or after it."""
    if script.has_said("leaving") or not script.has_said("entered"):
        return None
    if script.signals == ["SIGINT"]:
        return INTERRUPTED if script.has_said("interrupted") else None
    # Before the first points were on disk the lake may not have heard of the run.
    return LOST if script.signals and script.signals[-1] != "SIGINT" and upto else None


@dataclass
class Stored:
    """What lies in a lake: points by run and step, as (count, lowest, highest), and by run its end and attempts."""

    points: dict[str, dict[int, tuple[int, float, float]]] = field(default_factory=dict)
    ends: dict[str, tuple[Ending, int]] = field(default_factory=dict)

    def has(self, promise: Promise) -> bool:
        """Whether all that was promised of a run is there."""
        points = self.points.get(promise.key, {})
        ending = self.ends.get(promise.key, (None, 0))[0]
        return all(step in points for step in range(promise.num_points)) and promise.ending in (None, ending)


def stored_in_file(path: Path, copy: Path) -> Stored:
    """Return what the lake's file holds when it is copied alone and opened by plain DuckDB.

    Raises
    ------
    duckdb.Error : if the copy is not whole
    """
    shutil.copyfile(path, copy)
    try:
        with duckdb.connect(str(copy), read_only=True) as con:
            return _stored(con.execute(POINTS).fetchall(), con.execute(ENDS).fetchall())
    finally:
        copy.unlink()


def stored_in_catalog(address: str) -> Stored:
    """Return what a shared lake holds.

    Raises
    ------
    StoreError, duckdb.Error : if it cannot be read
    """
    with Lakehouse(address, read_only=True) as lake:
        points, ends = lake.query(POINTS).to_pylist(), lake.query(ENDS).to_pylist()
    return _stored([tuple(row.values()) for row in points], [tuple(row.values()) for row in ends])


def stored_or_none(address: str, path: Path, copy: Path, *, is_shared: bool) -> Stored | None:
    """Return what a lake holds at this moment, None when it cannot be read."""
    with contextlib.suppress(StoreError, duckdb.Error, OSError):
        return stored_in_catalog(address) if is_shared else stored_in_file(path, copy)
    return None


def _stored(points: Iterable[Sequence[object]], ends: Iterable[Sequence[object]]) -> Stored:
    stored = Stored()
    for key, step, *found in points:
        stored.points.setdefault(str(key), {})[int(str(step))] = tuple(found)  # type: ignore[assignment]
    for key, status, reason, attempts in ends:
        stored.ends[str(key)] = ((str(status), None if reason is None else str(reason)), int(str(attempts)))
    return stored


def reckon(figures: Figures, scripts: Iterable[Script], stored: Stored) -> None:
    """Compare what a lake holds in the end with what its scripts were promised."""
    figures.stored += sum(count for points in stored.points.values() for count, _, _ in points.values())
    figures.doubled += sum(count - 1 for points in stored.points.values() for count, _, _ in points.values())
    for script in scripts:
        for promise in promises(script):
            points = stored.points.get(promise.key, {})
            missing = [step for step in range(promise.num_points) if step not in points]
            figures.points += promise.num_points
            figures.missing += len(missing)
            ending, attempts = stored.ends.get(promise.key, (None, 0))
            figures.doubled += max(0, attempts - 1)  # nobody begins a run twice
            complaints = list(_differences(script, promise, points, ending))
            figures.wrong += bool(complaints)
            if missing:
                complaints.append(f"{len(missing)} of {promise.num_points} points missing, from step {missing[0]}")
            if attempts > 1:
                complaints.append(f"{attempts} attempts")
            figures.said += [f"  {script.way} {promise.key}: {complaint}" for complaint in complaints]


def _differences(
    script: Script, promise: Promise, points: dict[int, tuple[int, float, float]], ending: Ending | None
) -> Iterator[str]:
    is_plain = script.way in ("plain", "unclosed", "asking")
    for step, (_, lowest, highest) in points.items():
        expected = loss_at(step) if is_plain else OWN_LOSS
        if not lowest == highest == expected:
            yield f"step {step} is {lowest} to {highest} instead of {expected}"
            break
    if promise.ending is not None and ending != promise.ending:
        yield f"{ending} instead of {promise.ending} (signals: {', '.join(script.signals) or 'none'})"
