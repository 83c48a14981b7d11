"""`isoflop lake`: look after the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption
from isoflop.cli.repair import repair

if TYPE_CHECKING:
    from isoflop.lakehouse import Answer, Lakehouse
    from isoflop.lakehouse.maintenance import Removed

lake_app = typer.Typer(
    help="Look after the lake: is it whole, how large, smaller, copied, tagged.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

lake_app.command("repair")(repair)

ConditionArgument = Annotated[
    str, typer.Argument(metavar="CONDITION", help="SQL over the columns of runs, for example \"family = 'old'\".")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would go, remove nothing.")]


@lake_app.command("info")
def info(lake: LakeOption = None, format: FormatOption = None, json: JsonOption = False) -> None:
    """Say where the lake is, how large, and what it holds."""
    from isoflop.cli.options import chosen_format
    from isoflop.cli.output import show
    from isoflop.lakehouse.maintenance import describe

    with _existing(lake) as opened:
        show(describe(opened), chosen_format(format, json))


@lake_app.command("check")
def check(lake: LakeOption = None, format: FormatOption = None, json: JsonOption = False) -> None:
    """Look for anything lost, doubled or left over; exit 1 when something is."""
    from isoflop.cli.options import chosen_format
    from isoflop.cli.output import note, show
    from isoflop.lakehouse.maintenance import find_problems

    with _existing(lake) as opened:
        answer = find_problems(opened)
        is_empty = not opened.query("SELECT 1 FROM store.runs LIMIT 1").num_rows
    if len(answer) or format or json:
        show(answer, chosen_format(format, json))
    if len(answer):
        raise typer.Exit(1)
    note("the lake is whole: no gap, no duplicate, no left-over batch" + (", and no run yet" * is_empty))


@lake_app.command("ingest")
def ingest(lake: LakeOption = None, format: FormatOption = None, json: JsonOption = False) -> None:
    """Commit batches that a killed process left in the spool."""
    from isoflop.cli.output import note

    with _existing(lake, drains=False) as opened:
        done = opened.drain()
    _report(
        f"committed {done.files} batches, {done.points} points; {done.repeated} were known already",
        {
            "batches": done.files,
            "points": done.points,
            "repeated": done.repeated,
            "set_aside": list(done.unreadable),
        },
        format,
        json,
    )
    for name in done.unreadable:
        note(f"set aside, not a batch: {name}")


@lake_app.command("compact")
def compact(lake: LakeOption = None, format: FormatOption = None, json: JsonOption = False) -> None:
    """Rewrite the points clustered by metric, run and step, and give freed space back."""
    from isoflop.lakehouse.maintenance.checks import size_of
    from isoflop.lakehouse.units import format_bytes

    with _existing(lake) as opened:
        opened.drain()
        before = size_of(opened)
        opened.compact()
        after = size_of(opened)
    _report(
        f"{opened.address}: {format_bytes(before)} before, {format_bytes(after)} now",
        {"address": opened.address, "bytes_before": before, "bytes": after},
        format,
        json,
    )


@lake_app.command("snapshot")
def snapshot(
    to: Annotated[str, typer.Argument(metavar="FILE", help="A new .duckdb file.")],
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Write a consistent copy into a new file, also while a sweep writes."""
    with _existing(lake) as opened:
        opened.drain()
        opened.snapshot(to)
    _report(f"wrote {to}", {"address": opened.address, "snapshot": to}, format, json)


