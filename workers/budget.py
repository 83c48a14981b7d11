"""What the runs of a sweep may cost together, what they have cost, and what those to come are expected to.

A cost is the FLOPs of the steps taken, or the seconds they took, of every attempt at every run of the sweep, whoever
made it; dollars are seconds at a price. Pure arithmetic over what `attempt_costs` reads from the lake.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.units import format_seconds

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse

SECONDS_PER_HOUR = 3600.0
OPEN = ("queued", "running")  # statuses of an attempt that goes on
CENT = 0.01  # dollars; less is shown to two digits
SLACK = 1e-9  # relative; a budget that is exactly the sum of its runs holds them all

Key = tuple[str, int]  # run_id, attempt


@dataclass(frozen=True)
class Budget:
    """What a sweep may cost; None is no limit.

    Parameters
    ----------
    flops : FLOPs of all its runs
    seconds : that all its runs train, added up, however many train at once [s]
    dollars : of all its runs, at `price`
    price : of an hour that one run trains [dollar/h]
    """

    flops: float | None = None
    seconds: float | None = None
    dollars: float | None = None
    price: float | None = None

    def limits(self) -> dict[str, float]:
        """Return the limits there are, by `flops`, `seconds` and `dollars`."""
        said = {"flops": self.flops, "seconds": self.seconds, "dollars": self.dollars}
        return {name: limit for name, limit in said.items() if limit is not None}

    def amount(self, name: str, cost: Cost) -> float | None:
        """Return a cost as a limit counts it; None where it is not known."""
        if name == "flops":
            return cost.flops
        if name == "seconds" or cost.seconds is None:
            return cost.seconds
        return cost.seconds * (self.price or 0.0) / SECONDS_PER_HOUR


@dataclass(frozen=True)
class Cost:
    """What a run or an attempt takes; None where it is not known."""

    flops: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class AttemptCost:
    """What one attempt has taken so far.

    Parameters
    ----------
    status : of the attempt
    cost : of its own steps alone, where it went on from an earlier one
    """

    run_id: str
    attempt: int
    status: str
    cost: Cost


class Spending:
    """The costs of the attempts at some runs, and what follows for the others.

    Parameters
    ----------
    attempts : at any of the runs
    """

    def __init__(self, attempts: Iterable[AttemptCost]) -> None:
        self._attempts = {(each.run_id, each.attempt): each for each in attempts}
        costs = [each.cost for each in self._attempts.values()]
        both = [(cost.flops, cost.seconds) for cost in costs if cost.flops and cost.seconds]
        self._seconds_per_flop = sum(s for _, s in both) / sum(f for f, _ in both) if both else None
        finished = [each.cost for each in self._attempts.values() if each.status == "finished"]
        self._mean_flops = _mean([cost.flops for cost in finished])
        self._mean_seconds = _mean([cost.seconds for cost in finished])

    def expected(self, flops: float | None) -> Cost:
        """Return what a run of so many FLOPs is expected to take, from what the others took.

        Seconds follow from FLOPs at the rate of the attempts so far; a run whose FLOPs nobody knows is taken for one
        like those that have finished. None is what nothing is known of yet.
        """
        of_run = self._mean_flops if flops is None else flops
        if flops is None or self._seconds_per_flop is None:
            return Cost(of_run, self._mean_seconds)
        return Cost(of_run, flops * self._seconds_per_flop)

    def of(self, key: Key) -> Cost:
        """Return what an attempt has taken so far."""
        return self._attempts[key].cost if key in self._attempts else Cost(0.0, 0.0)

    def used(self, besides: Collection[Key] = ()) -> Cost:
        """Return what all attempts have taken, but for those that are still counted on otherwise."""
        costs = [each.cost for key, each in self._attempts.items() if key not in besides]
        return Cost(sum(cost.flops or 0.0 for cost in costs), sum(cost.seconds or 0.0 for cost in costs))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value]
    return sum(known) / len(known) if known else None


def how_many_fit(budget: Budget, spending: Spending, wanted: Sequence[Cost], flying: Mapping[Key, Cost]) -> int | None:
    """Return how many runs may start, in their order; None when that is only known once a run has ended.

    Parameters
    ----------
    wanted : what the runs that wait are expected to take
    flying : what the attempts with the cluster are expected to take, all in all
    """
    used, most = spending.used(flying), len(wanted)
    for name, limit in budget.limits().items():
        taken = budget.amount(name, used) or 0.0
        for key, cost in flying.items():
            taken += max(budget.amount(name, cost) or 0.0, budget.amount(name, spending.of(key)) or 0.0)
        amounts = [budget.amount(name, cost) for cost in wanted[:most]]
        if amounts[:1] == [None] and taken < limit:  # nothing has been measured: one run goes first
            if flying:
                return None
            most = min(most, 1)
            continue
        most = min(most, _fitting(amounts, limit - taken, limit))
    return most


def _fitting(amounts: Sequence[float | None], left: float, limit: float) -> int:
    """Return how many amounts, in their order, are together within what is left of a limit."""
    for number, amount in enumerate(amounts):
        left -= amount or 0.0
        if left < -SLACK * limit:
            return number
    return len(amounts)


def said(budget: Budget, used: Cost, next_run: Cost) -> str:
    """Return the limit that the next run would pass in words, all of them where none would.

    Example
    -------
    >>> said(Budget(flops=1e15), Cost(flops=8e14), Cost(flops=3e14))
    'used 8e+14 of 1e+15 FLOPs, and the next run takes about 3e+14'
    >>> said(Budget(seconds=3600), Cost(seconds=1200), Cost())
    'used 20m00s of 1h00m of training'
    >>> said(Budget(dollars=5, price=2.5), Cost(seconds=7000), Cost(seconds=360))
    'used $4.86 of $5.00, and the next run takes about $0.25'
    """
    words = []
    for name, limit in budget.limits().items():
        taken, more = budget.amount(name, used) or 0.0, budget.amount(name, next_run)
        if more is not None and taken + more > limit:
            return f"{_of(name, taken, limit)}, and the next run takes about {_amount(name, more)}"
        words.append(_of(name, taken, limit))
    return "; ".join(words)


def _of(name: str, taken: float, limit: float) -> str:
    unit = {"flops": " FLOPs", "seconds": " of training", "dollars": ""}[name]
    return f"used {_amount(name, taken)} of {_amount(name, limit)}{unit}"


def _amount(name: str, value: float) -> str:
    if name == "seconds":
        return format_seconds(round(value, 1) if value < 10 else round(value))
    if name == "flops":
        return f"{value:.3g}"
    return f"${value:.2f}" if value >= CENT or not value else f"${value:.2g}"


def attempt_costs(lake: Lakehouse, run_ids: Sequence[str]) -> list[AttemptCost]:
    """Return what every attempt at these runs has taken.

    An attempt that went on has the seconds of the earlier ones in its own, and they are taken off again. One that
    never said how long it trained, because its process was killed, took the time between its first and last beat.
    """
    import pyarrow as pa

    ids = pa.table({"run_id": pa.array(list(run_ids), pa.string())})
    rows = lake.query(
        "SELECT a.run_id, a.attempt, a.status, a.reason, a.resumed_step, a.train_seconds, r.flops, r.steps, "
        "epoch(coalesce(a.finished_at, a.heartbeat_at)) - epoch(a.started_at) AS beats, "
        "l.last_step, t.last AS logged_flops "
        "FROM store.attempts a SEMI JOIN _ids USING (run_id) JOIN store.runs r USING (run_id) "
        "LEFT JOIN store.finals l ON l.run_id = a.run_id AND l.attempt = a.attempt AND l.metric = 'loss' "
        "LEFT JOIN store.finals t ON t.run_id = a.run_id AND t.attempt = a.attempt AND t.metric = 'flops' "
        "ORDER BY a.run_id, a.attempt",
        None,
        {"_ids": ids},
    ).to_pylist()
    costs: list[AttemptCost] = []
    before: dict[str, Any] = {}
    for row in rows:
        if before.get("run_id") != row["run_id"]:
            before = {"run_id": row["run_id"], "seconds": 0.0, "flops": 0.0}
        is_resumed = row["resumed_step"] is not None
        seconds = _own(row["train_seconds"], before["seconds"] if is_resumed else 0.0)
        if seconds is None:
            seconds = max(0.0, row["beats"] or 0.0)
        done = _own(_flops_done(row), before["flops"] if is_resumed else 0.0)
        for name, own in (("seconds", seconds), ("flops", done)):
            before[name] = (own or 0.0) + (before[name] if is_resumed else 0.0)
        costs.append(AttemptCost(row["run_id"], row["attempt"], row["status"], Cost(done, seconds)))
    return costs


def _own(total: float | None, earlier: float) -> float | None:
    """Return what an attempt took beyond the earlier ones that it went on from."""
    return None if total is None else max(0.0, total - earlier)


def _flops_done(row: Mapping[str, Any]) -> float | None:
    """Return the FLOPs up to the last step of an attempt: as logged, else by the share of its steps."""
    if row["logged_flops"] is not None:
        return float(row["logged_flops"])
    if row["flops"] is None:
        return None
    if row["status"] == "finished":
        return float(row["flops"])
    if row["last_step"] is None:
        return 0.0
    return float(row["flops"] * min(1.0, row["last_step"] / row["steps"])) if row["steps"] else None
