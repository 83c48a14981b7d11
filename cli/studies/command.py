"""`isoflop study`: run a study's sweep, ask what its page asks, and print or write the page with the answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.cli.options import JsonOption

if TYPE_CHECKING:
    from isoflop.cli.plot.figure import Figure
    from isoflop.cli.studies.page import Block, Study
    from isoflop.lakehouse import Answer, Lakehouse

MOST_ROWS, FIRST_ROWS = 24, 4  # of an answer on a written page; of a longer one the first


def study(
    name: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="Which one; without a name they are listed.")
    ] = None,
    lake: Annotated[
        str | None,
        typer.Option("--lake", "-l", metavar="LAKE", help="Where its runs are kept [default: STUDY.duckdb]."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="Write the page and its pictures there, not to the terminal."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Run what a paper claims at laptop scale: train its sweep, then ask what its page asks.

    \b
      isoflop study                         what there is
      isoflop study grokking                train, ask, print
      isoflop study grokking --out pages    write grokking.md and its pictures

    Runs that are in the lake already are not trained again.
    """  # fmt: skip
    from isoflop.cli.output import note, show
    from isoflop.cli.studies.page import find_study

    if name is None:
        show(_list(), "json" if json else None)
        return
    chosen = find_study(name)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    with _trained(chosen, lake or f"{chosen.name}.duckdb") as opened:
        if out is None:
            _print(opened, chosen)
        else:
            note(f"wrote {_write(opened, chosen, out)}")


def _list() -> Answer:
    """Return the studies, each with its heading and how many runs it trains."""
    import pyarrow as pa

    from isoflop.cli.studies.page import studies
    from isoflop.lakehouse import Answer
    from isoflop.workers.sweep import load_sweeps

    found = studies().values()
    runs = [sum(len(sweep.expand().records) for sweep in load_sweeps(str(each.sweep))) for each in found]
    table = pa.table({"study": [each.name for each in found], "what": [each.title for each in found], "runs": runs})
    return Answer(table)


@contextlib.contextmanager
def _trained(study: Study, address: str) -> Iterator[Lakehouse]:
    """Give a lake that holds the runs of a study."""
    from isoflop.cli.options import open_lake
    from isoflop.cli.training import train_all
    from isoflop.workers.sweep import load_sweeps

    sweeps = load_sweeps(str(study.sweep))
    with open_lake(address, hold=True) as lake:
        train_all(lake, sweeps)
        yield lake


def _print(lake: Lakehouse, study: Study) -> None:
    """Print the page, each statement with its answer."""
    from isoflop.cli.cells import brief_fit
    from isoflop.cli.output import say, show, stdout_console
    from isoflop.cli.plot.command import print_figure

    for block in study.blocks():
        if block.kind == "prose":
            say(f"\n{block.text}")
            continue
        stdout_console().print(f"\n> {block.text.rstrip(';')};", style="cyan", markup=False, highlight=False)
        if block.kind == "plot":
            print_figure(_figure(lake, block))
        else:
            show(brief_fit(lake.sql(block.text)))


def _write(lake: Lakehouse, study: Study, folder: Path) -> Path:
    """Write the page with its answers and pictures, and return its path."""
    from isoflop.cli.cells import brief_fit
    from isoflop.cli.plot.image import save

    parts, drawn = [], 0
    for block in study.blocks():
        if block.kind == "prose":
            parts.append(block.text)
            continue
        parts.append(f"```sql\n{block.text}\n```")
        if block.kind == "plot":
            drawn += 1
            picture = save(_figure(lake, block), folder / f"{study.name}_{drawn}.svg")
            parts.append(f"![{block.title or study.title}]({picture.name})")
        else:
            parts.append(_table(brief_fit(lake.sql(block.text))))
    sweep = study.sweep.read_text(encoding="utf-8").strip()
    how = f"`isoflop study {study.name}` trains this and asks the statements above:"
    parts.append(f"## Made by\n\n{how}\n\n```yaml\n{sweep}\n```")
    path = folder / f"{study.name}.md"
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _figure(lake: Lakehouse, block: Block) -> Figure:
    from isoflop.cli.plot.command import answered

    figure = answered(lake, block.text)
    return replace(figure, title=block.title) if block.title else figure


def _table(answer: Answer) -> str:
    """Return an answer in Markdown, as people read it: its rows, what stands beside them, its notes."""
    from isoflop.cli.cells import markdown_rows, table_cells
    from isoflop.lakehouse import Answer
    from isoflop.lakehouse.visible import visible_line

    names, rows = table_cells(answer)
    kept = rows if len(rows) <= MOST_ROWS else rows[:FIRST_ROWS]
    lines = markdown_rows(names, kept, lambda cell: visible_line(cell).replace("|", "\\|"))
    if len(rows) > len(kept):
        lines.append(f"\n*and {len(rows) - len(kept):,} more rows*")
    if answer.beside is not None:
        lines += ["", _table(Answer(answer.beside))]
    return "\n".join([*lines, *(f"\n> {visible_line(said)}" for said in answer.notes)])
