"""`isoflop demo`: train a small sweep, land it, fit, cross-validate, extrapolate, and show it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from isoflop.lakehouse import Lakehouse

DEMO_LAKE = "demo.duckdb"
SWEEPS = ("transformer.yaml", "plrf.yaml")
QUICK = {"transformer.yaml": ("grid.budget=[1e9, 3e9, 1e10]", "exclude=[]"), "plrf.yaml": ("seeds=3",)}

GOPHER = "5.76e23"  # training FLOP of Gopher, the budget that Hoffmann et al. 2022 (arXiv:2203.15556) plan for

PUBLISHED = "FROM runs WHERE source LIKE 'import:%' AND NOT outlier"
TRAINED = "FROM runs WHERE family = 'transformer' AND source = 'worker' AND status = 'finished'"

# What the demo asks once the runs are in: a heading, then statements that anybody can type.
QUESTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "The published Chinchilla runs: fit, then predict the largest fifth from the rest",
        (
            f"CREATE OR REPLACE LAW published AS FIT loss ~ chinchilla(params, tokens) {PUBLISHED} WITH (delta = 1e-3)",
            "DESCRIBE LAW published",
            f"CROSS VALIDATE loss ~ chinchilla(params, tokens) {PUBLISHED} HOLDOUT LARGEST 20 PERCENT BY flops",
            f"EXTRAPOLATE published TO flops = {GOPHER}, params = sqrt(flops / 120), tokens = flops / (6 * params)",
        ),
    ),
    (
        "The transformers this machine just trained: loss, and seconds a step",
        (
            f"CREATE OR REPLACE LAW trained AS FIT validation_loss ~ chinchilla(params, tokens) {TRAINED}",
            "EXTRAPOLATE trained TO params = [1e5, 1e6], tokens = 20 * params",
            "CREATE OR REPLACE LAW seconds AS "
            f"FIT step_seconds ~ step_time(flops / steps, memcpy_bytes / steps, depth) {TRAINED}",
            "DESCRIBE LAW seconds",
        ),
    ),
    (
        "Power-law random features: risk against width, the mean over seeds",
        (
            "SELECT params, count(*) AS seeds, avg(loss) AS loss, stddev(loss) AS spread "
            "FROM runs WHERE family = 'plrf' GROUP BY params ORDER BY params",
            "FIT loss ~ A / params ^ alpha PARAMETERS (A > 0, alpha IN [0, 3]) FROM runs WHERE family = 'plrf'",
        ),
    ),
)

NEXT = """What to type next:
  isoflop tui --lake {lake}
  isoflop plot published --lake {lake}
  isoflop sql "DESCRIBE LAW published" --lake {lake}
  isoflop sql "SELECT published(7e10, 1.4e12) AS loss" --lake {lake}
  isoflop sql "SELECT * FROM runs ORDER BY loss LIMIT 10" --lake {lake}"""


def demo(
    lake: Annotated[
        str, typer.Option("--lake", "-l", metavar="FILE", help="Where the demo's lake is kept.")
    ] = DEMO_LAKE,
    quick: Annotated[
        bool, typer.Option("--quick", help="Train for seconds instead of minutes, on smaller budgets.")
    ] = False,
) -> None:
    """Train a small sweep on this machine, fit laws to it and to published runs, and extrapolate.

    Trains transformers and random-feature models with Ray, lands them in demo.duckdb, imports the published
    Chinchilla points, fits, cross-validates, extrapolates and plots. Running it again trains only what is
    missing.
    """
    from isoflop.cli.options import open_lake
    from isoflop.cli.output import stderr_console
    from isoflop.cli.training import train_all
    from isoflop.lakehouse.exchange import import_table
    from isoflop.lakehouse.exchange.published import find_published
    from isoflop.workers.sweep import load_sweeps

    console = stderr_console()
    began = time.perf_counter()
    folder = Path(__file__).parent
    sweeps = [sweep for name in SWEEPS for sweep in load_sweeps(str(folder / name), QUICK[name] if quick else ())]
    with open_lake(lake, hold=True) as opened:
        import_table(opened, find_published("chinchilla_epoch"))
        train_all(opened, sweeps)
        trained = time.perf_counter() - began
        ask(opened)
    _close(console, lake, trained, time.perf_counter() - began)


def ask(lake: Lakehouse) -> None:
    """Ask the demo's questions, print statement and answer of each, and draw the first law."""
    from isoflop.cli.cells import brief_fit
    from isoflop.cli.output import show, stdout_console
    from isoflop.cli.plot.command import print_figure
    from isoflop.cli.plot.law_card import read_law
    from isoflop.cli.plot.law_figure import law_figure

    out = stdout_console()
    for heading, statements in QUESTIONS:
        out.print(f"\n[bold]{heading}[/bold]")
        for statement in statements:
            out.print(f"\n> {statement};", style="cyan", markup=False, highlight=False)
            answer = lake.sql(statement)
            show(brief_fit(answer))
    out.print()
    print_figure(law_figure(lake, read_law(lake, "published"), x=None, to=float(GOPHER), level=0.95, held_out=None))


def _close(console: Console, lake: str, trained: float, total: float) -> None:
    from isoflop.cli.output import stdout_console
    from isoflop.lakehouse.units import format_seconds

    stdout_console().print("\n" + NEXT.format(lake=lake), markup=False)
    console.print(f"\ntraining {format_seconds(trained)}, everything {format_seconds(total)}", style="dim")
