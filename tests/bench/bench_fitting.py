"""Fitting the 240 published Chinchilla runs, in CPU seconds, beside a textbook loop of SciPy's L-BFGS-B.

The loop is what published notebooks do: log-sum-exp, Huber with delta 1e-3 summed over rows, finite differences,
one call per start, the best of all starts, one start per resample. It is timed on a sample of its starts and
resamples and scaled up; ours is timed whole. Both end at the same objective.
"""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.exchange.published import find_published
from isoflop.queries.fitting import LeaveOneOut, cross_validate, fit_law, forward_check
from isoflop.queries.fitting.solver import compiled
from isoflop.queries.laws import CHINCHILLA, KAPLAN

Array = NDArray[np.float64]
TIMED_STARTS, TIMED_RESAMPLES = 60, 20


def published_runs() -> tuple[Array, Array]:
    """Inputs (240, 2) and losses (240,)."""
    with Path(find_published("chinchilla_epoch")).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["outlier"] == "0"]
    inputs = np.array([[float(row["params"]), float(row["tokens"])] for row in rows])
    return inputs, np.array([float(row["loss"]) for row in rows])


def hoffmann_grid() -> Array:
    """The 4,500 starts (a, b, e, alpha, beta) of Hoffmann et al. 2022, appendix D.3."""
    large, small = np.arange(0.0, 30, 5), np.arange(0, 2.5, 0.5)
    return np.array(list(itertools.product(large, large, np.arange(-1, 1.5, 0.5), small, small)))


def cpu_seconds(work: Callable[[], object], times: int = 3) -> float:
    """Least CPU seconds of a few runs of something."""
    spent = []
    for _ in range(times):
        before = time.process_time()
        work()
        spent.append(time.process_time() - before)
    return min(spent)


class TextbookLoop:
    """Huber on log loss by L-BFGS-B with finite differences, one start at a time."""

    def __init__(self, inputs: Array, loss: Array) -> None:
        self.log_inputs, self.log_loss = np.log(inputs), np.log(loss)

    def objective(self, theta: Array, counts: Array) -> float:
        """Sum of Huber(1e-3) over rows, each as often as it counts."""
        a, b, e, alpha, beta = theta
        terms = (a - alpha * self.log_inputs[:, 0], b - beta * self.log_inputs[:, 1], np.full(len(self.log_loss), e))
        left = np.abs(self.log_loss - np.logaddexp.reduce(terms))
        return float(np.sum(counts * np.where(left <= 1e-3, 0.5 * left**2, 1e-3 * (left - 5e-4))))

    def solve(self, start: Array, counts: Array) -> tuple[float, Array]:
        """Objective and end of one descent."""
        from scipy.optimize import minimize

        found = minimize(self.objective, start, args=(counts,), method="L-BFGS-B")
        return float(found.fun), np.asarray(found.x)


def print_both_paths(inputs: Array, loss: Array, starts: Array) -> None:
    """Print wall clock and CPU seconds of the whole job in NumPy and, where numba is installed, compiled."""
    shares = tuple(np.linspace(0.35, 0.9, 10).tolist())
    installed = compiled.is_available()
    for name, wanted in (("NumPy", False), ("compiled", True)):
        if wanted and not installed:
            print("compiled: numba is not installed (pip install isoflop[fast])")
            continue
        with compiled.switched(wanted):
            fit_law(CHINCHILLA, inputs, loss, resamples=20)  # loads the kernels
            point = cpu_seconds(lambda: fit_law(CHINCHILLA, inputs, loss, resamples=0), 9)
            wall, cpu = time.perf_counter(), time.process_time()
            fit_law(CHINCHILLA, inputs, loss, resamples=4000, starts=starts)
            forward_check(CHINCHILLA, inputs, loss, shares=shares, resamples=1000)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"{name:9} point fit {1000 * point:.1f} ms; grid + 4,000 + cuts {wall:.2f} s wall, {cpu:.2f} s CPU")


