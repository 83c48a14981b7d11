"""`isoflop lake`: look after the store."""

from __future__ import annotations

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption

lake_app = typer.Typer(help="Look after the lake: info, check, ingest.", no_args_is_help=True, rich_markup_mode=None)


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

    opened = Lakehouse(lake, drains=False)
    with opened:
        done = opened.drain()
    note(f"committed {done.files} batches, {done.points} points; {done.repeated} were known already")
    for name in done.unreadable:
        note(f"set aside, not a batch: {name}")
