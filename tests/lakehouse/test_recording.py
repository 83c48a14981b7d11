"""Recording runs by ordinary habits: several processes, forks, no close, another reader, values that change later."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import RecordError
from isoflop.lakehouse.maintenance import find_problems
from tests.keepers import kill_keeper, spool_of

USER = Path(__file__).parents[1] / "chaos" / "user.py"
LIMIT = 60.0  # seconds after which a process counts as one that never ends


def script(path: Path, number: int, way: str = "plain", **spec: Any) -> subprocess.Popen[str]:
    """Start a training script."""
    said = path.with_name(f"said{number}.txt")
    given = {"address": str(path), "key": f"k{number}", "way": way, "seconds": 0.0, "said": str(said), **spec}
    return subprocess.Popen([sys.executable, str(USER), json.dumps(given)], stderr=subprocess.PIPE, text=True)


def ended(processes: list[subprocess.Popen[str]]) -> None:
    """Wait until all have ended well."""
    until = time.monotonic() + LIMIT
    for process in processes:
        try:
            _, said = process.communicate(timeout=max(0.1, until - time.monotonic()))
        finally:
            process.kill()
        assert process.returncode == 0, said


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_processes_that_begin_and_end_together_all_end_and_all_is_there(tmp_path: Path, seconds: float) -> None:
    path = tmp_path / "runs.duckdb"
    at = time.time() + 4
    ended([script(path, number, seconds=seconds, at=at) for number in range(6)])
    with Lakehouse(path) as lake:
        rows = lake.query("SELECT status, count(*) AS n FROM runs GROUP BY ALL").to_pylist()
        assert rows == [{"status": "finished", "n": 6}]
        assert find_problems(lake).records() == []


def own(lake: Lakehouse, key: int) -> None:
    with lake.run("child", {"key": key}) as run:
        for step in range(500):
            run.log(step=step, loss=float(step))


def into(run: Any, first: int) -> None:
    for step in range(first, first + 20):
        run.log(step=step, loss=float(step))


def test_forked_and_spawned_processes_record_runs_of_their_own_and_into_their_parent_s(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with isoflop.open(path) as lake:
        with lake.run("parent", {"key": 0}) as run:
            into(run, 0)
            children: list[Any] = []
            for number, kind in enumerate(("fork", "spawn")):
                context: Any = multiprocessing.get_context(kind)
                children.append(context.Process(target=own, args=(lake, number)))
                children.append(context.Process(target=into, args=(run, 20 + 20 * number)))
            for child in children:
                child.start()
            into(run, 60)
            for child in children:
                child.join(LIMIT)
                assert child.exitcode == 0
        points = lake.query(
            "SELECT family, count(*) AS n, count(DISTINCT step) AS steps FROM metrics JOIN runs USING (run_id) "
            "WHERE metric = 'loss' GROUP BY ALL ORDER BY ALL"
        ).to_pylist()
        assert points == [{"family": "child", "n": 1000, "steps": 500}, {"family": "parent", "n": 80, "steps": 80}]
        assert lake.query("SELECT DISTINCT status FROM runs").to_pylist() == [{"status": "finished"}]
    with Lakehouse(path) as lake:
        assert find_problems(lake).records() == []


def test_a_fork_that_leaves_the_block_ends_nothing_of_its_parent_s(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    program = f"""
import isoflop, os, sys
with isoflop.open({str(path)!r}) as lake:
    lake.query("SELECT 1")
    with lake.run("mine", {{"k": 1}}) as run:
        run.log(step=1, loss=2.0)
        child = os.fork()
        if child == 0:
            sys.exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        run.log(step=2, loss=1.0)
    print(lake.query("SELECT status, loss FROM runs").to_pylist())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT)
    assert done.stdout.strip() == "[{'status': 'finished', 'loss': 1.0}]", done.stderr


