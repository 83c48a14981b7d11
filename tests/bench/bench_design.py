"""Runs chosen by DESIGN against a uniform grid of as many runs and the same FLOPs, in worlds whose law is known.

    python -m tests.bench design                       the table
    python -m tests.bench.bench_design --write         the table and figure of docs/design.md

Every draw has its own coefficients and scatter. The law is fitted to the runs there are, DESIGN chooses, the runs are
simulated, the law is fitted again, and the forecast is held against the truth.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting import fit_law
from tests.bench.design_worlds import RESAMPLES, WORLDS, DesignWorld, Outcome, forecast_after

Array = NDArray[np.float64]

DRAWS, FIRST_DRAW, REPEATS = 6, 7000, 5
BUDGETS = (0.1, 1.0, 10.0, 100.0)  # in units of what the runs there are have cost
DOCS = Path(__file__).parents[2] / "docs"
WAYS = ("design", "grid")


@dataclass(frozen=True)
class Study:
    """One world: root mean square errors and median widths (B,) at each budget, for each way to choose runs.

    Parameters
    ----------
    before : error and width before any new run
    """

    name: str
    before: tuple[float, float]
    errors: dict[str, Array]
    widths: dict[str, Array]

    @property
    def times_narrower(self) -> float:
        """How many times narrower the interval is for the same FLOPs, the geometric mean over budgets."""
        return float(np.exp(np.mean(np.log(self.widths["grid"] / self.widths["design"]))))

    @property
    def times_closer(self) -> float:
        """How many times smaller the mean square error is for the same FLOPs, over all budgets."""
        return float(np.exp(2 * np.mean(np.log(self.errors["grid"] / self.errors["design"]))))

    @property
    def least_closer(self) -> float:
        """The same at the budget where it is lowest."""
        return float(((self.errors["grid"] / self.errors["design"]) ** 2).min())

    def times_cheaper(self, what: str) -> float:
        """How many times fewer FLOPs a design needs for what a grid comes to, the geometric mean over budgets.

        Read off the design's own curve over budgets; where a grid is worse than the cheapest design, that one counts.
        """
        curves = getattr(self, what)
        design = np.minimum.accumulate(np.log(curves["design"]))
        found = []
        for budget, value in zip(BUDGETS, np.log(curves["grid"]), strict=True):
            needed = np.interp(-value, -design, np.log(BUDGETS), right=np.log(budget))
            found.append(np.log(budget) - needed)
        return float(np.exp(np.mean(found[1:])))  # the smallest budget has nothing cheaper to be held against


def study(world: DesignWorld, draws: int = DRAWS, repeats: int = REPEATS) -> Study:
    """Return what designs and grids did in a world."""
    outcomes: dict[tuple[str, float], list[Outcome]] = {(way, budget): [] for way in WAYS for budget in BUDGETS}
    first: list[Outcome] = []
    for seed in range(FIRST_DRAW, FIRST_DRAW + draws):
        truth, generator = world.truth(seed), np.random.default_rng([seed, 1])
        old = world.measured(truth, world.rows, generator)
        fit = fit_law(world.law, world.rows, old, resamples=RESAMPLES)
        first.append(forecast_after(world, truth, old, world.rows[:0], generator, 1))
        for budget in BUDGETS:
            runs = {
                "design": world.designed(fit, budget * world.spent).points,
                "grid": world.grid_of(budget * world.spent),
            }
            for way, new in runs.items():
                outcomes[way, budget].append(forecast_after(world, truth, old, new, generator, repeats))
    return Study(
        world.name,
        (_rms(first), float(np.median([one.width for one in first]))),
        {way: np.array([_rms(outcomes[way, budget]) for budget in BUDGETS]) for way in WAYS},
        {way: np.array([np.median([one.width for one in outcomes[way, b]]) for b in BUDGETS]) for way in WAYS},
    )


def _rms(found: list[Outcome]) -> float:
    return float(np.sqrt(np.mean(np.concatenate([one.errors for one in found]) ** 2)))


def table(studies: list[Study]) -> list[str]:
    """Return the lines of a Markdown table, the geometric mean last."""
    lines = [
        "| world | error before | error, grid | error, design | mean square error: times smaller for the same FLOPs "
        "| at the worst budget | interval: times narrower for the same FLOPs "
        "| FLOPs for the same interval: times fewer |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    middle = BUDGETS.index(10.0)
    rows = []
    for one in studies:
        rows.append((one.times_closer, one.least_closer, one.times_narrower, one.times_cheaper("widths")))
        errors = (one.before[0], one.errors["grid"][middle], one.errors["design"][middle])
        shown = " | ".join(f"{error:.2%}" for error in errors)
        lines.append(f"| {one.name} | {shown} | " + " | ".join(f"{value:.2f}" for value in rows[-1]) + " |")
    closer, _, *others = np.exp(np.log(rows).mean(axis=0))
    means = " | ".join(f"{value:.2f}" for value in (closer, min(row[1] for row in rows), *others))
    return [*lines, f"| **geometric mean, and the worst** | | | | {means} |"]


def draw_figure(path: Path, studies: list[Study]) -> None:
    """Write error and interval against FLOPs as an SVG, one panel a world."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "isoflop"
    figure, panels = plt.subplots(2, 3, figsize=(10.0, 5.4), layout="constrained", sharex=True)
    for axes, one in zip(panels.ravel(), studies, strict=True):
        for way, color in (("grid", "#c44e52"), ("design", "#4c72b0")):
            axes.loglog(BUDGETS, 100 * one.errors[way], "o-", ms=4, color=color, label=f"{way}: error")
            axes.loglog(BUDGETS, 25 * one.widths[way], "s--", ms=3, lw=1, color=color, label=f"{way}: interval / 4")
        axes.axhline(100 * one.before[0], color="0.6", lw=0.8)
        axes.set_title(one.name, fontsize=9)
    for axes in panels[-1]:
        axes.set_xlabel("FLOPs of the new runs / FLOPs of the runs there are")
    for axes in panels[:, 0]:
        axes.set_ylabel("error of the forecast [%]")
    panels[0, 0].legend(frameon=False, fontsize=7, loc="lower left")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def bench(draws: int = DRAWS, write: bool = False) -> None:
    """Print the table; with `write`, put it into docs/design.md and draw its figure."""
    studies = []
    for world in WORLDS:
        studies.append(study(world, draws))
        shown = {way: studies[-1].errors[way].round(5).tolist() for way in WAYS}
        print(f"{world.name}: error {shown}", flush=True)
    lines = table(studies)
    print("\n".join(lines))
    if write:
        page = DOCS / "design.md"
        before, rest = page.read_text().split("<!-- worlds -->\n")
        end = "<!-- end of worlds -->"
        page.write_text(before + "<!-- worlds -->\n" + "\n".join(lines) + "\n" + end + rest.split(end)[1])
        draw_figure(DOCS / "figures" / "design.svg", studies)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    bench(given.draws, given.write)
