"""`isoflop lake`: look after the store."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption

lake_app = typer.Typer(
    help="Look after the lake: is it whole, how large, smaller, copied, tagged.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ConditionArgument = Annotated[
    str, typer.Argument(metavar="CONDITION", help="SQL over the columns of runs, for example \"family = 'old'\".")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would go, remove nothing.")]


@lake_app.command("info")
def info(lake: LakeOption = None, format: FormatOption = None, json: JsonOption = False) -> None:
    """Say where the lake is, how large, and what it holds."""
    from isoflop.cli.options import chosen_format, open_lake
    from isoflop.cli.output import show
    from isoflop.lakehouse.maintenance import describe

    with open_lake(lake) as opened:
        show(describe(opened), chosen_format(format, json))


@lake_app.command("check")
def check(lake: LakeOption = None, format: FormatOption = None, json: JsonOption = False) -> None:
    """Look for anything lost, doubled or left over; exit 1 when something is."""
    from isoflop.cli.options import chosen_format, open_lake
    from isoflop.cli.output import note, show
    from isoflop.lakehouse.maintenance import find_problems

    with open_lake(lake) as opened:
        answer = find_problems(opened)
    if len(answer):
        show(answer, chosen_format(format, json))
        raise typer.Exit(1)
    note("the lake is whole: no gap, no duplicate, no left-over batch")


@lake_app.command("ingest")
def ingest(lake: LakeOption = None) -> None:
    """Commit batches that a killed process left in the spool."""
    from isoflop.cli.output import note
    from isoflop.lakehouse import Lakehouse

    with Lakehouse(lake, drains=False) as opened:
        done = opened.drain()
    note(f"committed {done.files} batches, {done.points} points; {done.repeated} were known already")
    for name in done.unreadable:
        note(f"set aside, not a batch: {name}")


@lake_app.command("compact")
def compact(lake: LakeOption = None) -> None:
    """Rewrite the points clustered by run, metric and step, and give freed space back."""
    from isoflop.cli.options import open_lake
    from isoflop.cli.output import note
    from isoflop.lakehouse.maintenance.checks import size_of
    from isoflop.lakehouse.units import format_bytes

    with open_lake(lake) as opened:
        opened.drain()
        before = size_of(opened)
        opened.compact()
        note(f"{opened.address}: {format_bytes(before)} before, {format_bytes(size_of(opened))} now")


@lake_app.command("snapshot")
def snapshot(
    to: Annotated[str, typer.Argument(metavar="FILE", help="A new .duckdb file.")], lake: LakeOption = None
) -> None:
    """Write a consistent copy into a new file, also while a sweep writes."""
    from isoflop.cli.options import open_lake
    from isoflop.cli.output import note

    with open_lake(lake) as opened:
        opened.drain()
        opened.snapshot(to)
    note(f"wrote {to}")


@lake_app.command("copy")
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="A lake: a file, or postgresql://…?data=….")],
    target: Annotated[str, typer.Argument(metavar="TO", help="A lake that does not exist yet, of either kind.")],
) -> None:
    """Copy a lake to another address and compare the two."""
    from isoflop.cli.output import note
    from isoflop.lakehouse.maintenance import copy_lake

    done = copy_lake(source, target)
    note(f"copied {done.tables} tables, {done.rows} rows")


@lake_app.command("migrate")
def migrate(lake: LakeOption = None) -> None:
    """Bring the lake to this version's schema; opening it does the same.

    A copy of the old file stays beside it; a shared lake keeps its old tables in a schema of its own, which
    `isoflop sql "DROP SCHEMA schema_1_backup CASCADE"` gives up.
    """
    from isoflop.cli.options import open_lake
    from isoflop.cli.output import note

    with open_lake(lake) as opened:
        (row,) = opened.query("SELECT max(version) AS version FROM store.schema_migrations").to_pylist()
        copies = sorted(path.name for path in opened.path.parent.glob(f"{opened.path.name}.schema-*.backup"))
        if opened.is_shared:
            copies = opened.query(
                "SELECT schema_name AS name FROM duckdb_schemas() WHERE database_name = current_database() "
                "AND schema_name SIMILAR TO 'schema_[0-9]+_backup' ORDER BY name"
            )["name"].to_pylist()
    note(f"{opened.address} has schema {row['version']}" + (f"; older copies: {', '.join(copies)}" if copies else ""))


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
    dry_run: DryRunOption = False,
    lake: LakeOption = None,
) -> None:
    """Delete runs for good, drop old attempts' points, or thin curves; in one transaction each.

    With --old-attempts or --thin, --where says of which runs; without them it says which runs go.
    """
    from isoflop.cli.options import open_lake
    from isoflop.cli.output import note, show
    from isoflop.lakehouse.errors import UsageError
    from isoflop.lakehouse.maintenance import chosen_runs, delete_runs, drop_old_attempts, thin_curves

    if where is None and not old_attempts and thin is None:
        raise UsageError("nothing to remove", hint="--where CONDITION deletes runs; --old-attempts, --thin POINTS")
    verb = "would remove" if dry_run else "removed"
    with open_lake(lake) as opened:
        if old_attempts:
            done = drop_old_attempts(opened, where or "true", dry_run=dry_run)
            note(f"{verb} {_many(done.points, 'point')} of replaced attempts of {_many(done.runs, 'run')}")
        if thin is not None:
            done = thin_curves(opened, where or "true", thin, dry_run=dry_run)
            note(f"{verb} {_many(done.points, 'point')} of {_many(done.runs, 'run')}")
        if where is not None and not old_attempts and thin is None:
            if dry_run:
                show(chosen_runs(opened, where))
            done = delete_runs(opened, where, dry_run=dry_run)
            note(f"{verb} {_many(done.runs, 'run')} with {_many(done.points, 'point')}")
            if done.running:
                note(f"left {_many(done.running, 'run')} alone, in training now")
    if not dry_run:
        note("isoflop lake compact gives the room back to the disk")


@lake_app.command("tag")
def tag(
    condition: ConditionArgument,
    add: Annotated[list[str] | None, typer.Option("--add", "-a", metavar="TAG", help="A tag to add.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", "-r", metavar="TAG", help="A tag to remove.")] = None,
    text: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="A note for the runs' log.")] = None,
    lake: LakeOption = None,
) -> None:
    """Tag runs, or write a note into their log."""
    from isoflop.cli.options import open_lake
    from isoflop.cli.output import note
    from isoflop.lakehouse.errors import UsageError
    from isoflop.lakehouse.maintenance import note_runs, tag_runs

    if not (add or remove or text):
        raise UsageError("nothing to say of the runs", hint="--add TAG, --remove TAG or --note TEXT")
    with open_lake(lake) as opened:
        number = tag_runs(opened, condition, add=add or [], remove=remove or []) if add or remove else 0
        if text:
            number = note_runs(opened, condition, text)
    note(_many(number, "run"))


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