@lake_app.command("copy")
def copy(
    places: Annotated[
        list[str],
        typer.Argument(metavar="[FROM] TO", help="Lakes: a file, or postgresql://…?data=…. TO does not exist yet."),
    ],
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Copy a lake, FROM or that of --lake, to another address and compare the two."""
    from isoflop.cli.existing import check_exists
    from isoflop.lakehouse.errors import UsageError
    from isoflop.lakehouse.maintenance import copy_lake

    *given, target = places
    if len(given) > 1 or (given and lake is not None):
        raise UsageError("lake copy takes one lake to copy and one to make", hint="isoflop lake copy FROM TO")
    source = given[0] if given else lake
    check_exists(source)
    done = copy_lake(source, target)
    _report(f"copied {done.tables} tables, {done.rows} rows", {"tables": done.tables, "rows": done.rows}, format, json)


@lake_app.command("migrate")
def migrate(lake: LakeOption = None, format: FormatOption = None, json: JsonOption = False) -> None:
    """Bring the lake to this version's schema; opening it does the same.

    A copy of the old file stays beside it; a shared lake keeps its old tables in a schema of its own, which
    `isoflop sql "DROP SCHEMA schema_1_backup CASCADE"` gives up.
    """
    with _existing(lake) as opened:
        (row,) = opened.query("SELECT max(version) AS version FROM store.schema_migrations").to_pylist()
        copies = sorted(path.name for path in opened.path.parent.glob(f"{opened.path.name}.schema-*.backup"))
        if opened.is_shared:
            copies = opened.query(
                "SELECT schema_name AS name FROM duckdb_schemas() WHERE database_name = current_database() "
                "AND schema_name SIMILAR TO 'schema_[0-9]+_backup' ORDER BY name"
            )["name"].to_pylist()
    _report(
        f"{opened.address} has schema {row['version']}" + (f"; older copies: {', '.join(copies)}" if copies else ""),
        {"address": opened.address, "schema_version": row["version"], "older_copies": copies},
        format,
        json,
    )


@lake_app.command("gc")
def gc(
    where: Annotated[
        str | None, typer.Option("--where", "-w", metavar="CONDITION", help="Delete the runs for which this SQL holds.")
    ] = None,
    old_attempts: Annotated[
        bool, typer.Option("--old-attempts", help="Drop the points of attempts that a later one replaced.")
    ] = False,
    thin: Annotated[
        int | None,
        typer.Option("--thin", metavar="POINTS", help="Keep about so many points of each curve, log-spaced."),
    ] = None,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Remove the checkpoints of runs that do not train now.")
    ] = False,
    dry_run: DryRunOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete runs without asking.")] = False,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Delete runs for good, drop old attempts' points, or thin curves, in one transaction each; or remove checkpoints.

    With --old-attempts, --thin or --checkpoints, --where says of which runs; without them it says which runs go. Runs
    without a checkpoint begin anew when they are trained again; final weights that were kept stay.
    """
    from isoflop.cli.options import chosen_format
    from isoflop.cli.output import note, show
    from isoflop.lakehouse.errors import UsageError
    from isoflop.lakehouse.maintenance import chosen_runs, delete_runs, drop_old_attempts, thin_curves
    from isoflop.queries.language.syntax.sizes import with_sizes

    is_partial = old_attempts or checkpoints or thin is not None
    if where is None and not is_partial:
        hint = "--where CONDITION deletes runs; --old-attempts, --thin POINTS, --checkpoints"
        raise UsageError("nothing to remove", hint=hint)
    where = None if where is None else with_sizes(where)
    verb = "would remove" if dry_run else "removed"
    removed: list[dict[str, Any]] = []

    def say(what: str, done: Removed, text: str) -> None:
        note(f"{verb} {text}")
        counts = {"runs": done.runs, "points": done.points, "in_training": done.running}
        removed.append({"what": what, **counts, "dry_run": dry_run})

    with _existing(lake) as opened:
        if old_attempts:
            done = drop_old_attempts(opened, where or "true", dry_run=dry_run)
            text = f"{_many(done.points, 'point')} of replaced attempts of {_many(done.runs, 'run')}"
            say("points of replaced attempts", done, text)
        if thin is not None:
            done = thin_curves(opened, where or "true", thin, dry_run=dry_run)
            say("points between", done, f"{_many(done.points, 'point')} of {_many(done.runs, 'run')}")
        if checkpoints:
            removed.append(_remove_checkpoints(opened, where, verb, dry_run=dry_run))
        if where is not None and not is_partial:
            if dry_run and not (format or json):
                show(chosen_runs(opened, where))
            if not (dry_run or yes):
                _ask_to_delete(delete_runs(opened, where, dry_run=True))
            done = delete_runs(opened, where, dry_run=dry_run)
            say("runs", done, f"{_many(done.runs, 'run')} with {_many(done.points, 'point')}")
            if done.running:
                note(f"left {_many(done.running, 'run')} alone, in training now")
    if format or json:
        show(_answer(removed), chosen_format(format, json))
    if not dry_run and (old_attempts or thin is not None or not is_partial):
        note("isoflop lake compact gives the room back to the disk")


def _remove_checkpoints(lake: Lakehouse, where: str | None, verb: str, *, dry_run: bool) -> dict[str, Any]:
    """Remove checkpoints, say so, and return the row that does."""
    from isoflop.cli.output import note
    from isoflop.lakehouse.maintenance import remove_checkpoints
    from isoflop.lakehouse.units import format_bytes
    from isoflop.workers.cluster.folders import checkpoint_folder

    done = remove_checkpoints(lake, checkpoint_folder(lake), where, dry_run=dry_run)
    note(f"{verb} {_many(done.files, 'checkpoint')} of {_many(done.runs, 'run')}, {format_bytes(done.bytes)}")
    if done.running:
        note(f"left those of {_many(done.running, 'run')} alone, in training now")
    counts = {"runs": done.runs, "points": 0, "in_training": done.running}
    return {"what": "checkpoints", **counts, "files": done.files, "bytes": done.bytes, "dry_run": dry_run}


def _ask_to_delete(chosen: Removed) -> None:
    """Ask on a terminal whether runs may go; nothing is asked where none would.

    Raises
    ------
    UsageError : when nobody can be asked
    typer.Abort : when they are to stay
    """
    import sys

    from isoflop.lakehouse.errors import UsageError

    if not chosen.runs:
        return
    text = f"{_many(chosen.runs, 'run')} with {_many(chosen.points, 'point')}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"this deletes {text} for good, and there is no terminal to ask on",
            hint="--yes deletes them; --dry-run lists them",
        )
    typer.confirm(f"Delete {text} for good?", abort=True, err=True)