def test_a_value_is_stored_as_it_was_when_it_was_logged(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    with isoflop.open(tmp_path / "runs.duckdb") as lake:
        with lake.run("mine", {"k": 1}) as run:
            tensor, array, step = torch.zeros(()), np.zeros(()), np.zeros((), dtype=np.int64)
            for _ in range(10):
                tensor += 1
                array += 1
                step += 1
                run.log(step=step, loss=tensor, other=array)  # type: ignore[arg-type]
        rows = lake.query("SELECT metric, list(value ORDER BY step) AS v FROM metrics GROUP BY ALL ORDER BY ALL")
        expected = [float(number) for number in range(1, 11)]
        assert rows.to_pylist() == [{"metric": "loss", "v": expected}, {"metric": "other", "v": expected}]


class Odd:
    """Something that fails whatever one does with it."""

    def __float__(self) -> float:
        raise AssertionError("no number")

    def __repr__(self) -> str:
        raise AssertionError("no text")

    __str__ = __repr__


def test_what_cannot_be_kept_costs_itself_only(tmp_path: Path) -> None:
    circle: dict[str, Any] = {}
    circle["circle"] = circle
    with isoflop.open(tmp_path / "runs.duckdb") as lake:
        with lake.run("odd", {"k": 1}) as run:
            run.log(step=1, loss=1.0, odd=Odd())  # type: ignore[arg-type]
            run.log(step=Odd(), loss=9.0)  # type: ignore[arg-type]
            run.log(step=2, loss=2.0)
            run.note(Odd())  # type: ignore[arg-type]
            run.summary(
                confusion={(0, 1): 5}, by={np.int64(3): np.float32(1)}, status="good", finished_at="never",
                circle=circle, odd=Odd(), kind="mine", loss=0.5,
            )  # fmt: skip
        (row,) = lake.query("SELECT status, loss, results FROM runs").to_pylist()
        assert (row["status"], row["loss"]) == ("finished", 0.5)
        results = json.loads(row["results"])
        assert results["status"] == "good" and results["confusion"] == {"(0, 1)": 5} and results["by"] == {"3": 1.0}
        steps = lake.query("SELECT step FROM metrics WHERE metric = 'loss' ORDER BY step")["step"].to_pylist()
        assert steps == [1, 2]
        assert len(lake.query("SELECT 1 FROM logs WHERE message LIKE '%not a number%'")) == 1
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        assert find_problems(lake).records() == []


def test_a_script_that_does_not_close_its_lake_leaves_a_file_that_can_be_copied_alone(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    ended([script(path, 1, way="unclosed", seconds=0.5)])
    shutil.copy(path, tmp_path / "copy.duckdb")
    with duckdb.connect(str(tmp_path / "copy.duckdb"), read_only=True) as con:
        assert con.execute("SELECT status, loss IS NOT NULL FROM runs").fetchall() == [("finished", True)]


def test_training_does_not_wait_for_a_reader_that_has_the_file_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.duckdb"
    ended([script(path, 1)])
    reading = f"import duckdb; c = duckdb.connect({str(path)!r}, read_only=True); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", reading], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None and reader.stdout.readline() == "open\n"
        began = time.monotonic()
        with isoflop.open(path) as lake:
            for key in range(3):
                with lake.run("mine", {"key": key}) as run:
                    run.log(step=1, loss=1.0)
        assert time.monotonic() - began < 30
        assert f"is held by process {reader.pid}" in capsys.readouterr().err
        reader.communicate("\n")
    with isoflop.open(path) as lake:
        lake.drain()
        rows = lake.query("SELECT count(*) AS n FROM runs WHERE status = 'finished' AND family = 'mine'").to_pylist()
        assert rows == [{"n": 3}]


@pytest.mark.slow
def test_a_keeper_that_is_killed_again_and_again_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with isoflop.open(path) as lake, lake.run("mine", {"k": 1}) as run:
        for step in range(300):
            run.log(step=step, loss=1.0)
            if step % 100 == 50:
                kill_keeper(path)
                lake.query("SELECT 1")
            time.sleep(0.005)
    with Lakehouse(path) as lake:
        assert lake.query("SELECT count(*) AS n, count(DISTINCT step) AS d FROM metrics").to_pylist() == [
            {"n": 300, "d": 300}
        ]
        assert find_problems(lake).records() == []


def test_a_run_that_goes_on_keeps_the_earlier_points_of_its_curve(tmp_path: Path) -> None:
    with isoflop.open(tmp_path / "runs.duckdb") as lake:
        for resume, steps in ((False, range(10)), (True, range(8, 15)), (14, range(15, 20))):
            with lake.run("mine", {"k": 1}, resume=resume) as run:
                for step in steps:
                    run.log(step=step, loss=float(step + 100 * bool(resume)), tokens=step * 10.0)
        curve = lake.query("SELECT step, loss FROM curves ORDER BY step").to_pylist()
        assert [row["step"] for row in curve] == list(range(20))
        assert [row["loss"] for row in curve] == [*map(float, range(8)), *(float(step + 100) for step in range(8, 20))]
        assert lake.query("SELECT attempt, tokens FROM runs").to_pylist() == [{"attempt": 3, "tokens": 190.0}]


def test_how_a_run_ended_is_what_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with isoflop.open(tmp_path / "runs.duckdb") as lake:
        for key, error in enumerate((SystemExit(0), SystemExit("no"), KeyboardInterrupt(), ValueError("no"))):
            with pytest.raises(type(error)), lake.run("mine", {"key": key}) as run:
                run.log(step=1, loss=1.0)
                raise error
        with lake.run("mine", {"key": 9}) as run:
            run.log(step=1, loss=math.nan)
        run.log(step=2, loss=1.0)
        run.log(step=3, loss=1.0)
        assert capsys.readouterr().err.count("works inside the `with` block") == 1
        rows = [
            tuple(row.values()) for row in lake.query("SELECT key, status, reason FROM runs ORDER BY key").to_pylist()
        ]
        assert rows == [
            (0, "finished", None), (1, "failed", "crash"), (2, "failed", "interrupted"), (3, "failed", "crash"),
            (9, "failed", "diverged"),
        ]  # fmt: skip


def test_people_say_which_value_of_a_metric_is_its_best(tmp_path: Path) -> None:
    with isoflop.open(tmp_path / "runs.duckdb") as lake:
        with lake.run("mine", {"k": 1}) as run:
            for step in range(5):
                run.log(step=step, loss=1.0, Accuracy=float(step), oddity=float(step))
        best = "SELECT metric, best FROM finals WHERE metric <> 'loss' ORDER BY metric"
        assert [row["best"] for row in lake.query(best).to_pylist()] == [4.0, 0.0]
        lake.metric("oddity", best="highest")
        assert [row["best"] for row in lake.query(best).to_pylist()] == [4.0, 4.0]


def test_many_threads_record_at_once_and_one_may_close(tmp_path: Path) -> None:
    lake = isoflop.open(tmp_path / "runs.duckdb")
    threads = [threading.Thread(target=own, args=(lake, number)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    closing = threading.Thread(target=lake.close)
    closing.start()
    closing.join(LIMIT)
    assert not closing.is_alive() and not list(spool_of(tmp_path / "runs.duckdb").glob("*.parquet"))
    with duckdb.connect(str(tmp_path / "runs.duckdb")) as con:
        assert con.execute("SELECT count(*) FROM metrics").fetchall() == [(6000,)]


def test_a_working_folder_with_modules_of_its_own_and_a_long_temporary_one_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "isoflop").mkdir()
    for name in ("isoflop/__init__.py", "duckdb.py", "queue.py"):
        (tmp_path / name).write_text("raise RuntimeError('not this one')\n")
    long = tmp_path / ("x" * 120) / ("y" * 60)
    long.mkdir(parents=True)
    given = {"address": "runs.duckdb", "key": "k", "way": "asking", "seconds": 0.0, "said": "said.txt"}
    root = Path(isoflop.__file__).parents[1]
    environment = {**os.environ, "TMPDIR": str(long), "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-P", str(USER), json.dumps(given)], cwd=tmp_path, env=environment, capture_output=True,
        text=True, timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "config"),
    [(1, {}), ("", {}), ("mine", {"big": 10**400}), ("mine", {"a\0b": 1}), ("mine", {"k": object()})],
)
def test_a_run_that_no_lake_could_take_is_refused_before_it_trains(
    tmp_path: Path, family: Any, config: dict[str, Any]
) -> None:
    with isoflop.open(tmp_path / "runs.duckdb") as lake:
        with pytest.raises(RecordError):
            lake.run(family, config)
        with pytest.raises(RecordError, match="resume"):
            lake.run("mine", {}, resume="yes")  # type: ignore[arg-type]
        with lake.run("mine", {"path": tmp_path, "array": np.arange(3), "day": date(2026, 1, 2)}, resume=None) as run:  # type: ignore[arg-type]
            run.log(step=1, loss=1.0)
        assert lake.query("SELECT status FROM runs").to_pylist() == [{"status": "finished"}]


def test_a_lake_that_is_removed_while_it_is_used_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with isoflop.open(path) as lake:
        with lake.run("mine", {"k": 1}) as run:
            run.log(step=1, loss=1.0)
        path.unlink()
        with lake.run("mine", {"k": 2}) as run:
            run.log(step=1, loss=1.0)
        assert lake.query("SELECT k FROM runs").to_pylist() == [{"k": 2}]
