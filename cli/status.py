"""`isoflop status`: how sweeps are doing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption

if TYPE_CHECKING:
    from isoflop.lakehouse import Answer, Lakehouse
    from isoflop.workers.standing import Standing

POLL_SECONDS = 1.0  # between looks at a sweep that is followed
LINE_SECONDS = 10.0  # between lines while nothing but the time that is left changes
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
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on printing how far the sweep is, and how long it takes yet.")
    ] = False,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Show the sweeps of a lake, or the runs of one sweep.

    Works while the sweep runs: the process that trains it answers. With --follow a line says how far
    the sweep, or the newest one, is whenever that changes, until it has ended; how long it takes yet
    follows from the steps of the runs in training and from what the others took.
    """
    from isoflop.cli.options import chosen_format, open_lake
    from isoflop.cli.output import note, show
    from isoflop.lakehouse import Answer
    from isoflop.lakehouse.errors import UsageError
    from isoflop.workers.orphans import release_orphans

    form = chosen_format(format, json)
    if follow and (format or json):
        raise UsageError("--follow prints lines as they come; leave --format out")
    with open_lake(lake, hold=follow, makes=False) as opened:
        release_orphans(opened)  # else a killed sweep would look as if it ran for ever
        if follow:
            _follow(opened, sweep)
            return
        if sweep is None:
            answer = Answer(opened.query(SWEEPS), SWEEPS.strip())
        else:
            answer = _runs_of(opened, find_sweep(opened, sweep))
    if not len(answer) and form == "table":
        note("no sweeps yet; isoflop sweep FILE runs one")
        return
    show(answer, form)


def _follow(lake: Lakehouse, name: str | None) -> None:
    """Print how far a sweep is until nothing of it runs any more."""
    from isoflop.cli.output import say
    from isoflop.lakehouse.errors import UsageError
    from isoflop.workers.driven import is_driven
    from isoflop.workers.orphans import release_orphans
    from isoflop.workers.standing import standing

    newest = lake.query("SELECT sweep_id FROM store.sweeps ORDER BY created_at DESC LIMIT 1").to_pylist()
    if name is None and not newest:
        raise UsageError("there is no sweep to follow", hint="isoflop sweep FILE runs one")
    found = [str(newest[0]["sweep_id"])] if name is None else found_sweeps(lake, name)
    sweep_id = next((each for each in found if is_driven(lake, each)), found[0])
    title = str(lake.query("SELECT name FROM store.sweeps WHERE sweep_id = ?", [sweep_id]).to_pylist()[0]["name"])
    said, printed = "", 0.0
    while True:
        is_going_on = is_driven(lake, sweep_id)
        release_orphans(lake)
        now = standing(lake, sweep_id)
        is_going_on = is_going_on or now.running > 0
        counts, left = progress_of(now, is_going_on=is_going_on)
        if counts != said or (left and time.monotonic() - printed > LINE_SECONDS):
            said, printed = counts, time.monotonic()
            say(f"{title}: {counts}{left}")
        if not is_going_on:
            return
        time.sleep(POLL_SECONDS)


def progress_of(now: Standing, *, is_going_on: bool) -> tuple[str, str]:
    """Return how far a sweep is, and how long it takes yet, in words.

    Example
    -------
    >>> from isoflop.workers.standing import Standing
    >>> progress_of(Standing(9, 4, 1, 0, running=2, queued=2, remaining_seconds=75.0), is_going_on=True)
    ('4 of 9 finished, 1 failed, 2 running, 2 queued', '; about 1m15s left')
    >>> progress_of(Standing(2, 0, 0, 0, running=2, queued=0, unknown="no run has finished"), is_going_on=True)
    ('0 of 2 finished, 2 running', '; time left not known: no run has finished')
    """
    from isoflop.lakehouse.units import format_seconds

    counts = {
        "failed": now.failed, "stopped": now.stopped, "running": now.running, "queued": now.queued,
        "skipped: budget": len(now.over_budget),
    }  # fmt: skip
    words = [f"{now.finished} of {now.total} finished", *(f"{count} {name}" for name, count in counts.items() if count)]
    left = ""
    if is_going_on and now.unknown:
        left = f"; time left not known: {now.unknown}"
    elif is_going_on and now.remaining_seconds is not None:
        left = f"; about {format_seconds(round(now.remaining_seconds))} left"
    return ", ".join(words), left


def _runs_of(lake: Lakehouse, sweep_id: str) -> Answer:
    """Return the runs of a sweep; those that its budget does not hold are skipped."""
    import pyarrow as pa

    from isoflop.lakehouse import Answer
    from isoflop.workers.standing import standing

    now = standing(lake, sweep_id)
    over = now.over_budget
    ids = pa.table({"run_id": pa.array(sorted(over), pa.string())})
    notes = []
    if now.running:
        notes.append("".join(progress_of(now, is_going_on=True)))
    if over:
        said = f"skipped: budget: {len(over)} runs are not started"
        notes.append(f"{said}; with a larger budget isoflop sweep goes on with them")
    return Answer(lake.query(RUNS, [sweep_id], {"_over": ids}), RUNS.strip(), notes=tuple(notes))


def find_sweep(lake: Lakehouse, name: str) -> str:
    """Return the id of the newest sweep with this name, or whose id starts with it.

    Raises
    ------
    UsageError : if there is none
    """
    return found_sweeps(lake, name)[0]


def found_sweeps(lake: Lakehouse, name: str) -> list[str]:
    """Return the ids of the sweeps with this name, or whose ids start with it, the newest first.

    Raises
    ------
    UsageError : if there is none
    """
    from isoflop.lakehouse.errors import UsageError, did_you_mean

    rows = lake.query("SELECT sweep_id, name FROM store.sweeps ORDER BY created_at DESC").to_pylist()
    found = [str(row["sweep_id"]) for row in rows if row["name"] == name or row["sweep_id"].startswith(name)]
    if found:
        return found
    hint = did_you_mean(name, [row["name"] for row in rows], "isoflop status lists the sweeps")
    raise UsageError(f"there is no sweep '{name}'", hint=hint)
