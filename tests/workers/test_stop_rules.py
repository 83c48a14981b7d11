"""Runs that are ended by what their curves say."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from isoflop.lakehouse.errors import FileError
from isoflop.workers.cluster import RaySession, checkpoint_folder, run_sweep
from isoflop.workers.cluster.halving import Halver
from isoflop.workers.stop_rules import CurveWatch, Halving
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
    watch = CurveWatch(2.0)
    assert [watch.problem(step, loss) for step, loss in enumerate((3.0, 5.9, 1.0, 1.9, 2.0))] == [None] * 5
    assert (said := watch.problem(5, 2.1)) and "of step 5 is more than 2 times its best, 1.0000" in said
    for bad in (math.nan, math.inf, -math.inf):
        assert (said := CurveWatch(2.0).problem(7, bad)) and f"of step 7 is {bad}" in said
    below = CurveWatch(2.0)
    assert [below.problem(step, loss) for step, loss in enumerate((-1.0, 5.0, 100.0))] == [None] * 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("stop_when: {diverged: 1}", "'stop_when.diverged' is 1"),
        ("stop_when: {diverged: .inf}", "'stop_when.diverged' is inf"),
        ("stop_when: {}", "'stop_when' has no rule"),
        ("stop_when: {diverge: 2}", "unknown key 'diverge'"),
        ("stop_when: {halving: {}}", "'stop_when.halving.grace_steps' is missing"),
        ("stop_when: {halving: {grace_steps: 0}}", "'stop_when.halving.grace_steps' is 0"),
        ("stop_when: {halving: {grace_steps: 5, factor: 1}}", "'stop_when.halving.factor' is 1"),
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


HALVED = """
import json, os, sys, time
for step in range(1, 101):
    print(json.dumps({"step": step, "loss": float(sys.argv[1]) + 1 / step}), flush=True)
    time.sleep(0.05)
"""


def test_what_is_done_is_compared_with_however_late_one_looks(lakehouse: Lakehouse) -> None:
    for values, backwards in (((1, 2), False), ((3, 4), True)):  # by name, either may come first
        records = [RunRecord(family="command", config={"a": a}, seed=0, steps=100) for a in values]
        worse, better = sorted(records, key=lambda record: record.run_id, reverse=backwards)
        lakehouse.record_runs([worse, better])
        attempts = lakehouse.begin_attempts([worse.run_id, better.run_id], "test")
        for record, steps, loss in ((worse, 12, 3.0), (better, 100, 2.0)):
            with Spool(lakehouse.spool_folder, record.run_id, attempts[record.run_id]) as spool:
                for step in range(1, steps + 1):
                    spool.log(step, loss=loss + 1 / step)
        lakehouse.drain()
        halver = Halver(lakehouse, Halving(grace_steps=10, factor=2), [worse, better])
        ended = halver.losers([(worse.run_id, attempts[worse.run_id])])
        assert list(ended.values()) == ["stop_when: halving at step 10: others had less than 3.1000"]


@pytest.mark.slow
@pytest.mark.cluster
def test_halving_ends_what_is_worse_than_the_others_were(
    lakehouse: Lakehouse, ray_session: RaySession, tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text(HALVED)
    (tmp_path / "sweep.yaml").write_text(
        f"name: halved\nfamily: command\ncommand: {sys.executable} train.py {{a}}\ngrid: {{a: [2, 3, 1]}}\n"
        "given: {steps: 100}\nmax_concurrent: 1\nstop_when: {halving: {grace_steps: 10, factor: 2}}\n"
    )
    sweep = load_sweep(tmp_path / "sweep.yaml")
    state = run_sweep(lakehouse, sweep, session=ray_session)
    assert (state.finished, state.stopped_early, state.failed, state.exit_code) == (2, 1, 0, 0), state
    found = lakehouse.query("SELECT a, status, reason, error, last_step FROM runs ORDER BY a").to_pylist()
    assert [(row["a"], row["status"], row["reason"]) for row in found] == [
        (1, "finished", None), (2, "finished", None), (3, "failed", "stopped_early"),
    ]  # fmt: skip
    assert found[2]["error"] == "stop_when: halving at step 10: others had less than 3.1000"
    assert 10 <= found[2]["last_step"] < 100 and not checkpoint_folder(lakehouse).exists()
    # What was trained before is what others are compared with: of two new ones the worse is ended, and nothing again.
    more = run_sweep(lakehouse, load_sweep(tmp_path / "sweep.yaml", ["grid.a=[2,3,1,4,0]"]), session=ray_session)
    assert (more.skipped, more.finished, more.stopped_early) == (3, 1, 1), more


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("given={}", "'halving' needs the steps of each run"),
        ("given={steps: 9}", "'grace_steps' is 10, and no run has more than 9 steps"),
    ],
)
def test_halving_needs_to_know_the_steps(
    lakehouse: Lakehouse, ray_session: RaySession, tmp_path: Path, change: str, said: str
) -> None:
    (tmp_path / "sweep.yaml").write_text(
        "name: halved\nfamily: command\ncommand: python train.py {a}\ngrid: {a: [2, 3]}\n"
        "given: {steps: 100}\nstop_when: {halving: {grace_steps: 10}}\n"
    )
    with pytest.raises(FileError, match=said):
        run_sweep(lakehouse, load_sweep(tmp_path / "sweep.yaml", [change]), session=ray_session)
