"""How often 95 % intervals beyond the rows hold the run: planted worlds and every forward cut of published runs.

    python -m tests.bench calibration                                  the table
    python -m tests.bench.bench_calibration --runs FOLDER --write      the table and figure of docs/intervals.md

FOLDER holds `chinchilla_epoch.csv`, `gadre_overtraining.csv` and `gemstones_lr_ablation_curves.csv`, of which the
first comes with isoflop. How intervals grow was chosen on other worlds, those of `bench_reach`, and on none of these.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.exchange.published import find_published
from isoflop.queries.fitting import fit_law, predict
from isoflop.queries.fitting.hull import hull_of
from isoflop.queries.laws import CHINCHILLA, Law
from tests.bench.planted_worlds import WORLDS

Array = NDArray[np.float64]

DRAWS, FIRST_DRAW = 30, 5000
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
RESAMPLES = 400
DOCS = Path(__file__).parents[2] / "docs"


@dataclass(frozen=True)
class Coverage:
    """What one fit's intervals did on larger runs.

    Parameters
    ----------
    plain, calibrated : shares of held-out runs inside the interval, without and with widening [1]
    wider : median of how many times wider the calibrated interval is, in logarithms
    reach, held : (T,) distance of each held-out run beyond the rows, and whether the calibrated interval held it
    held_plain : (T,) whether the plain one did
    """

    plain: float
    calibrated: float
    wider: float
    reach: Array
    held: NDArray[np.bool_]
    held_plain: NDArray[np.bool_]


def coverage(
    law: Law, train: tuple[Array, Array], larger: tuple[Array, Array], groups: list[str] | None = None
) -> Coverage | None:
    """Return what intervals do on larger runs than those fitted; None when the rows are too few for intervals."""
    fit = fit_law(law, *train, groups=groups, resamples=RESAMPLES, forward=True)
    if not len(fit.draws):
        return None
    inputs, measured = larger
    plain = predict(replace(fit.fitted, widening=None), inputs)
    wide = predict(fit, inputs)
    in_plain = (plain.lower <= measured) & (measured <= plain.upper)
    in_wide = (wide.lower <= measured) & (measured <= wide.upper)
    wider = np.median(np.log(wide.upper / wide.lower) / np.log(plain.upper / plain.lower))
    reached = hull_of(law, fit.data.inputs).distance(inputs)
    return Coverage(float(in_plain.mean()), float(in_wide.mean()), float(wider), reached, in_wide, in_plain)


def planted(draws: int = DRAWS, first: int = FIRST_DRAW) -> Iterator[tuple[str, list[Coverage]]]:
    """Yield each planted world with what its draws did."""
    for world in WORLDS:
        found = []
        for seed in range(first, first + draws):
            one = world.draw(seed)
            judged = coverage(one.law, (one.inputs, one.values), (one.larger_inputs, one.larger_values))
            found += [judged] if judged is not None else []
        yield world.name + ("" if world.is_true else " (wrong law)"), found


def published(folder: Path | None) -> Iterator[tuple[str, list[Coverage]]]:
    """Yield each set of published runs with what its forward cuts did, at seven shares of its runs."""
    for name, inputs, loss, groups in _sets(folder):
        size = inputs.prod(axis=1)
        found = []
        for share in SHARES:
            edge = np.sort(size)[int(share * len(loss)) - 1]
            small, large = np.flatnonzero(size <= edge), np.flatnonzero(size > edge)
            own = None if groups is None else [groups[k] for k in small]
            judged = coverage(CHINCHILLA, (inputs[small], loss[small]), (inputs[large], loss[large]), own)
            found += [judged] if judged is not None else []
        yield name, found


def _sets(folder: Path | None) -> Iterator[tuple[str, Array, Array, list[str] | None]]:
    """Name, inputs (R, 2), losses (R,) and run labels of each set of published runs that is there."""
    path = Path(find_published("chinchilla_epoch"))
    rows = [row for row in _read(path) if row["outlier"] == "0"]
    yield "Hoffmann et al., 240 runs", _inputs(rows), _loss(rows), None
    if folder is None:
        return
    rows = _read(folder / "gadre_overtraining.csv")
    for name in ("c4_original", "rpj", "rw_original"):
        some = [row for row in rows if row["train_data"] == name]
        yield f"Gadre et al., {name}, {len(some)} runs", _inputs(some), _loss(some), None
    rows = [row for row in _read(folder / "gemstones_lr_ablation_curves.csv") if row["in_fit"] == "1"]
    yield "Gemstones, 200 points of 20 runs", _inputs(rows), _loss(rows), [row["run_id"] for row in rows]


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _inputs(rows: list[dict[str, str]]) -> Array:
    return np.array([[float(row["params"]), float(row["tokens"])] for row in rows])


def _loss(rows: list[dict[str, str]]) -> Array:
    return np.array([float(row["loss"]) for row in rows])


def table(groups: list[tuple[str, list[Coverage]]]) -> list[str]:
    """Return the lines of a Markdown table, the average last."""
    lines = ["| runs | fits | resamples alone | calibrated | times wider |", "| --- | --- | --- | --- | --- |"]
    rows = [
        (name, len(found), *(float(np.mean([getattr(one, key) for one in found])) for key in ("plain", "calibrated")),
         float(np.median([one.wider for one in found])))
        for name, found in groups
    ]  # fmt: skip
    rows.append(
        ("**average**", sum(row[1] for row in rows), *(float(np.mean([row[k] for row in rows])) for k in (2, 3, 4)))
    )
    return lines + [
        f"| {name} | {fits} | {plain:.1%} | {wide:.1%} | {times:.2f} |" for name, fits, plain, wide, times in rows
    ]


def draw_figure(path: Path, groups: list[tuple[str, list[Coverage]]]) -> None:
    """Write coverage against reach as an SVG: resamples alone, and calibrated."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    every = [one for _, found in groups for one in found]
    reached, held, plain = (
        np.concatenate([getattr(one, key) for one in every]) for key in ("reach", "held", "held_plain")
    )
    edges = np.quantile(reached, np.linspace(0, 1, 11))
    middles = [float(np.median(reached[(reached >= a) & (reached <= b)])) for a, b in itertools.pairwise(edges)]
    plt.rcParams["svg.hashsalt"] = "isoflop"
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    axes.axhspan(0.90, 0.98, color="0.93", lw=0)
    axes.axhline(0.95, color="0.5", lw=0.8)
    for values, label, color in ((plain, "resamples alone", "#c44e52"), (held, "calibrated", "#4c72b0")):
        shares = [float(np.mean(values[(reached >= a) & (reached <= b)])) for a, b in itertools.pairwise(edges)]
        axes.plot(middles, shares, "o-", ms=4, color=color, label=label)
    axes.set(
        xlabel="distance beyond the rows, in factors of e",
        ylabel="share of runs inside 95 % interval",
        ylim=(0.6, 1.0),
    )
    axes.legend(frameon=False, loc="lower left")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def write_parts(parts: dict[str, list[str]]) -> None:
    """Put tables into docs/intervals.md, each between the two comments of its name."""
    page = DOCS / "intervals.md"
    text = page.read_text()
    for name, lines in parts.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, rest = text.split(start)
        text = before + start + "\n".join(lines) + "\n" + end + rest.split(end)[1]
    page.write_text(text)


def bench(folder: Path | None = None, draws: int = DRAWS, write: bool = False) -> None:
    """Print the table; with `write`, put it into docs/intervals.md and draw its figure."""
    worlds, sets = list(planted(draws)), list(published(folder))
    parts = {"planted": table(worlds), "published": table(sets)}
    for lines in parts.values():
        print("\n".join(lines), end="\n\n")
    if write:
        write_parts(parts)
        (DOCS / "figures").mkdir(exist_ok=True)
        draw_figure(DOCS / "figures" / "interval_coverage.svg", worlds + sets)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    bench(given.runs, given.draws, given.write)
