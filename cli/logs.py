"""`isoflop logs`: what a run has said."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isoflop.cli.completing import complete_run
from isoflop.cli.options import FormatOption, JsonOption, LakeOption

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse

POLL_SECONDS = 1.0  # between looks at new lines
LINES = """
SELECT l.attempt, l.logged_at, l.level, l.message FROM logs l
WHERE l.run_id = ? AND (? OR l.attempt = (SELECT max(attempt) FROM attempts WHERE run_id = l.run_id))
ORDER BY l.attempt, l.logged_at OFFSET ?
"""
ENDS = """
SELECT attempt, status, reason, coalesce(traceback, error) AS error FROM attempts
WHERE run_id = ? ORDER BY attempt DESC LIMIT 1
"""


def logs(
    run: Annotated[
        str, typer.Argument(metavar="RUN", autocompletion=complete_run, help="Id of a run, or the start of one.")
    ],
    follow: Annotated[bool, typer.Option("--follow", help="Go on printing until the run is over.")] = False,
    all_attempts: Annotated[bool, typer.Option("--all", help="Lines of earlier attempts too.")] = False,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Print what a run said while it trained, and how it ended."""
    from isoflop.cli.options import chosen_format, open_lake
    from isoflop.cli.output import note, say, show
    from isoflop.lakehouse import Answer
    from isoflop.lakehouse.errors import UsageError

    form = chosen_format(format, json)
    if (format or json) and follow:
        raise UsageError("--follow prints lines as they come; leave --format out")
    with open_lake(lake, hold=follow, makes=False) as opened:
        run_id = find_run(opened, run)
        if format or json:
            show(Answer(opened.query(LINES, [run_id, all_attempts, 0]), LINES.strip()), form)
            return
        printed = 0
        while True:
            lines = opened.query(LINES, [run_id, all_attempts, printed]).to_pylist()
            for line in lines:
                say(_text(line))
            printed += len(lines)
            end = next(iter(opened.query(ENDS, [run_id]).to_pylist()), None)
            is_over = end is None or end["status"] not in ("queued", "running")
            if is_over or not follow:
                break
            time.sleep(POLL_SECONDS)
    if end is None:
        note(f"{run_id} has not been started")
        return
    reason = f" ({end['reason']})" if end["reason"] else ""
    note(f"{run_id}: attempt {end['attempt']} {end['status']}{reason}")
    if end["error"]:
        say(end["error"])


def find_run(lake: Lakehouse, name: str) -> str:
    """Return the id of the run that `name` means: its id, the start of it, or its name.

    Raises
    ------
    UsageError : if there is none, or several
    """
    from isoflop.lakehouse.errors import UsageError

    rows = lake.query(
        "SELECT run_id, name FROM store.runs WHERE starts_with(run_id, ?) OR name = ? ORDER BY run_id LIMIT 6",
        [name, name],
    ).to_pylist()
    if len(rows) == 1:
        return str(rows[0]["run_id"])
    if not rows:
        raise UsageError(f"there is no run '{name}'", hint="isoflop runs lists them")
    some = ", ".join(row["run_id"] for row in rows[:5]) + (", …" if len(rows) > 5 else "")
    raise UsageError(f"'{name}' is more than one run: {some}", hint="give more of the id")


def _text(line: dict[str, Any]) -> str:
    level = "" if line["level"] == "info" else f"{line['level']}: "
    return f"{line['logged_at']:%Y-%m-%d %H:%M:%S}  {level}{line['message']}"
