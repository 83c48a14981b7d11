"""Kill, freeze, fill, and ordinary habits at random moments: what was acknowledged is there, once.

`make chaos` is the long form.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse
from tests.chaos.habits import Habits
from tests.chaos.harness import Chaos
from tests.chaos.reckoning import Figures, Script, Stored, promises, reckon, stored_in_file
from tests.chaos.user import loss_at
from tests.postgres import Postgres, missing


@pytest.mark.slow
def test_a_file_survives_killed_workers_and_holders(tmp_path: Path) -> None:
    figures = Chaos(str(tmp_path / "runs.duckdb"), tmp_path, seed=1, workers=2, steps=6_000).run(seconds=5)
    print(figures)
    assert sum(figures.faults.values()) >= 3
    assert figures.is_whole, str(figures) + (tmp_path / "messages.txt").read_text()


@pytest.mark.slow
def test_a_shared_catalog_survives_killed_workers_committers_and_postgresql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    monkeypatch.setenv("PGPASSWORD", Postgres.PASSWORD)
    server = Postgres()
    try:
        address = server.address(tmp_path / "data")
        figures = Chaos(address, tmp_path, seed=2, workers=2, steps=4_000, server=server).run(seconds=5)
    finally:
        server.close()
    print(figures)
    assert figures.is_whole, str(figures) + (tmp_path / "messages.txt").read_text()


@pytest.mark.slow
def test_ordinary_habits_cost_a_file_nothing(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    figures = Habits(str(tmp_path / "disk" / "runs.duckdb"), tmp_path, seed=21, moments=4).run()
    assert figures.is_whole and figures.points > 0, str(figures)


@pytest.mark.slow
def test_ordinary_habits_cost_a_shared_catalog_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    monkeypatch.setenv("PGPASSWORD", Postgres.PASSWORD)
    server = Postgres()
    try:
        address = server.address(tmp_path / "data")
        figures = Habits(address, tmp_path, seed=36, moments=3, server=server).run()
    finally:
        server.close()
    assert figures.is_whole and figures.points > 0, str(figures)


def script(folder: Path, key: str, *said: str, signals: tuple[str, ...] = ()) -> Script:
    """A script that has ended and said this."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    path = folder / f"{key}.txt"
    path.write_text("".join(f"{line}\n" for line in said))
    return Script(process, "", key, path, 0.0, signals=list(signals))


def test_what_is_lost_doubled_or_wrong_is_counted(tmp_path: Path) -> None:
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        for key in ("whole", "short", "twice", "other value", "unfinished"):
            for attempt in range(2 if key == "twice" else 1):
                with lake.run("habit", {"key": key}) as run:
                    for step in range(9 if key == "short" else 10):
                        run.log(step=step, loss=loss_at(step) + (key == "other value") + 0 * attempt)
    stored = stored_in_file(tmp_path / "runs.duckdb", tmp_path / "copy.duckdb")
    left = ("entered", "upto 10", "leaving", "left 1.0", "done")
    found = {}
    for key in ("whole", "short", "twice", "other value"):
        found[key] = Figures()
        reckon(found[key], [script(tmp_path, key, *left)], stored)
    killed = script(tmp_path, "unfinished", "entered", "upto 10", signals=("SIGKILL",))
    found["unfinished"] = Figures()
    reckon(found["unfinished"], [killed], stored)
    assert [(key, figures.missing, figures.wrong) for key, figures in found.items()] == [
        ("whole", 0, 0), ("short", 1, 0), ("twice", 0, 0), ("other value", 0, 1), ("unfinished", 0, 1),
    ]  # fmt: skip
    assert found["twice"].doubled == 10 + 1  # each point of the second attempt, and the attempt
    assert not any(found[key].is_whole for key in ("short", "twice", "other value", "unfinished"))
    alone = Figures()
    reckon(alone, [script(tmp_path, "whole", *left)], Stored({"whole": stored.points["whole"]}, stored.ends))
    assert alone.is_whole and alone.points == alone.stored == 10
    assert not stored.has(promises(script(tmp_path, "short", *left))[0])


def test_how_a_killed_script_must_have_ended_is_said_only_where_it_is_certain(tmp_path: Path) -> None:
    begun = ("entered", "upto 50")
    cases: list[tuple[tuple[str, ...], tuple[str, ...], object]] = [
        (begun, ("SIGTERM",), ("lost", "driver_died")),
        (("entered",), ("SIGKILL",), None),
        ((*begun, "leaving"), ("SIGKILL",), None),
        ((*begun, "interrupted 61"), ("SIGINT",), ("failed", "interrupted")),
        ((*begun, "interrupted 61"), ("SIGINT", "SIGINT"), None),
        ((*begun, "leaving", "left 3.0"), (), ("finished", None)),
    ]
    counts = [50, 0, 50, 61, 50, 50]
    for number, ((said, signals, ending), count) in enumerate(zip(cases, counts, strict=True)):
        (promise,) = promises(script(tmp_path, str(number), *said, signals=signals))
        assert (promise.ending, promise.num_points) == (ending, count), said
