"""`isoflop lake repair`: a damaged lake, open again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption

if TYPE_CHECKING:
    from pathlib import Path

    from isoflop.lakehouse.maintenance.repair import Finding, Repaired

SHOWN_RUNS = 5  # runs with waiting batches that are named

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


def repair(
    lake: LakeOption = None, yes: YesOption = False, format: FormatOption = None, json: JsonOption = False
) -> None:
    """Open a lake again whose log is damaged, or save what can be read of a damaged file; nothing is removed.

    A damaged log is moved beside the lake. Rows of a damaged file go into a new one, NAME.salvaged. Commits
    that `lake check` calls lost are taken note of, so that it reports them no more.
    """
    from isoflop.cli.output import note
    from isoflop.lakehouse.maintenance.repair import repairing

    with repairing(lake) as patient:
        found = patient.examine()
        if found.kind == "whole":
            note("the lake can be read whole: there is nothing to repair")
            _answer(patient.path, found, None, format, json)
            return
        for line in _described(patient.path, found):
            note(line)
        if not yes and not _agreed(found):
            note("nothing was changed")
            raise typer.Exit(1)
        done = patient.repair(found)
    for line in _told(patient.path, found, done):
        note(line)
    _answer(patient.path, found, done, format, json)


def _agreed(found: Finding) -> bool:
    """Ask whether to go on."""
    from isoflop.lakehouse.errors import UsageError

    question = {
        "log damaged": "move the log aside and open the lake without it?",
        "file damaged": "copy what can be read into a new file?",
        "commits lost": "take note of it, so that it is not reported again?",
    }[found.kind]
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as error:
        raise UsageError("there is no answer, and a repair asks first", hint="--yes goes on without asking") from error


def _described(path: Path, found: Finding) -> list[str]:
    """Return what is wrong and what that means, a line each."""
    from isoflop.lakehouse.units import format_bytes

    if found.kind == "commits lost":
        return [f"{path}: {loss}" for loss in found.losses] + [
            "the log beside it was cut short, or an older copy was put in its place"
        ]
    lines = [f"{path}: the {'log beside it' if found.kind == 'log damaged' else 'file itself'} is damaged"]
    lines.append(f"  {found.reason}")
    if found.is_log_damaged:
        lines.append(f"what is only in the log, {format_bytes(found.log_bytes)}, is lost to the lake")
    if found.known is not None:
        known = found.known
        last = f"the newest batch of {known.last_batch} UTC" if known.last_batch else "no batch"
        commits = f", {known.commits} commits" if known.commits is not None else ""
        lines.append(f"the file without its log knows {known.runs} runs, {last}{commits}")
    if found.waiting:
        runs = list(found.waiting)
        named = ", ".join(runs[:SHOWN_RUNS]) + (f" and {len(runs) - SHOWN_RUNS} more" * (len(runs) > SHOWN_RUNS))
        lines.append(f"{sum(found.waiting.values())} batches wait in the spool and come again, of runs {named}")
    else:
        lines.append("no batch waits in the spool")
    return lines


def _told(path: Path, found: Finding, done: Repaired) -> list[str]:
    """Return what was done and what to do next, a line each."""
    if done.salvaged is not None:
        lost = [table for table in done.tables if table.lost]
        lines = [f"  {table.name}: {table.lost} rows lost, {table.kept} saved: {table.error}" for table in lost]
        kept = sum(table.kept for table in done.tables)
        lines.append(f"saved {kept} rows of {len(done.tables)} tables in {done.salvaged}; {path} is as it was")
        lines.append(f"look at it with isoflop lake check --lake {done.salvaged}, and put it in the lake's place")
        return lines
    lines = [f"{path}: {loss}; noted" for loss in done.losses]
    if done.moved_log is not None:
        lines.append(f"the lake opens again; its damaged log is kept as {done.moved_log}")
    return lines


def _answer(path: Path, found: Finding, done: Repaired | None, format: str | None, json: bool) -> None:
    """Show what was found and done as a row of data, where a format was asked for."""
    import pyarrow as pa

    from isoflop.cli.options import chosen_format
    from isoflop.cli.output import show
    from isoflop.lakehouse import Answer

    if not (format or json):
        return
    known = found.known
    losses = done.losses if done is not None else found.losses
    row: dict[str, Any] = {
        "address": str(path),
        "found": found.kind,
        "reason": found.reason,
        "log_bytes": found.log_bytes,
        "runs_known": known.runs if known else None,
        "commits_known": known.commits if known else None,
        "last_batch": known.last_batch if known else None,
        "commits_lost": sum(loss.noted - loss.known for loss in losses),
        "waiting_batches": sum(found.waiting.values()),
        "waiting_runs": sorted(found.waiting),
        "moved_log": str(done.moved_log) if done and done.moved_log else None,
        "salvaged": str(done.salvaged) if done and done.salvaged else None,
        "rows_saved": sum(table.kept for table in done.tables) if done else 0,
        "rows_lost": sum(table.lost for table in done.tables) if done else 0,
    }
    show(Answer(pa.Table.from_pylist([row])), chosen_format(format, json))
