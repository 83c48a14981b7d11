"""Sweeps that are stopped from elsewhere, go on, and are tried again where they failed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.workers.cluster import RaySession, SweepState, run_sweep
from isoflop.workers.driven import Driven, ask_to_stop, driven_file, is_driven
from isoflop.workers.sweep import Sweep, load_sweep
from tests.workers.test_cluster import OnceTraining

STEPPING = """
import json, os, pathlib, sys, time
saved = pathlib.Path(os.environ["ISOFLOP_OUTPUT"], "step")
first = int(saved.read_text()) + 1 if saved.exists() else 1
for step in range(first, 41):
    print(json.dumps({"step": step, "loss": 1 / step}), flush=True)
    saved.with_suffix(".partial").write_text(str(step))
    saved.with_suffix(".partial").replace(saved)
    time.sleep(0.1)
"""
FAILING = """
import json, os, sys
print(json.dumps({"step": 1, "loss": 1.0}))
sys.exit(int(sys.argv[1]) > 1 and not os.path.exists("mended"))
"""


@pytest.fixture
def script_of(tmp_path: Path) -> Callable[..., Sweep]:
    """Return a maker of sweeps of a script over `a`."""

    def make(script: str, *lines: str) -> Sweep:
        (tmp_path / "train.py").write_text(script)
        head = ["name: mine", "family: command", f"command: {sys.executable} train.py {{a}}", "retries: {crash: 0}"]
        (tmp_path / "sweep.yaml").write_text("\n".join([*head, *lines]) + "\n")
        return load_sweep(tmp_path / "sweep.yaml")

    return make


def test_a_file_says_who_drives_a_sweep_and_asks_it_to_stop(lakehouse: Lakehouse) -> None:
    assert not is_driven(lakehouse, "abc")
    with pytest.raises(FileNotFoundError):
        ask_to_stop(lakehouse, "abc")
    with Driven(lakehouse, "abc") as driven:
        assert is_driven(lakehouse, "abc") and not is_driven(lakehouse, "abcd") and not driven.is_asked_to_stop()
        ask_to_stop(lakehouse, "abc")
        assert driven.is_asked_to_stop() and is_driven(lakehouse, "abc")
    assert not is_driven(lakehouse, "abc") and not driven.is_asked_to_stop()


def test_what_a_dead_driver_left_drives_nothing(lakehouse: Lakehouse) -> None:
    code = "import sys; from isoflop.lakehouse.runs.provenance import process_label; print(process_label())"
    label = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    path = driven_file(lakehouse, "abc")
    path.write_text(f"{label.strip()}\n")
    assert str(os.getpid()) not in label.split(":")
    assert not is_driven(lakehouse, "abc") and not path.exists()


class OnceLogged(OnceTraining):
    """A watcher that does something when the first run has points in the lake, from which another attempt goes on."""

    def __init__(self, lakehouse: Lakehouse, action: Callable[[], None]) -> None:
        super().__init__(action)
        self._lakehouse = lakehouse

    def __call__(self, state: SweepState) -> None:
        if not self.has_acted and self._lakehouse.query("SELECT count(*) AS n FROM metrics")["n"][0].as_py():
            super().__call__(state)


@pytest.mark.slow
@pytest.mark.cluster
def test_a_sweep_is_stopped_from_elsewhere_and_goes_on(
    lakehouse: Lakehouse, script_of: Callable[..., Sweep], ray_session: RaySession
) -> None:
    sweep = script_of(STEPPING, "grid: {a: [1, 2]}", "max_concurrent: 1")
    sweep_id = lakehouse.record_sweep(name=sweep.name, spec=sweep.text, runs=sweep.expand().records)
    watch = OnceLogged(lakehouse, lambda: ask_to_stop(lakehouse, sweep_id))
    state = run_sweep(lakehouse, sweep, session=ray_session, watch=watch)
    assert watch.has_acted and (state.is_interrupted, state.exit_code, state.queued, state.finished) == (
        True,
        130,
        2,
        0,
    )
    assert lakehouse.query("SELECT status, reason FROM attempts").to_pylist() == [
        {"status": "failed", "reason": "stopped"}
    ]
    assert not is_driven(lakehouse, sweep_id)
    only = run_sweep(lakehouse, sweep, only_failed=True, session=RaySession("an.address.nobody.has:1"))
    assert (only.total, only.exit_code) == (0, 0)  # a run that was stopped has not failed
    again = run_sweep(lakehouse, sweep, session=ray_session)
    assert (again.finished, again.exit_code) == (2, 0)
    [resumed] = lakehouse.query("SELECT resumed_step FROM attempts WHERE attempt = 2")["resumed_step"].to_pylist()
    assert 1 <= resumed < 40


@pytest.mark.cluster
def test_only_what_failed_is_tried_again(
    lakehouse: Lakehouse, script_of: Callable[..., Sweep], ray_session: RaySession, tmp_path: Path
) -> None:
    state = run_sweep(lakehouse, script_of(FAILING, "grid: {a: [1, 2]}"), session=ray_session)
    assert (state.finished, state.failed) == (1, 1)
    (tmp_path / "mended").touch()
    larger = script_of(FAILING, "grid: {a: [1, 2, 3]}")
    again = run_sweep(lakehouse, larger, only_failed=True, session=ray_session)
    assert (again.total, again.skipped, again.finished, again.exit_code) == (2, 1, 1, 0)
    assert lakehouse.query("SELECT a, status FROM runs ORDER BY a").to_pylist() == [
        {"a": 1, "status": "finished"}, {"a": 2, "status": "finished"}, {"a": 3, "status": "queued"},
    ]  # fmt: skip
