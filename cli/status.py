"""`isoflop status`: how sweeps are doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption

if TYPE_CHECKING:
    from isoflop.lakehouse import Answer, Lakehouse

SWEEPS = """
SELECT sweep_id, name, created_at, runs, finished, running, queued, failed, lost FROM sweeps ORDER BY created_at DESC
"""
RUNS = """
SELECT r.run_id, r.name, CASE WHEN o.run_id IS NULL THEN r.status ELSE 'skipped' END AS status,
       CASE WHEN o.run_id IS NULL THEN r.reason ELSE 'budget' END AS reason,
       r.attempt, r.last_step AS step, r.steps, r.loss, r.host, r.started_at, r.train_seconds, r.error
FROM store.sweep_runs m JOIN runs r USING (run_id) LEFT JOIN _over o USING (run_id)
WHERE m.sweep_id = ?
ORDER BY list_position(['running', 'failed', 'lost', 'queued', 'skipped', 'finished'], status), m.position
"""


def status(
    sweep: Annotated[
        str | None, typer.Argument(metavar="[SWEEP]", help="Name or id of a sweep; all sweeps when left out.")
    ] = None,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Show the sweeps of a lake, or the runs of one sweep.

    Works while the sweep runs: the process that trains it answers.
    """
    from isoflop.cli.options import chosen_format, open_lake
    from isoflop.cli.output import note, show
    from isoflop.lakehouse import Answer
    from isoflop.workers.orphans import release_orphans

    form = chosen_format(format, json)
    with open_lake(lake, makes=False) as opened:
        release_orphans(opened)  # else a killed sweep would look as if it ran for ever
        if sweep is None:
            answer = Answer(opened.query(SWEEPS), SWEEPS.strip())
        else:
            answer = _runs_of(opened, find_sweep(opened, sweep))
    if not len(answer) and form == "table":
        note("no sweeps yet; isoflop sweep FILE runs one")
        return
    show(answer, form)


def _runs_of(lake: Lakehouse, sweep_id: str) -> Answer:
    """Return the runs of a sweep; those that its budget does not hold are skipped."""
    import pyarrow as pa

    from isoflop.lakehouse import Answer
    from isoflop.workers.standing import standing

    over = standing(lake, sweep_id).over_budget
    ids = pa.table({"run_id": pa.array(sorted(over), pa.string())})
    note = f"skipped: budget: {len(over)} runs are not started; with a larger budget isoflop sweep goes on with them"
    return Answer(lake.query(RUNS, [sweep_id], {"_over": ids}), RUNS.strip(), notes=(note,) if over else ())


def find_sweep(lake: Lakehouse, name: str) -> str:
    """Return the id of the newest sweep with this name, or whose id starts with it.

    Raises
    ------
    UsageError : if there is none
    """
    from isoflop.lakehouse.errors import UsageError, did_you_mean

    rows = lake.query("SELECT sweep_id, name FROM store.sweeps ORDER BY created_at DESC").to_pylist()
    for row in rows:
        if row["name"] == name or row["sweep_id"].startswith(name):
            return str(row["sweep_id"])
    hint = did_you_mean(name, [row["name"] for row in rows], "isoflop status lists the sweeps")
    raise UsageError(f"there is no sweep '{name}'", hint=hint)
