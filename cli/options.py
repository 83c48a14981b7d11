"""Options that several commands share, and the lake they name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.cli.completing import complete_lake, complete_law

if TYPE_CHECKING:
    from isoflop.lakehouse import Answer, Lakehouse

FORMATS = ("table", "lines", "json", "csv", "arrow", "markdown")

LakeOption = Annotated[
    str | None,
    typer.Option(
        "--lake",
        "-l",
        metavar="LAKE",
        autocompletion=complete_lake,
        help="A .duckdb file, or postgresql://host/db?data=FOLDER [default: $ISOFLOP_LAKE, else ./isoflop.duckdb].",
    ),
]
LawArgument = Annotated[
    str,
    typer.Argument(metavar="LAW", autocompletion=complete_law, help="A saved law; isoflop laws lists them."),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        autocompletion=lambda: list(FORMATS),
        help="table, lines, json, csv, arrow or markdown [default: table].",
    ),
]
WithOption = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="KEY=VALUE", help="An option of the statement: level=0.9; repeatable."),
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


def read_size(text: str) -> float:
    """Return the number that an option says: 1e24, 70B.

    Raises
    ------
    UsageError : when it is no number

    Example
    -------
    >>> read_size("70B"), read_size("1e24")
    (70000000000.0, 1e+24)
    """
    from isoflop.lakehouse.errors import UsageError
    from isoflop.queries.language.syntax.sizes import with_sizes

    try:
        return float(with_sizes(text))
    except ValueError:
        raise UsageError(f"'{text}' is not a number", hint="a number like 1e24, 70B or 1.4T") from None


def answer_statement(statement: str, lake: str | None, form: str, *, makes: bool = False) -> Answer:
    """Print a statement on stderr and its answer on stdout; returns the answer.

    Parameters
    ----------
    statement : what a command stands for
    lake : of `--lake`
    form : of the answer
    makes : whether a lake that is not there is made
    """
    from isoflop.cli.output import note, show
    from isoflop.cli.waiting import waiting

    note(statement)
    with lake_for(statement, lake, makes=makes) as opened, opened.session() as session, waiting() as progress:
        answer = session.sql(statement, progress=progress)
    show(answer, form)
    return answer


def lake_for(
    text: str, lake: str | None, *, makes: bool = False, read_only: bool = False
) -> contextlib.AbstractContextManager[Lakehouse]:
    """Open the lake that a text is asked of; the other parameters, and what it raises, are those of `lake_or_empty`."""
    from isoflop.queries.language.verbs import words
    from isoflop.queries.language.without_lake import needs_no_lake

    return lake_or_empty(lake, lambda: needs_no_lake(text, words()), makes=makes, read_only=read_only)


@contextlib.contextmanager
def lake_or_empty(
    lake: str | None, needs_none: Callable[[], bool], *, makes: bool = False, read_only: bool = False
) -> Iterator[Lakehouse]:
    """Open the lake that `--lake` names, or an empty one that is gone afterwards, for what needs none.

    Parameters
    ----------
    lake : of `--lake`; one that is named is the one that is asked
    needs_none : whether what is asked needs no lake; asked only where there is none
    makes, read_only : as `open_lake` takes them

    Raises
    ------
    StoreError : as `open_lake`
    """
    from isoflop.cli.existing import is_missing

    if not (is_missing(lake) and needs_none()):
        with open_lake(lake, makes=makes, read_only=read_only) as opened:
            yield opened
        return
    import tempfile

    from isoflop.lakehouse import Lakehouse
    from isoflop.queries.language import execute

    with tempfile.TemporaryDirectory() as folder:
        address = f"{folder}/empty.duckdb"
        if read_only:
            Lakehouse(address).close()  # which makes it
        with Lakehouse(address, language=execute, read_only=read_only) as opened:
            yield opened


def open_lake(lake: str | None = None, hold: bool = False, read_only: bool = False, *, makes: bool = True) -> Lakehouse:
    """Open the lake that `--lake` names, with the isoflop language; says so when it had to be made.

    Raises
    ------
    StoreError : if it cannot be opened, or `makes` is false and there is none: a command that only
        reads makes no lake
    """
    from isoflop.cli.existing import check_exists, only_reads
    from isoflop.cli.output import note
    from isoflop.lakehouse import Lakehouse
    from isoflop.queries.language import execute

    if not makes:
        check_exists(lake, makes=True)
    read_only = read_only or only_reads(lake)
    opened = Lakehouse(lake, language=execute, hold=hold and not read_only, read_only=read_only)
    if opened.is_new:
        note(f"made a new lake: {opened.address}")
    return opened
