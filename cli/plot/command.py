"""`isoflop plot`: a law, or the curves of runs, in the terminal or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.cli.completing import complete_law_or_run
from isoflop.cli.options import LakeOption, lake_or_empty, read_size

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from isoflop.cli.plot.figure import Figure
    from isoflop.lakehouse import Lakehouse

KINDS = ("law", "residuals", "isoflop", "curves", "phases")


def plot(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LAW | RUN... | phases]",
            autocompletion=complete_law_or_run,
            help="A law, or runs by id or name; or phases, the plane of the phases of random features.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            "-k",
            metavar="KIND",
            help="law, residuals, isoflop, curves or phases [default: law or curves, by the name].",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", "-w", metavar="CONDITION", help="Draw the runs that satisfy an SQL condition."),
    ] = None,
    sql: Annotated[
        str | None,
        typer.Option(
            "--sql",
            metavar="STATEMENT",
            help="Draw an answer: its first column of numbers across, predicted… as lines, text as groups.",
        ),
    ] = None,
    x: Annotated[
        str | None,
        typer.Option(
            "--x", metavar="COLUMN", help="The horizontal axis: flops, an input of the law, step, tokens, seconds."
        ),
    ] = None,
    to: Annotated[
        float | None,
        typer.Option(
            "--to", metavar="X", parser=read_size, help="How far a law is drawn [default: 30 times the largest run]."
        ),
    ] = None,
    level: Annotated[float, typer.Option("--level", help="Level of the interval; 0 leaves it out.")] = 0.95,
    held_out: Annotated[
        str | None, typer.Option("--held-out", metavar="CONDITION", help="Runs the law has not seen, drawn as rings.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write an .svg, .png or .pdf instead of printing."),
    ] = None,
    width: Annotated[int | None, typer.Option("--width", help="Columns of the terminal [default: all].")] = None,
    height: Annotated[
        int | None, typer.Option("--height", help="Lines of the terminal [default: a third of its width].")
    ] = None,
    ascii: Annotated[bool, typer.Option("--ascii", help="Print ASCII characters only.")] = False,
    lake: LakeOption = None,
) -> None:
    """Draw a law with its runs and interval, the loss curves of runs, or an answer.

    \b
      isoflop plot chin
      isoflop plot chin --to 1e24 --held-out "params > 1e9" --out chin.svg
      isoflop plot chin --kind isoflop
      isoflop plot published:besiroglu_2024
      isoflop plot --where "family = 'transformer'" --x flops
      isoflop plot --sql "SELECT params, avg(loss), optimizer FROM runs GROUP BY ALL"
      isoflop plot phases
      isoflop plot --kind phases --where "family = 'plrf'"
    """  # fmt: skip
    from isoflop.lakehouse.errors import UsageError, did_you_mean

    if kind is not None and kind not in KINDS:
        raise UsageError(
            f"there is no kind of plot '{kind}'", hint=did_you_mean(kind, KINDS, f"one of {', '.join(KINDS)}")
        )
    if not 0 <= level < 1:
        raise UsageError(f"level {level:g} is not a share between 0 and 1", hint="0.95 is 95 per cent")
    if sql is not None and (names or kind or where or held_out or x):
        raise UsageError("--sql says all that is drawn", hint="leave out names, --kind, --where, --held-out and --x")
    with lake_of(names or [], lake) as opened:
        figure = (
            answered(opened, sql)
            if sql is not None
            else figure_of(opened, names or [], kind, where, x, to, level or None, held_out)
        )
    if out is not None:
        from isoflop.cli.output import note
        from isoflop.cli.plot.image import save

        note(f"wrote {save(figure, out)}")
    else:
        print_figure(figure, width, height, is_ascii=ascii)


def answered(lake: Lakehouse, statement: str) -> Figure:
    """Return the figure of the answer to a statement; the last one's where there are several."""
    from isoflop.cli.plot.answer_figure import answer_figure

    return answer_figure(lake, lake.sql(statement))


def lake_of(names: list[str], address: str | None) -> AbstractContextManager[Lakehouse]:
    """The lake that is named, or an empty one where there is none for what needs none: laws of papers, the phases."""
    from isoflop.cli.plot.law_card import is_published

    return lake_or_empty(address, lambda: bool(names) and (names == ["phases"] or all(map(is_published, names))))


