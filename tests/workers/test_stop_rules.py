"""Runs that are ended by what their curves say."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import FileError
from isoflop.workers.cluster import RaySession, checkpoint_folder, run_sweep
from isoflop.workers.stop_rules import CurveWatch, StopWhen
from isoflop.workers.sweep import checked_sweeps, load_sweep
from isoflop.workers.sweep_file import parse_documents

# Falls to 1; the second then rises for ever, the third is not a number, and both would go on for ten minutes.
RISING = """
import json, sys, time
kind = int(sys.argv[1])
for step in range(1, 6000):
    loss = max(1.0, 5.0 - step) if kind == 1 or step < 8 else 0.5 * step if kind == 2 else float("nan")
    print(json.dumps({"step": step, "loss": loss}), flush=True)
    if kind == 1 and step == 12:
        break
    time.sleep(0.1 if step > 8 else 0)
"""


def test_only_a_loss_that_does_not_come_back_ends_a_run() -> None:
    watch = CurveWatch(StopWhen(diverged=2.0))
    assert [watch.problem(step, loss) for step, loss in enumerate((3.0, 5.9, 1.0, 1.9, 2.0))] == [None] * 5
    assert (said := watch.problem(5, 2.1)) and "of step 5 is more than 2 times its best, 1.0000" in said
    for bad in (math.nan, math.inf, -math.inf):
        assert (said := CurveWatch(StopWhen(diverged=2.0)).problem(7, bad)) and f"of step 7 is {bad}" in said
    below = CurveWatch(StopWhen(diverged=2.0))
    assert [below.problem(step, loss) for step, loss in enumerate((-1.0, 5.0, 100.0))] == [None] * 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("stop_when: {diverged: 1}", "'stop_when.diverged' is 1"),
        ("stop_when: {diverged: .inf}", "'stop_when.diverged' is inf"),
        ("stop_when: {}", "'stop_when.diverged' is missing"),
        ("stop_when: {diverge: 2}", "'stop_when.diverged' is missing"),
        ("stop_when: 3", "'stop_when' is 3"),
    ],
)
def test_a_wrong_rule_is_refused(line: str, said: str) -> None:
    text = f"name: s\nfamily: plrf\ngrid: {{width: 8, spectrum_exponent: 1.0, target_exponent: 0.8}}\n{line}\n"
    with pytest.raises(FileError) as caught:
        checked_sweeps(parse_documents(text, "s.yaml"))
    assert said in str(caught.value)


@pytest.mark.cluster
def test_scripts_that_diverge_are_ended_and_have_a_result(
    lakehouse: Lakehouse, ray_session: RaySession, tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text(RISING)
    (tmp_path / "sweep.yaml").write_text(
        f"name: rising\nfamily: command\ncommand: {sys.executable} train.py {{kind}}\ngrid: {{kind: [1, 2, 3]}}\n"
        "stop_when: {diverged: 3}\n"
    )
    sweep = load_sweep(tmp_path / "sweep.yaml")
    began = time.monotonic()
    state = run_sweep(lakehouse, sweep, session=ray_session)
    assert (state.finished, state.diverged, state.retried, state.exit_code) == (1, 2, 0, 0), state
    assert time.monotonic() - began < 60
    found = lakehouse.query("SELECT kind, status, reason, attempt, error FROM runs ORDER BY kind").to_pylist()
    assert [(row["status"], row["reason"], row["attempt"]) for row in found] == [
        ("finished", None, 1), ("failed", "diverged", 1), ("failed", "diverged", 1),
    ]  # fmt: skip
    assert found[1]["error"] == "stop_when: the loss 4.0000 of step 8 is more than 3 times its best, 1.0000"
    assert found[2]["error"] == "stop_when: the loss of step 8 is nan"
    assert not checkpoint_folder(lakehouse).exists()
    assert run_sweep(lakehouse, sweep, session=RaySession("an.address.nobody.has:1")).skipped == 3


@pytest.mark.cluster
def test_a_run_of_a_pack_is_ended_without_the_others(
    lakehouse: Lakehouse, ray_session: RaySession, tmp_path: Path
) -> None:
    (tmp_path / "s.yaml").write_text(
        "name: features\nfamily: plrf\nstop_when: {diverged: 3}\nresources: {cpus: 2}\n"
        "grid: {width: 8, spectrum_exponent: 1.0, target_exponent: 0.8, steps: 20000, learning_rate: [0.1, 0.9]}\n"
    )
    state = run_sweep(lakehouse, load_sweep(tmp_path / "s.yaml"), session=ray_session)
    assert (state.finished, state.diverged, state.exit_code) == (1, 1, 0), state
    [row] = lakehouse.query("SELECT learning_rate, error FROM runs WHERE reason = 'diverged'").to_pylist()
    assert row["learning_rate"] == 0.9 and row["error"].startswith("stop_when: "), row
