"""Scripts of a user's as sweeps on a real Ray."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.workers.cluster import RaySession, SweepState, checkpoint_folder, run_sweep
from isoflop.workers.sweep import Sweep, load_sweep
from tests.workers.test_cluster import OnceTraining, processes_training
from tests.workers.test_commands import is_alive, until

pytestmark = pytest.mark.cluster

PRINTING = """
import argparse, json, sys
parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int)
parser.add_argument("--seed", type=int)
given = parser.parse_args()
print(f"width {given.width}")
for step in (1, 2):
    print(json.dumps({"step": step, "loss": 1.5 + 40 / given.width**0.5 + 1e-3 * given.seed + (2 - step)}))
print("careful", file=sys.stderr)
"""
LOGGING = """
import isoflop
with isoflop.run() as run:
    for step in (1, 2):
        run.log(step=step, loss=run.config["width"] / step, tokens=100 * step)
    run.summary(params=12 * run.config["width"] ** 2)
"""
WRITING = """
import sys
with open(sys.argv[1] + "/metrics.csv", "w") as out:
    out.write("iter,train_loss\\n1,3.5\\n2,2.5\\n")
"""
FAILING_ONCE = """
import json, os, pathlib, sys
saved = pathlib.Path(os.environ["ISOFLOP_OUTPUT"], "saved")
first = int(saved.read_text()) if saved.exists() else 0
for step in range(first + 1, 7):
    print(json.dumps({"step": step, "loss": 1 / step}), flush=True)
    saved.write_text(str(step))
    if step == 3:
        sys.exit("out of luck in attempt " + os.environ["ISOFLOP_ATTEMPT"])
"""
HANGING = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "a").write(f"{os.getpid()} {child.pid}\\n")
time.sleep(600)
"""
MODULE = """
def main(config, run):
    for step in (1, 2, 3):
        run.log(step=step, loss=config["width"] + 1 / step)
"""


@pytest.fixture
def script_of(tmp_path: Path) -> Callable[..., Sweep]:
    """Return a maker of sweeps that run a script beside their file, wherever the test runs."""

    def make(script: str, words: str, *lines: str) -> Sweep:
        (tmp_path / "train.py").write_text(script)
        head = ["name: mine", "family: command", f"command: {sys.executable} train.py {words}"]
        (tmp_path / "sweep.yaml").write_text("\n".join([*head, *lines]) + "\n")
        return load_sweep(tmp_path / "sweep.yaml")

    return make