def figure_of(
    lake: Lakehouse,
    names: list[str],
    kind: str | None = None,
    where: str | None = None,
    x: str | None = None,
    to: float | None = None,
    level: float | None = 0.95,
    held_out: str | None = None,
) -> Figure:
    """Return the figure that names and options ask for; the parameters are those of `plot`."""
    from isoflop.cli.plot.isoflop_figure import isoflop_figure
    from isoflop.cli.plot.law_card import read_law
    from isoflop.cli.plot.law_figure import law_figure, residual_figure
    from isoflop.cli.plot.phase_figure import phase_figure
    from isoflop.cli.plot.run_figures import curves_figure, find_runs, select_runs
    from isoflop.lakehouse.errors import EmptySelection, UsageError
    from isoflop.queries.language.syntax.sizes import with_sizes

    if where is not None and names:
        raise UsageError("runs are chosen twice, by name and by --where", hint="leave one of them out")
    if not names and where is None:
        raise UsageError("there is nothing to plot", hint="name a law or runs, or choose runs with --where")
    where, held_out = (None if text is None else with_sizes(text) for text in (where, held_out))
    if kind in (None, "phases") and names == ["phases"] and not (_is_law(lake, "phases") or _is_run(lake, "phases")):
        return phase_figure()
    if kind is None and len(names) > 1:
        _check_runs(lake, names)
    if kind is None:
        kind = "law" if len(names) == 1 and _is_law(lake, names[0]) else "curves"
    if kind == "curves":
        runs = find_runs(lake, names) if where is None else select_runs(lake, where)
        return curves_figure(lake, runs, x=x or "step")
    if kind == "phases":
        return phase_figure(lake, find_runs(lake, names) if where is None else select_runs(lake, where))
    if kind == "isoflop" and where is not None:
        return isoflop_figure(lake, condition=where)
    if len(names) != 1:
        raise UsageError(f"a plot of kind '{kind}' shows one law", hint="SHOW LAWS lists them")
    law = read_law(lake, names[0])
    match kind:
        case "law":
            return law_figure(lake, law, x=x, to=to, level=level, held_out=held_out)
        case "residuals" if law.is_given:
            raise EmptySelection(f"law '{law.name}' is of given coefficients: it has no runs, and no residuals of them")
        case "residuals":
            return residual_figure(lake, law, x=x)
        case _:
            return isoflop_figure(lake, law)


def _check_runs(lake: Lakehouse, names: list[str]) -> None:
    """Raise UsageError when several names are not all of runs but some of laws."""
    from isoflop.lakehouse.errors import UsageError

    laws = [name for name in names if _is_law(lake, name) and not _is_run(lake, name)]
    if not laws:
        return
    said = f"law '{laws[0]}'" if len(laws) == 1 else f"laws {', '.join(repr(name) for name in laws)}"
    also = f" and {len(names) - len(laws)} more" if len(laws) < len(names) else ""
    ways = "; ".join(f"isoflop plot {name}" for name in laws)
    ranks = f"; isoflop sql 'COMPARE {', '.join(laws)}' ranks them" if len(laws) > 1 else ""
    raise UsageError(f"plot draws one law at a time, and was given {said}{also}", hint=f"one by one: {ways}{ranks}")


def _is_run(lake: Lakehouse, name: str) -> bool:
    """Return whether a run has this name or id."""
    return bool(lake.query("SELECT 1 FROM runs WHERE name = $name OR run_id = $name LIMIT 1", {"name": name}).num_rows)


def _is_law(lake: Lakehouse, name: str) -> bool:
    """Return whether a law has this name."""
    from isoflop.cli.plot.law_card import is_published

    return is_published(name) or bool(lake.query("SELECT 1 FROM laws WHERE name = ? LIMIT 1", [name]).num_rows)


def print_figure(
    figure: Figure, width: int | None = None, height: int | None = None, *, is_ascii: bool = False
) -> None:
    """Print the figure on stdout, in as many colors as it has."""
    from isoflop.cli.output import stdout_console
    from isoflop.cli.plot.terminal import draw, is_plain_terminal

    console = stdout_console()
    width = width or (console.width if console.is_terminal else 100)
    height = height or max(16, min(console.height - 2 if console.is_terminal else 32, width // 3))
    page = draw(figure, width, height, is_ascii=is_ascii or is_plain_terminal())
    if console.is_terminal:
        console.print(page.text, soft_wrap=True)
    else:
        print(page.plain)