@lake_app.command("metric")
def metric(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A metric; without one, what was chosen is listed.")
    ] = None,
    best: Annotated[
        str | None, typer.Option("--best", "-b", metavar="highest|lowest", help="Which of its values is the best one.")
    ] = None,
    by_name: Annotated[bool, typer.Option("--by-name", help="Take back what was chosen: its name says it.")] = False,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Say which value of a metric is its best one; finals.best of its runs is found anew."""
    from isoflop.cli.options import chosen_format
    from isoflop.cli.output import note, show
    from isoflop.lakehouse.errors import UsageError
    from isoflop.lakehouse.runs.metrics import directions, set_direction

    if best is not None and name is None:
        raise UsageError("--best says nothing without a metric", hint="isoflop lake metric NAME --best highest")
    if by_name and (name is None or best is not None):
        raise UsageError(
            "--by-name takes back what was chosen for one metric", hint="isoflop lake metric NAME --by-name"
        )
    with _existing(lake) as opened:
        if name is None or (best is None and not by_name):
            show(directions(opened, name), chosen_format(format, json))
            return
        done = set_direction(opened, name, best)
    _report(
        f"the best {done.metric} is the {done.best}, in {_many(done.finals, 'attempt')}",
        {
            "metric": done.metric, "best": done.best, "attempts": done.finals,
            "of_points_left": done.of_the_rest, "unknown": done.unknown,
        },
        format,
        json,
    )  # fmt: skip
    if done.of_the_rest:
        note(f"of {_many(done.of_the_rest, 'thinned curve')} it is the best of the points that are left")
    if done.unknown:
        note(f"of {_many(done.unknown, 'attempt')} no points are left, so that it is not known")
    if not done.finals:
        note(f"no run has logged '{done.metric}' yet{done.near_miss}")


@lake_app.command("tag")
def tag(
    condition: ConditionArgument,
    add: Annotated[list[str] | None, typer.Option("--add", "-a", metavar="TAG", help="A tag to add.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", "-r", metavar="TAG", help="A tag to remove.")] = None,
    text: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="A note for the runs' log.")] = None,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Tag runs, or write a note into their log."""
    from isoflop.lakehouse.errors import UsageError
    from isoflop.lakehouse.maintenance import note_runs, tag_runs
    from isoflop.queries.language.syntax.sizes import with_sizes

    if not (add or remove or text):
        raise UsageError("nothing to say of the runs", hint="--add TAG, --remove TAG or --note TEXT")
    with _existing(lake) as opened:
        condition = with_sizes(condition)
        number = tag_runs(opened, condition, add=add or [], remove=remove or []) if add or remove else 0
        if text:
            number = note_runs(opened, condition, text)
    _report(_many(number, "run"), {"runs": number}, format, json)


def _existing(address: str | None, drains: bool = True) -> Lakehouse:
    """Open a lake that is looked after; one that is not there is not made."""
    from isoflop.cli.existing import check_exists, only_reads
    from isoflop.lakehouse import Lakehouse
    from isoflop.queries.language import execute

    check_exists(address, makes=not drains)
    read_only = only_reads(address)
    return Lakehouse(address, language=execute, drains=drains and not read_only, read_only=read_only)


def _report(text: str, row: dict[str, Any], format: str | None, json: bool) -> None:
    """Say what was done: in a sentence, or as a row of data where a format was asked for."""
    from isoflop.cli.options import chosen_format
    from isoflop.cli.output import note, show

    if format or json:
        show(_answer([row]), chosen_format(format, json))
    else:
        note(text)


def _answer(rows: list[dict[str, Any]]) -> Answer:
    import pyarrow as pa

    from isoflop.lakehouse import Answer

    names = dict.fromkeys(name for row in rows for name in row)
    return Answer(pa.Table.from_pylist([{**dict.fromkeys(names), **row} for row in rows]))


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}es" if what.endswith("ch") else f"{number} {what}s"
