"""Options that several commands share, and the lake they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse

FORMATS = ("table", "lines", "json", "csv", "arrow", "markdown")

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
    typer.Option(
        "--format", "-f", metavar="FORMAT", help="table, lines, json, csv, arrow or markdown [default: table]."
    ),
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


def open_lake(lake: str | None = None, hold: bool = False, read_only: bool = False, *, makes: bool = True) -> Lakehouse:
    """Open the lake that `--lake` names, with the isoflop language; says so when it had to be made.

    Raises
    ------
    StoreError : if it cannot be opened, or `makes` is false and it is not where `lake` says:
        a command that only reads makes none of a name that was typed
    """
    from isoflop.cli.output import note
    from isoflop.lakehouse import Lakehouse
    from isoflop.queries.language import execute

    if not makes and lake is not None:  # typed, and so perhaps misspelled
        check_exists(lake, makes=True)
    opened = Lakehouse(lake, language=execute, hold=hold, read_only=read_only)
    if opened.is_new:
        note(f"made a new lake: {opened.address}")
    return opened


def check_exists(address: str | None, makes: bool = False) -> None:
    """Refuse the address of a file that is not there, unless batches wait for it and it is to be made of them.

    Raises
    ------
    StoreError : if there is no such lake, with the nearest one beside it
    """
    from isoflop.lakehouse.address import FileAddress, parse_address, spool_of
    from isoflop.lakehouse.errors import StoreError, did_you_mean

    place = parse_address(address)
    if not isinstance(place, FileAddress) or place.path.exists():
        return
    waiting = len(list(spool_of(place.path).glob("*.parquet")))
    if waiting and makes:
        return
    if waiting:
        batches = "1 batch" if waiting == 1 else f"{waiting} batches"
        raise StoreError(
            f"there is no lake at {place.path}, but {batches} for it in its spool",
            hint="isoflop lake ingest makes it of them",
        )
    beside = [path.name for path in place.path.parent.glob(f"*{place.path.suffix}")] if place.path.suffix else []
    raise StoreError(
        f"there is no lake at {place.path}",
        hint=did_you_mean(
            place.path.name, beside, "name another one with --lake; isoflop import, sweep and isoflop.open() make one"
        ),
    )