def rows(lake: Lakehouse, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lake.query(sql).to_pylist()
    return found


def test_what_a_script_prints_is_its_curve_and_a_law_follows(
    lakehouse: Lakehouse, script_of: Callable[..., Sweep], ray_session: RaySession
) -> None:
    sweep = script_of(
        PRINTING, "--width {width} --seed {seed}", "grid: {width: [16, 64, 256, 1024]}", "seeds: 2",
        "given: {params: 12 * width ** 2, tokens: 1e6}", "loss_unit: nat/token",
    )  # fmt: skip
    state = run_sweep(lakehouse, sweep, session=ray_session)
    assert (state.finished, state.exit_code) == (8, 0), state
    assert rows(lakehouse, "SELECT loss, params, tokens, loss_unit FROM runs WHERE width = 64 AND seed = 1") == [
        {"loss": 1.5 + 40 / 8 + 1e-3, "params": 12 * 64**2, "tokens": 1e6, "loss_unit": "nat/token"}
    ]
    assert rows(lakehouse, "SELECT count(*) AS n FROM curves") == [{"n": 16}]
    assert rows(lakehouse, "SELECT DISTINCT level, message FROM logs WHERE message IN ('width 64', 'careful')"
                " ORDER BY level") == [
        {"level": "info", "message": "width 64"}, {"level": "warning", "message": "careful"},
    ]  # fmt: skip
    with isoflop.open(lakehouse.path) as lake:
        fit = lake.sql("FIT loss ~ power(params) FROM runs WITH (resamples = 0)").records()[0]["coefficients"]
    assert fit["E"] == pytest.approx(1.5, abs=0.01) and fit["alpha"] == pytest.approx(0.25, abs=0.01)
    again = run_sweep(lakehouse, sweep, session=RaySession("an.address.nobody.has:1"))
    assert (again.skipped, again.exit_code) == (8, 0)
    assert not checkpoint_folder(lakehouse).exists()


def test_a_script_logs_through_isoflop_or_a_file(
    lakehouse: Lakehouse, script_of: Callable[..., Sweep], ray_session: RaySession
) -> None:
    state = run_sweep(lakehouse, script_of(LOGGING, "{width}", "grid: {width: 8}"), session=ray_session)
    assert (state.finished, state.exit_code) == (1, 0), state
    assert rows(lakehouse, "SELECT loss, params, tokens, attempt FROM runs") == [
        {"loss": 4.0, "params": 768, "tokens": 200, "attempt": 1}
    ]
    sweep = script_of(WRITING, "'{output}'", "metrics: metrics.csv", "tags: file")
    state = run_sweep(lakehouse, sweep, session=ray_session)
    assert (state.finished, state.exit_code) == (1, 0), state
    assert rows(lakehouse, "SELECT loss FROM runs WHERE len(tags) = 1") == [{"loss": 2.5}]
    [run] = sweep.expand().records
    assert lakehouse.path.with_name(f"{lakehouse.path.name}.outputs").joinpath(run.run_id, "metrics.csv").exists()


def test_a_second_attempt_goes_on_from_the_first_ones_folder(
    lakehouse: Lakehouse, script_of: Callable[..., Sweep], ray_session: RaySession
) -> None:
    state = run_sweep(lakehouse, script_of(FAILING_ONCE, "{a}", "grid: {a: 1}"), session=ray_session)
    assert (state.finished, state.retried, state.exit_code) == (1, 1, 0), state
    assert rows(lakehouse, "SELECT attempt, status, reason, error, resumed_step FROM attempts ORDER BY attempt") == [
        {"attempt": 1, "status": "failed", "reason": "crash", "error": "exit code 1: out of luck in attempt 1",
         "resumed_step": None},
        {"attempt": 2, "status": "finished", "reason": None, "error": None, "resumed_step": 3},
    ]  # fmt: skip
    assert rows(lakehouse, "SELECT step, point_attempt AS attempt FROM curves ORDER BY step") == [
        {"step": step, "attempt": 1 if step <= 3 else 2} for step in range(1, 7)
    ]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_script_that_hangs_is_ended_with_all_its_processes(
    lakehouse: Lakehouse, script_of: Callable[..., Sweep], ray_session: RaySession, tmp_path: Path
) -> None:
    sweep = script_of(HANGING, "pids", "timeout: 2 s", "retries: {timeout: 1}")
    began = time.monotonic()
    state = run_sweep(lakehouse, sweep, session=ray_session)
    assert (state.failed, state.retried, state.failures[0].reason) == (1, 1, "timeout")
    assert time.monotonic() - began < 30  # neither the driver's patience nor SIGKILL was needed
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 4 and not any(map(is_alive, pids))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
@pytest.mark.parametrize("end", ["worker", "interrupt"])
def test_a_lost_worker_and_ctrl_c_leave_no_orphan(
    lakehouse: Lakehouse, script_of: Callable[..., Sweep], ray_session: RaySession, tmp_path: Path, end: str
) -> None:
    def act() -> None:
        assert until(lambda: (tmp_path / "pids").exists())
        if end == "interrupt":
            signal.raise_signal(signal.SIGINT)
        for pid in processes_training("mine") if end == "worker" else ():
            os.kill(pid, signal.SIGKILL)

    watch = OnceTraining(act)
    sweep = script_of(HANGING, "pids", "retries: {crash: 0}")
    state: SweepState = run_sweep(lakehouse, sweep, session=ray_session, watch=watch)
    assert watch.has_acted and state.exit_code == (4 if end == "worker" else 130)
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2 and until(lambda: not any(map(is_alive, pids)))


def test_a_function_is_an_entry(
    lakehouse: Lakehouse, script_of: Callable[..., Sweep], ray_session: RaySession, tmp_path: Path
) -> None:
    (tmp_path / "my_module.py").write_text(MODULE)
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(
        "name: mine\nfamily: command\nentry: my_module:main\ngrid: {width: [1, 2]}\nresources: {cpus: 1}\n"
    )
    state = run_sweep(lakehouse, load_sweep(sweep), session=ray_session)
    assert (state.finished, state.exit_code) == (2, 0), state
    assert rows(lakehouse, "SELECT width, loss FROM runs ORDER BY width") == [
        {"width": 1, "loss": 1 + 1 / 3}, {"width": 2, "loss": 2 + 1 / 3},
    ]  # fmt: skip
    wrong = load_sweep(sweep, ["entry=my_module:train", "retries={crash: 0}", "grid.width=1"])
    state = run_sweep(lakehouse, wrong, session=ray_session)
    assert state.failures[0].error and "'my_module' has no function 'train'" in state.failures[0].error
