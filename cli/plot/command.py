"""`isoflop plot`: a law, or the curves of runs, in the terminal or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.cli.options import LakeOption

if TYPE_CHECKING:
    from isoflop.cli.plot.figure import Figure
    from isoflop.lakehouse import Lakehouse

KINDS = ("law", "residuals", "isoflop", "curves")


def plot(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LAW | RUN...]", help="A law, or runs by id or name.", show_default=False),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            "-k",
            metavar="KIND",
            help="law, residuals, isoflop or curves [default: law or curves, by the name].",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", "-w", metavar="CONDITION", help="Draw the runs that satisfy an SQL condition."),
    ] = None,
    x: Annotated[
        str | None,
        typer.Option(
            "--x", metavar="COLUMN", help="The horizontal axis: flops, an input of the law, step, tokens, seconds."
        ),
    ] = None,
    to: Annotated[
        float | None,
        typer.Option("--to", metavar="X", help="How far a law is drawn [default: 30 times the largest run]."),
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
    """Draw a law with its runs and interval, or the loss curves of runs.

    \b
      isoflop plot chin
      isoflop plot chin --to 1e24 --held-out "params > 1e9" --out chin.svg
      isoflop plot chin --kind isoflop
      isoflop plot --where "family = 'transformer'" --x flops
    """  # fmt: skip
    from isoflop.cli.options import open_lake
    from isoflop.lakehouse.errors import UsageError, did_you_mean

    if kind is not None and kind not in KINDS:
        raise UsageError(
            f"there is no kind of plot '{kind}'", hint=did_you_mean(kind, KINDS, f"one of {', '.join(KINDS)}")
        )
    if not 0 <= level < 1:
        raise UsageError(f"level {level:g} is not a share between 0 and 1", hint="0.95 is 95 per cent")
    with open_lake(lake, makes=False) as opened:
        figure = figure_of(opened, names or [], kind, where, x, to, level or None, held_out)
    if out is not None:
        from isoflop.cli.output import note
        from isoflop.cli.plot.image import save

        note(f"wrote {save(figure, out)}")
    else:
        print_figure(figure, width, height, is_ascii=ascii)


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
    from isoflop.cli.plot.run_figures import curves_figure, find_runs, select_runs
    from isoflop.lakehouse.errors import UsageError

    if where is not None and names:
        raise UsageError("runs are chosen twice, by name and by --where", hint="leave one of them out")
    if not names and where is None:
        raise UsageError("there is nothing to plot", hint="name a law or runs, or choose runs with --where")
    if kind is None:
        kind = "law" if len(names) == 1 and _is_law(lake, names[0]) else "curves"
    if kind == "curves":
        runs = find_runs(lake, names) if where is None else select_runs(lake, where)
        return curves_figure(lake, runs, x=x or "step")
    if kind == "isoflop" and where is not None:
        return isoflop_figure(lake, condition=where)
    if len(names) != 1:
        raise UsageError(f"a plot of kind '{kind}' shows one law", hint="SHOW LAWS lists them")
    law = read_law(lake, names[0])
    match kind:
        case "law":
            return law_figure(lake, law, x=x, to=to, level=level, held_out=held_out)
        case "residuals":
            return residual_figure(lake, law, x=x)
        case _:
            return isoflop_figure(lake, law)


def _is_law(lake: Lakehouse, name: str) -> bool:
    """Return whether a law has this name."""
    return bool(lake.query("SELECT 1 FROM laws WHERE name = ? LIMIT 1", [name]).num_rows)


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
