"""How a recorded sweep stands: which runs its budget does not hold, and how long the others will take.

Read from the lake alone, so that any process can say it, whether the sweep runs or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isoflop.workers.budget import OPEN, AttemptCost, Budget, Cost, Key, Spending, attempt_costs, how_many_fit
from isoflop.workers.sweep_file import parse_documents
from isoflop.workers.sweep_keys import parse_keys

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse

STOPPED = ("stopped", "stopped_early")  # reasons of a run that something has stopped
_RUNS = """
SELECT r.run_id, r.status, r.reason, r.attempt, r.last_step, r.steps, r.flops
FROM store.sweep_runs m JOIN runs r USING (run_id) WHERE m.sweep_id = ? ORDER BY m.position
"""


@dataclass(frozen=True)
class Standing:
    """A sweep at one moment.

    Parameters
    ----------
    total, finished, failed, stopped, running, queued : runs; a failed one diverged, crashed or was lost, a stopped one
        ended when its sweep was asked to, or early by halving
    over_budget : runs that have not been started and that the budget does not hold
    remaining_seconds : until the runs in training and those that wait have ended [s]; None where not known
    unknown : why it is not known, in words
    """

    total: int
    finished: int
    failed: int
    stopped: int
    running: int
    queued: int
    over_budget: frozenset[str] = frozenset()
    remaining_seconds: float | None = None
    unknown: str | None = None


def standing(lake: Lakehouse, sweep_id: str) -> Standing:
    """Return how a recorded sweep stands."""
    rows = lake.query(_RUNS, [sweep_id]).to_pylist()
    costs = attempt_costs(lake, [row["run_id"] for row in rows])
    [sweep] = lake.query("SELECT spec FROM store.sweeps WHERE sweep_id = ?", [sweep_id]).to_pylist()
    return stands(rows, costs, _budget(sweep["spec"]))


def stands(rows: Sequence[Mapping[str, Any]], costs: Sequence[AttemptCost], budget: Budget | None) -> Standing:
    """Return how a sweep stands.

    Parameters
    ----------
    rows : of its runs in their order: run_id, status, reason, attempt, last_step, steps, flops
    costs : of the attempts at them
    budget : None for none
    """
    spending = Spending(costs)
    waiting = [row for row in rows if row["status"] == "queued"]
    training = [row for row in rows if row["status"] == "running"]
    over = _over_budget(waiting, rows, costs, budget)
    left = [_left(row, spending) for row in training]
    left += [spending.expected(row["flops"]).seconds for row in waiting if row["run_id"] not in over]
    known = [seconds for seconds in left if seconds is not None]
    unknown = None
    if left and not training:
        unknown = "no run is in training"
    elif len(known) < len(left):
        unknown = "no run has finished, or said how far it is"
    return Standing(
        total=len(rows),
        finished=sum(row["status"] == "finished" for row in rows),
        failed=sum(row["status"] in ("failed", "lost") and row["reason"] not in STOPPED for row in rows),
        stopped=sum(row["status"] == "failed" and row["reason"] in STOPPED for row in rows),
        running=len(training),
        queued=len(waiting) - len(over),
        over_budget=over,
        remaining_seconds=None if unknown else sum(known) / max(1, len(training)),
        unknown=unknown,
    )


def _left(row: Mapping[str, Any], spending: Spending) -> float | None:
    """Return how long a run in training will take yet [s]: as its steps so far went, else as the others took."""
    spent = spending.of((row["run_id"], row["attempt"])).seconds
    if row["last_step"] and row["steps"] and spent:
        return float(spent * max(0, row["steps"] - row["last_step"]) / row["last_step"])
    expected = spending.expected(row["flops"]).seconds
    return None if expected is None else max(0.0, expected - (spent or 0.0))


def _over_budget(
    waiting: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    costs: Sequence[AttemptCost],
    budget: Budget | None,
) -> frozenset[str]:
    """Return the runs that wait and will not be started, as the sweep itself decides it."""
    if budget is None or not waiting:
        return frozenset()
    spending = Spending(costs)
    flops = {row["run_id"]: row["flops"] for row in rows}
    flying: dict[Key, Cost] = {
        (each.run_id, each.attempt): spending.expected(flops[each.run_id]) for each in costs if each.status in OPEN
    }
    fit = how_many_fit(budget, spending, [spending.expected(row["flops"]) for row in waiting], flying)
    return frozenset() if fit is None else frozenset(row["run_id"] for row in waiting[fit:])


def _budget(spec: str) -> Budget | None:
    """Return the budget of a recorded sweep's text."""
    [document] = parse_documents(spec)
    return parse_keys(document).limits()