def bench() -> None:
    """Print the table."""
    inputs, loss = published_runs()
    grid = hoffmann_grid()
    as_coefficients = np.column_stack([np.exp(grid[:, 2]), np.exp(grid[:, :2]), grid[:, 3:]])
    fit_law(CHINCHILLA, inputs, loss, resamples=0)  # imports and first parse are not what is timed

    ours = {
        "point fit with certificate": cpu_seconds(lambda: fit_law(CHINCHILLA, inputs, loss, resamples=0), 9),
        "fit with 1,000 resamples": cpu_seconds(lambda: fit_law(CHINCHILLA, inputs, loss)),
        "fit with 4,000 resamples": cpu_seconds(lambda: fit_law(CHINCHILLA, inputs, loss, resamples=4000), 2),
        "4,500-start grid": cpu_seconds(
            lambda: fit_law(CHINCHILLA, inputs, loss, resamples=0, starts=as_coefficients), 1
        ),
        "10 forward cuts x 1,000": cpu_seconds(
            lambda: forward_check(
                CHINCHILLA, inputs, loss, shares=tuple(np.linspace(0.35, 0.9, 10).tolist()), resamples=1000
            ),
            1,
        ),
        "leave one out, 240 fits": cpu_seconds(
            lambda: cross_validate(CHINCHILLA, inputs, loss, LeaveOneOut().split(inputs), resamples=0), 2
        ),
        "kaplan, 1,000 resamples": cpu_seconds(lambda: fit_law(KAPLAN, inputs, loss), 2),
    }

    loop, ones, generator = TextbookLoop(inputs, loss), np.ones(len(loss)), np.random.default_rng(0)
    starts = grid[generator.choice(len(grid), TIMED_STARTS, replace=False)]
    ends: list[tuple[float, Array]] = []
    each_start = cpu_seconds(lambda: ends.extend(loop.solve(start, ones) for start in starts), 1) / TIMED_STARTS
    best = min(ends, key=lambda end: end[0])
    counts = generator.multinomial(len(loss), ones / len(loss), TIMED_RESAMPLES)
    each_resample = cpu_seconds(lambda: [loop.solve(best[1], row) for row in counts], 1) / TIMED_RESAMPLES
    theirs = {
        "point fit with certificate": each_start * len(grid),
        "fit with 1,000 resamples": each_start * len(grid) + each_resample * 1000,
        "fit with 4,000 resamples": each_start * len(grid) + each_resample * 4000,
        "4,500-start grid": each_start * len(grid),
    }

    fit = fit_law(CHINCHILLA, inputs, loss, resamples=0)
    reached = sum(value <= fit.objective * 1.0001 for value, _ in ends) / TIMED_STARTS
    print(f"{'':28}{'isoflop':>12}{'L-BFGS-B loop':>16}{'times':>9}     CPU seconds")
    for name, seconds in ours.items():
        other = theirs.get(name)
        beside = "" if other is None else f"{other:16.1f}{other / seconds:9.0f}"
        print(f"{name:28}{seconds:12.3f}{beside}")
    budget = ours["4,500-start grid"] + ours["fit with 4,000 resamples"] + ours["10 forward cuts x 1,000"]
    print(
        f"{'grid + 4,000 + cuts':28}{budget:12.3f}      (budget 10 in NumPy, 1 compiled, wall clock of two idle cores)"
    )
    print_both_paths(inputs, loss, as_coefficients)
    print(f"point fit {1000 * ours['point fit with certificate']:.1f} ms (budget 50), objective {fit.objective:.10e}")
    print(f"L-BFGS-B: best of {TIMED_STARTS} starts {best[0]:.10e}, {reached:.0%} of them within 1e-4 of ours")
    print(f"{fit.basin_share:.0%} of our {fit.starts} starts agree")


if __name__ == "__main__":
    bench()
