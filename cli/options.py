"""Options that several commands share, and the lake they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse

FORMATS = ("table", "json", "csv", "arrow", "markdown")

LakeOption = Annotated[
    str | None,
    typer.Option(
        "--lake",
        "-l",
        metavar="LAKE",
        help="A .duckdb file, or postgresql://host/db?data=FOLDER [default: $ISOFLOP_LAKE, else ./isoflop.duckdb].",
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", "-f", metavar="FORMAT", help="table, json, csv, arrow or markdown [default: table]."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Short for --format json.")]


ReadOnlyOption = Annotated[
    bool,
    typer.Option("--read-only", help="Answer queries and fits; refuse changes, files, extensions and settings."),
]


def chosen_format(format: str | None, json: bool = False) -> str:
    """Return the output format of two options.

    Raises
    ------
    UsageError : if there is no such format
    """
    from isoflop.lakehouse.errors import UsageError, did_you_mean

    name = "json" if json else format or "table"
    if name not in FORMATS:
        raise UsageError(
            f"there is no format '{name}'", hint=did_you_mean(name, FORMATS, f"one of {', '.join(FORMATS)}")
        )
    return name


def open_lake(lake: str | None = None, hold: bool = False, read_only: bool = False) -> Lakehouse:
    """Open the lake that `--lake` names, with the isoflop language; says so when it had to be made."""
    from isoflop.cli.output import note
    from isoflop.lakehouse import Lakehouse
    from isoflop.queries.language import execute

    opened = Lakehouse(lake, language=execute, hold=hold, read_only=read_only)
    if opened.is_new:
        note(f"made a new lake: {opened.address}")
    return opened
