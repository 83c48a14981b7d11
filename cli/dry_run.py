"""What a sweep would do and cost, without doing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.units import format_seconds
from isoflop.workers.budget import AttemptCost, Cost, Spending, attempt_costs, how_many_fit, said
from isoflop.workers.expansion import settings_of, varied
from isoflop.workers.host_memory import MemoryNeed, host_memory_bytes, too_large

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.cli.step_estimates import StepTime
    from isoflop.lakehouse import Answer, Lakehouse
    from isoflop.workers.sweep import Sweep, SweepPlan

RESULTS = ("finished", "diverged", "stopped_early")  # what a run that is done may be
_LAST_COLUMNS = ("seconds", "memory_bytes", "cpus", "gpus", "status")  # after the sizes that the family shows


def describe_plans(sweeps: Sequence[Sweep], address: str | None) -> Answer:
    """Return the runs of sweeps with their predicted time and memory, and what is done already.

    The lake is only read; none is made where there is none.
    """
    import pyarrow as pa

    from isoflop.cli.options import open_lake
    from isoflop.cli.step_estimates import known_step_time
    from isoflop.lakehouse import Answer
    from isoflop.lakehouse.backends.catalog import resolve

    plans = [(sweep, sweep.expand()) for sweep in sweeps]
    run_ids = [run_id for _, plan in plans for run_id in _ids(plan)]
    law, statuses, costs = None, {}, []
    if resolve(address).exists():
        with open_lake(address) as lake:
            law, statuses = known_step_time(lake), _statuses(lake, run_ids)
            costs = attempt_costs(lake, run_ids) if any(sweep.budget for sweep in sweeps) else []
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    names = _varied(plans)
    for sweep, plan in plans:
        described = _rows(plan, law, statuses, names, sweep.name if len(plans) > 1 else None)
        rows += described
        own = set(_ids(plan))
        limits = _limits(sweep, described, [cost for cost in costs if cost.run_id in own])
        notes += [
            _note(sweep, plan, described),
            *(f"{sweep.name}: {note}" for note in (*limits, *_too_large(described, plan), *plan.notes)),
        ]
    notes += _times(law, rows)
    sizes = dict.fromkeys(name for _, plan in plans for run in plan.runs for name in run.shown())
    first = dict.fromkeys(name for row in rows for name in row if name not in (*sizes, *_LAST_COLUMNS))
    columns = (*first, *sizes, *_LAST_COLUMNS)
    table = pa.table({name: _column([row.get(name) for row in rows]) for name in columns})
    return Answer(table, notes=tuple(notes))


def _column(values: Sequence[Any]) -> pa.Array:
    """Return a column of the table; counts beyond what a BIGINT holds, such as 1e22 FLOPs, are floats."""
    import pyarrow as pa

    if any(isinstance(value, int) and abs(value) >= 2**63 for value in values):
        values = [None if value is None else float(value) for value in values]
    return pa.array(values)


def _statuses(lake: Lakehouse, run_ids: Sequence[str]) -> dict[str, str]:
    import pyarrow as pa

    ids = pa.table({"run_id": pa.array(run_ids, pa.string())})
    rows = lake.query("SELECT run_id, status, reason FROM runs SEMI JOIN _ids USING (run_id)", None, {"_ids": ids})
    return {
        row["run_id"]: row["reason"] if row["reason"] in ("diverged", "stopped_early") else row["status"]
        for row in rows.to_pylist()
    }


def _varied(plans: Sequence[tuple[Sweep, SweepPlan]]) -> list[str]:
    """Return the names that a file sets for its runs and in which they differ, in one sweep of it or between them."""
    shown = {name for _, plan in plans for run in plan.runs for name in run.shown()}
    differing = set(varied([record for _, plan in plans for record in plan.records])) - {*shown, *_LAST_COLUMNS}
    names = dict.fromkeys(name for sweep, _ in plans for name in sweep.variables)
    return [name for name in names if name in differing]


def _rows(
    plan: SweepPlan, law: StepTime | None, statuses: Mapping[str, str], names: Sequence[str], sweep: str | None
) -> list[dict[str, Any]]:
    """Return a row for each run of a plan: what varies in the file, what its family shows, what it costs.

    Parameters
    ----------
    names : of the settings that are shown
    sweep : name of the sweep, where the file has several
    """
    rows: list[dict[str, Any]] = []
    for family, record, needs in zip(plan.runs, plan.records, plan.resources, strict=True):
        settings = settings_of(record)
        counts = family.counts()
        seconds = law.seconds(record, counts.depth) if law is not None else None
        rows.append(
            {
                **({} if sweep is None else {"sweep": sweep}),
                "run_id": record.run_id,
                **{name: settings.get(name) for name in names},
                **{name: getattr(record, name, value) for name, value in family.shown().items()},
                "seconds": None if seconds is None else float(f"{seconds:.3g}"),
                "memory_bytes": counts.memory_bytes or None,
                "cpus": needs.cpus,
                "gpus": needs.gpus,
                "status": statuses.get(record.run_id, "new"),
            }
        )
    return rows


def _ids(plan: SweepPlan) -> list[str]:
    """Return the identities of the runs of a plan."""
    return [record.run_id for record in plan.records]


def _to_train(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["status"] not in RESULTS]


def _too_large(rows: Sequence[Mapping[str, Any]], plan: SweepPlan) -> list[str]:
    """Return which run this machine has no memory for, where it trains on the CPU."""
    labels = {record.run_id: record.name or record.run_id for record in plan.records}
    needs = [
        MemoryNeed(labels[row["run_id"]], row["memory_bytes"])
        for row in _to_train(rows)
        if row["memory_bytes"] and not row["gpus"]
    ]
    problem = too_large(needs, host_memory_bytes())
    return [f"{problem} on this machine; without a GPU it is refused, but for --force"] if problem else []


def _limits(sweep: Sweep, rows: Sequence[Mapping[str, Any]], costs: Sequence[AttemptCost]) -> list[str]:
    """Return what `max_concurrent` and the budget mean for the runs that are to be trained."""
    words = []
    if sweep.max_concurrent is not None:
        words.append(f"at most {sweep.max_concurrent} of the runs train at once")
    if sweep.is_timed_alone:
        words.append("timing: exclusive, each run alone on its machine, or on its GPUs")
    if sweep.budget is not None:
        to_do = _to_train(rows)
        spending = Spending(costs)
        measured = [spending.expected(row["flops"]) for row in to_do]
        expected = [
            cost if cost.seconds is not None else Cost(cost.flops, row["seconds"])
            for row, cost in zip(to_do, measured, strict=True)
        ]
        fit = how_many_fit(sweep.budget, spending, expected, {}) or 0
        is_known = all(
            sweep.budget.amount(name, cost) is not None for name in sweep.budget.limits() for cost in expected
        )
        doubt = "" if is_known else "; what the others take is known when one has finished"
        following = expected[fit] if fit < len(expected) else Cost()
        words.append(
            f"the budget holds {fit} of the {len(to_do)} to train, as predicted here "
            f"({said(sweep.budget, spending.used(), following)}){doubt}"
        )
    return words


def _note(sweep: Sweep, plan: SweepPlan, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the sweep's counts and costs in one line."""
    to_do = _to_train(rows)
    parts = [f"{len(plan)} runs, {len(plan) - len(to_do)} done, {len(to_do)} to train"]
    if plan.excluded:
        parts.append(f"{plan.excluded} excluded")
    if plan.repeated:
        parts.append(f"{plan.repeated} rows of the grid repeat another")
    counted = [row["flops"] for row in to_do if row["flops"] is not None]
    of = "" if len(counted) == len(to_do) else f" for the {len(counted)} whose compute is known"
    compute = f"{sum(counted):.3g} FLOPs{of}" if counted or not to_do else "compute not known"
    known = [row["seconds"] for row in to_do if row["seconds"] is not None]
    whose = "" if len(known) == len(to_do) else f" for the {len(known)} whose time is known"
    about = f", about {format_seconds(round(sum(known)))}{whose} if one run trains at a time" if known else ""
    return f"{sweep.name}: {', '.join(parts)}; {compute}{about}"


def _times(law: StepTime | None, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return where the times of the runs are from, and what makes those known that are not."""
    from isoflop.cli.step_estimates import FIT_TIME_LAW

    known = sum(row["seconds"] is not None for row in rows)
    words = [f"times by {law.said}"] if law is not None and known else []
    if known == len(rows):
        return words
    if law is not None:
        whose = "no estimate of the time" if not known else f"no estimate of the time of {len(rows) - known} runs"
        return [*words, f"{whose}: {law.said} says nothing of runs of their family or precision"]
    return [
        "no estimate of the time: the lake has neither a law of step times nor a calibration of this machine; isoflop "
        f'calibrate measures one for decoders, after a sweep isoflop sql "CREATE LAW step AS {FIT_TIME_LAW}" does'
    ]
