"""What a sweep may take: budgets, costs of attempts, and how many runs fit."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import FileError
from isoflop.lakehouse.runs.records import RunRecord
from isoflop.workers.budget import AttemptCost, Budget, Cost, Spending, attempt_costs, how_many_fit
from isoflop.workers.cluster import RaySession, SweepState, run_sweep
from isoflop.workers.standing import standing, stands
from isoflop.workers.sweep import checked_sweeps, load_sweep
from isoflop.workers.sweep_file import parse_documents

SLEEPING = """
import json, sys, time
time.sleep(0.7)
print(json.dumps({"step": 1, "loss": 1 / float(sys.argv[1])}))
"""


def spending_of(*costs: tuple[str, float | None, float | None]) -> Spending:
    return Spending(
        AttemptCost(f"run{number}", 1, status, Cost(flops, seconds))
        for number, (status, flops, seconds) in enumerate(costs)
    )


@pytest.mark.parametrize(
    ("budget", "used", "wanted", "fit"),
    [
        ({"flops": 10.0}, 0.0, [3, 3, 3, 3], 3),
        ({"flops": 12.0}, 0.0, [3, 3, 3, 3], 4),
        ({"flops": 12.0}, 6.1, [3, 3], 1),
        ({"flops": 1.0}, 0.0, [3], 0),
        ({"flops": 10.0, "seconds": 5.0}, 2.0, [2, 2, 2], 0),  # two seconds a FLOP: 4 are used, 4 more do not fit
        ({"flops": 0.3}, 0.1, [0.1, 0.1], 2),  # 0.1 + 0.2 is a little more than 0.3
        ({"dollars": 1.0, "price": 3600.0}, 0.1, [0.2, 0.2], 2),  # a dollar a second
    ],
)
def test_runs_fit_in_their_order(budget: Mapping[str, float], used: float, wanted: list[float], fit: int) -> None:
    spending = spending_of(("finished", used, 2 * used)) if used else spending_of()
    expected = [spending.expected(flops) for flops in wanted]
    assert how_many_fit(Budget(**budget), spending, expected, {}) == fit


def test_what_trains_is_counted_whole_and_at_least_with_what_it_took() -> None:
    spending = spending_of(("finished", 4.0, 4.0), ("running", 1.0, 1.0))
    flying = {("run1", 1): spending.expected(4.0)}
    wanted = [spending.expected(4.0)]
    assert how_many_fit(Budget(flops=12.0), spending, wanted, flying) == 1
    assert how_many_fit(Budget(flops=11.9), spending, wanted, flying) == 0
    longer = spending_of(("finished", 4.0, 4.0), ("running", 7.0, 7.0))
    assert how_many_fit(Budget(flops=14.9), longer, wanted, flying) == 0
    assert how_many_fit(Budget(flops=15.0), longer, wanted, flying) == 1


def test_where_nothing_is_measured_one_run_goes_first() -> None:
    nothing, unknown = spending_of(), [Cost(), Cost(), Cost()]
    assert how_many_fit(Budget(seconds=1.0), nothing, unknown, {}) == 1
    assert how_many_fit(Budget(seconds=1.0), nothing, unknown, {("a", 1): Cost()}) is None
    after = spending_of(("finished", None, 0.4))
    assert how_many_fit(Budget(seconds=1.3), after, [after.expected(None)] * 3, {}) == 2
    assert how_many_fit(Budget(seconds=0.4), after, [after.expected(None)] * 3, {}) == 0


def test_attempts_cost_what_they_did_themselves(lakehouse: Lakehouse) -> None:
    run = RunRecord(family="mine", config={"a": 1}, seed=0, flops=100.0, steps=10)
    lakehouse.record_sweep(name="s", spec="name: s\nfamily: plrf\n", runs=[run])
    # Trained 4 steps in 4 s, killed; went on after step 3 for 2 s until it crashed at step 5; then afresh to the end.
    attempts: list[tuple[int, str, int | None, float | None, int]] = [
        (1, "lost", None, None, 4), (2, "failed", 3, 6.0, 5), (3, "finished", None, 10.0, 10),
    ]  # fmt: skip
    for attempt, status, resumed, seconds, last in attempts:
        assert lakehouse.begin_attempts([run.run_id], "host:1:1") == {run.run_id: attempt}
        lakehouse.end_attempt(run.run_id, attempt, status)
        ended = (
            "UPDATE store.attempts SET started_at = TIMESTAMP '2026-01-01 00:00:00', resumed_step = ?, "
            "heartbeat_at = TIMESTAMP '2026-01-01 00:00:04', finished_at = NULL, train_seconds = ? WHERE attempt = ?",
            [resumed, seconds, attempt],
        )
        points = (
            "INSERT INTO store.finals (run_id, attempt, metric, last, last_step) VALUES (?, ?, 'loss', 1.0, ?)",
            [run.run_id, attempt, last],
        )
        lakehouse.write([ended, points])
    costs = attempt_costs(lakehouse, [run.run_id])
    assert [each.cost for each in costs] == [Cost(40.0, 4.0), Cost(10.0, 2.0), Cost(100.0, 10.0)]
    assert Spending(costs).used() == Cost(150.0, 16.0)
    assert Spending(costs).expected(50.0).seconds == pytest.approx(50 * 16 / 150)


@pytest.mark.parametrize(
    ("lines", "line", "said"),
    [
        ("budget: {}", 4, "'budget' says no limit"),
        ("budget: {flops: -1}", 4, "'budget.flops' is -1"),
        ("budget: {flops: .nan}", 4, "'budget.flops' is nan"),
        ("budget: {flop: 1e9}", 4, "unknown key 'flop'"),
        ("budget: {seconds: 20 min}", 4, "'budget.seconds' is '20 min'"),
        ("budget: {dollars: 5}", 4, "'budget.dollars' needs a price"),
        ("price: 2", 4, "'price' is for a budget in dollars"),
        ("budget: {dollars: 5}\nprice: 0", 5, "'price' is 0"),
        ("max_concurrent: 0", 4, "'max_concurrent' is 0"),
        ("max_concurrent: 1.5", 4, "'max_concurrent' is 1.5"),
        ("max_concurrent: true", 4, "'max_concurrent' is True"),
    ],
)
def test_a_wrong_limit_is_refused_at_its_line(lines: str, line: int, said: str) -> None:
    text = f"name: s\nfamily: plrf\ngrid: {{width: 8, spectrum_exponent: 1.0, target_exponent: 0.8}}\n{lines}\n"
    with pytest.raises(FileError) as caught:
        checked_sweeps(parse_documents(text, "s.yaml"))
    assert str(caught.value).startswith(f"s.yaml:{line}: {said}"), caught.value


def test_how_long_is_said_only_where_it_is_known() -> None:
    def row(number: int, status: str, step: int | None = None) -> dict[str, Any]:
        return {"run_id": f"run{number}", "status": status, "reason": None, "attempt": 1, "last_step": step,
                "steps": 10, "flops": 10.0}  # fmt: skip

    rows = [row(0, "finished", 10), row(1, "running", 5), row(2, "queued"), row(3, "queued")]
    costs = [AttemptCost("run0", 1, "finished", Cost(10.0, 4.0)), AttemptCost("run1", 1, "running", Cost(5.0, 2.0))]
    found = stands(rows, costs, None)
    assert (found.finished, found.running, found.queued) == (1, 1, 2)
    assert found.remaining_seconds == pytest.approx(2.0 + 4.0 + 4.0) and found.unknown is None
    limited = stands(rows, costs, Budget(flops=30.0))
    assert limited.over_budget == {"run3"} and limited.queued == 1 and limited.remaining_seconds == pytest.approx(6.0)
    assert stands(rows[1:], [AttemptCost("run1", 1, "running", Cost(None, 0.0))], None).remaining_seconds is None
    assert stands([rows[0], rows[2]], costs[:1], None).unknown == "no run is in training"


@pytest.mark.slow
@pytest.mark.cluster
def test_no_more_runs_train_at_once_than_the_file_says(
    lakehouse: Lakehouse, ray_session: RaySession, tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text(SLEEPING)
    (tmp_path / "sweep.yaml").write_text(
        f"name: few\nfamily: command\ncommand: {sys.executable} train.py {{a}}\ngrid: {{a: [1, 2, 3, 4, 5]}}\n"
        "resources: {cpus: 0.25}\nmax_concurrent: 2\n"
    )
    state = run_sweep(lakehouse, load_sweep(tmp_path / "sweep.yaml"), session=ray_session)
    assert (state.finished, state.exit_code) == (5, 0), state
    times = lakehouse.query("SELECT started_at AS a, finished_at AS b FROM attempts").to_pylist()
    at_once = [sum(each["a"] <= time["a"] < each["b"] for each in times) for time in times]
    assert max(at_once) == 2, at_once


@pytest.mark.cluster
def test_runs_beyond_the_budget_wait_for_a_larger_one(
    lakehouse: Lakehouse, ray_session: RaySession, tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text(SLEEPING)
    file = tmp_path / "sweep.yaml"
    file.write_text(
        f"name: within\nfamily: command\ncommand: {sys.executable} train.py {{a}}\ngrid: {{a: [1, 2, 3, 4, 5]}}\n"
        "given: {flops: 1e6 * a}\nresources: {cpus: 0.25}\nbudget: {flops: 6.5e6}\n"
    )
    state = run_sweep(lakehouse, load_sweep(file), session=ray_session)
    assert (state.finished, state.over_budget, state.queued, state.exit_code) == (3, 2, 0, 0), state
    [said] = [event.message for event in state.events if event.level == "warning"]
    assert said.startswith("skipped: budget: 2 runs are not started (used 6e+06 of 6.5e+06 FLOPs, and the next")
    now = standing(lakehouse, state.sweep_id)
    assert (now.finished, now.queued, len(now.over_budget)) == (3, 0, 2)
    again: SweepState = run_sweep(lakehouse, load_sweep(file, ["budget.flops=1e7"]), session=ray_session)
    assert (again.skipped, again.finished, again.over_budget) == (3, 1, 1)
    # A budget in seconds knows what a run takes from those before, about 0.8 s each: with 4 done, one more fits.
    used = Spending(attempt_costs(lakehouse, [record.run_id for record in load_sweep(file).expand().records])).used()
    assert used.seconds is not None and 4 * 0.7 < used.seconds < 4 * 3
    less = run_sweep(lakehouse, load_sweep(file, [f"budget={{seconds: {used.seconds + 0.1}}}"]), session=ray_session)
    assert (less.skipped, less.finished, less.over_budget) == (4, 0, 1)
    more = run_sweep(lakehouse, load_sweep(file, [f"budget={{seconds: {3 * used.seconds}}}"]), session=ray_session)
    assert (more.skipped, more.finished, more.over_budget, more.is_complete) == (4, 1, 0, True)


@pytest.mark.cluster
def test_a_budget_cuts_a_pack(lakehouse: Lakehouse, ray_session: RaySession, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "name: features\nfamily: plrf\nseeds: 8\nresources: {cpus: 2}\n"
        "grid: {width: 8, spectrum_exponent: 1.0, target_exponent: 0.8, steps: 100}\n"
    )
    each = load_sweep(file).expand().records[0].flops
    assert each
    state = run_sweep(lakehouse, load_sweep(file, [f"budget={{flops: {5 * each}}}"]), session=ray_session)
    assert (state.finished, state.over_budget) == (5, 3)
    seeds = lakehouse.query("SELECT seed FROM runs WHERE status = 'finished' ORDER BY seed")["seed"].to_pylist()
    assert seeds == [0, 1, 2, 3, 4]
