"""How often 95 % intervals hold a run 1 to 1,000 times beyond the rows, in planted worlds of many kinds.

    python -m tests.bench reach                           the tables of a few draws
    python -m tests.bench.bench_reach --draws 10 --write  the tables of docs/intervals.md (half an hour on one core)

The constants of `queries/fitting/widening.py` and `hull.py` were chosen on draws 0 to 11, the prior lowered from 0.05
after draws 1000 to 1011 had shown intervals that were too wide; the draws here are others.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting import fit_law, predict
from tests.bench.bench_calibration import write_parts
from tests.bench.reach_worlds import ASKED, KINDS, REACHES, Kind, drawn

Array = NDArray[np.float64]

FIRST_DRAW = 2000
RESAMPLES = 200
NAMES = tuple(f"{low:g} to {high:g}x" for low, high in REACHES)


@dataclass(frozen=True)
class Judged:
    """What one fit's intervals did.

    Parameters
    ----------
    held, plain_held : (T,) whether each larger run lay inside, with what grows beyond the rows and without
    width : (T,) of the intervals, in logarithms
    error : (T,) log of predicted over measured
    """

    held: NDArray[np.bool_]
    plain_held: NDArray[np.bool_]
    width: Array
    error: Array


def judged(kind: Kind, seed: int) -> Judged:
    """Return what the intervals of one draw did."""
    rows = drawn(kind, seed)
    fit = fit_law(rows.law, rows.inputs, rows.values, groups=rows.groups, resamples=RESAMPLES, forward=True)
    wide = predict(fit, rows.asked)
    plain = predict(replace(fit.fitted, widening=None), rows.asked)
    held, plain_held = ((found.lower <= rows.measured) & (rows.measured <= found.upper) for found in (wide, plain))
    with np.errstate(all="ignore"):
        width, error = np.log(wide.upper / wide.lower), np.log(wide.predicted / rows.measured)
    return Judged(held, plain_held, width, error)


def _judged(task: tuple[int, int]) -> tuple[int, Judged]:
    return task[0], judged(KINDS[task[0]], task[1])


def all_judged(draws: int, processes: int = 2) -> list[list[Judged]]:
    """Return what the draws of every kind did."""
    found: list[list[Judged]] = [[] for _ in KINDS]
    tasks = [(place, FIRST_DRAW + draw) for draw in range(draws) for place in range(len(KINDS))]
    with get_context("spawn").Pool(processes) as pool:
        for place, each in pool.imap_unordered(_judged, tasks):
            found[place].append(each)
    return found


def table(found: list[list[Judged]]) -> list[str]:
    """Return the lines of a Markdown table: coverage by kind and reach, then pooled, without growth, and the widths."""
    head = " | ".join(NAMES)
    lines = [f"| truth | draws | {head} |", "| --- | --- |" + " --- |" * len(NAMES)]
    parts = [slice(ASKED * place, ASKED * (place + 1)) for place in range(len(REACHES))]
    for kind, draws in zip(KINDS, found, strict=True):
        name = kind.name if kind.is_true else f"{kind.name} (wrong law)"
        shares = " | ".join(f"{np.mean([each.held[part] for each in draws]):.0%}" for part in parts)
        lines.append(f"| {name} | {len(draws)} | {shares} |")
    every = [each for draws in found for each in draws]
    rows = {
        "**all kinds**": [f"{np.mean([each.held[part] for each in every]):.1%}" for part in parts],
        "resamples alone": [f"{np.mean([each.plain_held[part] for each in every]):.1%}" for part in parts],
        "median width": [f"{np.median([each.width[part] for each in every]):.1%}" for part in parts],
        "width over error": [
            f"{np.median([each.width[part] for each in every]) / _rms([each.error[part] for each in every]):.1f}"
            for part in parts
        ],
    }
    return lines + [f"| {name} | {len(every)} | {' | '.join(cells)} |" for name, cells in rows.items()]


def _rms(errors: list[Array]) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))


def bench(draws: int = 3, write: bool = False) -> None:
    """Print the table; with `write`, put it into docs/intervals.md."""
    lines = table(all_judged(draws))
    print("\n".join(lines))
    if write:
        write_parts({"reach": lines})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    bench(given.draws, given.write)
