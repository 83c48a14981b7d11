"""`isoflop report`: one page that a colleague can read without a lake, a network or this program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.cli.completing import complete_law
from isoflop.cli.options import LakeOption

if TYPE_CHECKING:
    from isoflop.cli.report.content import Report

FORMATS = ("html", "md")
SUFFIXES = {".html": "html", ".htm": "html", ".md": "md", ".markdown": "md"}
MOST_DESIGNED = 100  # runs of --design: each is chosen after those before it, which takes longer with every one


def report(
    laws: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LAW…]",
            autocompletion=complete_law,
            help="Which laws [default: all saved ones].",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FILE", help="Where to write; - prints [default: report.html]."),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="Of the page [default: names the lake].")] = None,
    design: Annotated[
        int, typer.Option("--design", metavar="N", help="Propose N runs for each law; 0 leaves this out.")
    ] = 0,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            autocompletion=lambda: list(FORMATS),
            help="html or md [default: by the file's name, else html].",
        ),
    ] = None,
    lake: LakeOption = None,
) -> None:
    """Write one page on runs, laws and forecasts, with every statement that it was made by.

    The page is a single file that needs no network: curves, formulas, coefficients with intervals, what each note
    asks for, forward checks, residuals, the compute frontier, forecasts that held or did not. docs/report.md says more.

    \b
      isoflop report -o report.html
      isoflop report chin --design 4 --title "Widths, second round"
      isoflop report published:besiroglu_2024 -o - --format md
    """  # fmt: skip
    from isoflop.cli.output import note, say
    from isoflop.cli.plot.command import lake_of
    from isoflop.cli.report.gather import gather
    from isoflop.cli.waiting import waiting
    from isoflop.lakehouse.errors import UsageError

    form = chosen_form(format, out)
    place = out or f"report.{form}"
    if not 0 <= design <= MOST_DESIGNED:
        raise UsageError(f"--design takes 0 to {MOST_DESIGNED} runs, got {design}")
    check_place(place)
    with lake_of(laws or [], lake) as opened, waiting() as progress:
        text = written(gather(opened, laws or [], title=title, num_designed=design, progress=progress), form)
    if place == "-":
        say(text.rstrip("\n"))
    else:
        replace_file(place, text)
        note(f"wrote {place}")


def chosen_form(format: str | None, out: str | None) -> str:
    """Return `html` or `md`: what `--format` says, else what the file's name ends in.

    Raises
    ------
    UsageError : for another format, or a name that ends in neither when no format is given

    Example
    -------
    >>> chosen_form(None, "laws.md"), chosen_form("md", "-"), chosen_form(None, None)
    ('md', 'md', 'html')
    """
    from pathlib import Path

    from isoflop.lakehouse.errors import UsageError, did_you_mean

    if format is not None:
        if format not in FORMATS:
            raise UsageError(
                f"there is no format '{format}' of a report", hint=did_you_mean(format, FORMATS, "html or md")
            )
        return format
    if out in (None, "-"):
        return "html"
    suffix = Path(str(out)).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"cannot tell the format of '{out}'", hint="end its name in .html or .md, or give --format")
    return SUFFIXES[suffix]


def check_place(place: str) -> None:
    """Raise UsageError when a report cannot be written there; `-` is stdout."""
    from pathlib import Path

    from isoflop.lakehouse.errors import UsageError

    path = Path(place)
    if place == "-":
        return
    if path.is_dir():
        raise UsageError(f"'{path}' is a folder", hint=f"{path}/report.html")
    if not path.parent.is_dir():
        raise UsageError(f"folder '{path.parent}' does not exist", hint="create it first")


def written(page: Report, form: str) -> str:
    """Return a report as text in `html` or `md`."""
    if form == "md":
        from isoflop.cli.report.markdown import markdown_of

        return markdown_of(page)
    from isoflop.cli.report.html import html_of

    return html_of(page)


def replace_file(place: str, text: str) -> None:
    """Write a file whole or not at all: one that is cut off leaves what was there before."""
    import os
    from pathlib import Path

    path = Path(place)
    if path.exists() and not path.is_file():  # such as /dev/stdout, in whose place no file is put
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    path = path.resolve()  # a link stays one
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8", newline="\n")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
