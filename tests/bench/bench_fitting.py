"""Fitting the 240 published Chinchilla runs, in CPU seconds, beside a textbook loop of SciPy's L-BFGS-B.

The loop is what published notebooks do: log-sum-exp, Huber with delta 1e-3 summed over rows, finite differences,
one call per start, the best of all starts, one start per resample. It is timed on a sample of its starts and
resamples and scaled up; ours is timed whole. Both end at the same objective.

    python -m tests.bench fitting                      the table, and how cost grows
    python -m tests.bench.bench_fitting --write        the same, and the figure and table of docs/fitting.md
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.exchange.published import find_published
from isoflop.queries.fitting import FitOptions, LeaveOneOut, cross_validate, fit_law, forward_check, usable_rows
from isoflop.queries.fitting.solver import compiled
from isoflop.queries.laws import BNSL, CHINCHILLA, KAPLAN, NQS, Law
from isoflop.queries.planning import compare_approaches

Array = NDArray[np.float64]
TIMED_STARTS, TIMED_RESAMPLES = 60, 20
ROWS, RESAMPLES = (30, 100, 300, 1_000, 3_000, 10_000), (0, 250, 500, 1_000, 2_000, 4_000, 8_000)
BUDGETS = [6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21]  # flop, of Hoffmann et al. 2022
DOCS = Path(__file__).parents[2] / "docs"


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


def both_paths(inputs: Array, loss: Array, starts: Array) -> list[str]:
    """Lines with wall clock and CPU seconds of the whole job in NumPy and, where numba is installed, compiled."""
    lines = []
    shares = tuple(np.linspace(0.35, 0.9, 10).tolist())
    installed = compiled.is_available()
    for name, wanted in (("NumPy", False), ("compiled", True)):
        if wanted and not installed:
            lines.append("compiled: numba is not installed (pip install isoflop[fast])")
            continue
        with compiled.switched(wanted):
            fit_law(CHINCHILLA, inputs, loss, resamples=20)  # loads the kernels
            point = cpu_seconds(lambda: fit_law(CHINCHILLA, inputs, loss, resamples=0), 9)
            wall, cpu = time.perf_counter(), time.process_time()
            fit_law(CHINCHILLA, inputs, loss, resamples=4000, starts=starts)
            forward_check(CHINCHILLA, usable_rows(CHINCHILLA, inputs, loss), FitOptions(resamples=1000), shares=shares)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        budget = "budget 1 s" if wanted else "budget 10 s"
        lines.append(
            f"{name:9} point fit {1000 * point:.1f} ms (budget 50); "
            f"grid + 4,000 + cuts {wall:.2f} s wall, {cpu:.2f} s CPU ({budget})"
        )
    return lines


def planted_rows(law: Law, coefficients: Array, ranges: list[tuple[float, float]], count: int) -> tuple[Array, Array]:
    """Inputs (R, P), logarithms uniform, and the law's values (R,) with one per cent of noise."""
    generator = np.random.default_rng(0)
    low, high = np.log(np.array(ranges)).T
    inputs = np.exp(low + (high - low) * generator.random((count, len(ranges))))
    return inputs, law.predict(coefficients, inputs) * np.exp(generator.normal(0, 0.01, count))


def other_laws() -> dict[str, float]:
    """CPU seconds of point fits of the laws that are not sums of powers."""
    bend = np.array([0.4, 30.0, 0.12, 0.35, 3e7, 0.3])
    noisy = np.array([1.11, 0.584, 3.39, 0.885, 0.354, 8.41, 2.58])  # about those of arXiv:2605.09154
    found = {}
    for count in (60, 240, 1_000):
        inputs, loss = planted_rows(BNSL, bend, [(1e5, 1e10)], count)
        fit_law(BNSL, inputs, loss, resamples=0)
        found[f"bnsl, one break, {count} rows"] = cpu_seconds(lambda: fit_law(BNSL, inputs, loss, resamples=0))  # noqa: B023
    inputs, loss = planted_rows(NQS, noisy, [(1e6, 1e9), (50, 2_000), (1e3, 1e5)], 137)
    found["nqs, 137 rows"] = cpu_seconds(lambda: fit_law(NQS, inputs, loss, resamples=0), 1)
    return found


def growth() -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """CPU seconds of chinchilla fits: for rows, without resamples, and for resamples of the published 240 runs."""
    inputs, loss = published_runs()
    truth = np.array([1.8172, 477.8, 2143.0, 0.3473, 0.3672])
    by_rows = []
    for count in ROWS:
        some = planted_rows(CHINCHILLA, truth, [(5e7, 2e10), (8e8, 3e11)], count)
        by_rows.append((count, cpu_seconds(lambda: fit_law(CHINCHILLA, *some, resamples=0))))  # noqa: B023
    by_resamples = [
        (count, cpu_seconds(lambda: fit_law(CHINCHILLA, inputs, loss, resamples=count), 2))  # noqa: B023
        for count in RESAMPLES
    ]
    return by_rows, by_resamples


def draw_growth(path: Path, by_rows: list[tuple[int, float]], by_resamples: list[tuple[int, float]]) -> None:
    """Write the growth of cost with rows and resamples as an SVG."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "isoflop"
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.0), layout="constrained")
    left.loglog(*zip(*by_rows, strict=True), "o-", ms=4, color="#4c72b0")
    left.set(xlabel="rows, no resamples", ylabel="CPU seconds of one chinchilla fit")
    right.plot(*zip(*by_resamples, strict=True), "o-", ms=4, color="#4c72b0")
    right.set(xlabel="resamples, 240 rows", ylim=(0, None))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def bench(write: bool = False) -> None:
    """Print the table; with `write`, put it and the growth of cost into docs/fitting.md."""
    inputs, loss = published_runs()
    data, grid = usable_rows(CHINCHILLA, inputs, loss), hoffmann_grid()
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
                CHINCHILLA, data, FitOptions(resamples=1000), shares=tuple(np.linspace(0.35, 0.9, 10).tolist())
            ),
            1,
        ),
        "leave one out, 240 fits": cpu_seconds(
            lambda: cross_validate(CHINCHILLA, data, LeaveOneOut().split(inputs), FitOptions(resamples=0)), 2
        ),
        "three approaches to the best size": cpu_seconds(
            lambda: compare_approaches(*inputs.T, loss, 6 * inputs.prod(axis=1), budgets=BUDGETS, tolerance=0.2), 1
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
    search = fit.solution.search
    reached = sum(value <= fit.objective * 1.0001 for value, _ in ends) / TIMED_STARTS
    lines = [f"{'':34}{'isoflop':>12}{'L-BFGS-B loop':>16}{'times':>9}     CPU seconds"]
    for name, seconds in (ours | other_laws()).items():
        other = theirs.get(name)
        beside = "" if other is None else f"{other:16.1f}{other / seconds:9.0f}"
        lines.append(f"{name:34}{seconds:12.3f}{beside}")
    lines += both_paths(inputs, loss, as_coefficients)
    lines += [
        f"L-BFGS-B: best of {TIMED_STARTS} starts {best[0]:.10e}, {reached:.0%} of them within 1e-4 of ours",
        f"isoflop: objective {fit.objective:.10e}, {search.share:.0%} of straight starts agree",
    ]
    by_rows, by_resamples = growth()
    lines.append("rows:      " + ", ".join(f"{count:,}: {seconds:.3f}" for count, seconds in by_rows))
    lines.append("resamples: " + ", ".join(f"{count:,}: {seconds:.3f}" for count, seconds in by_resamples))
    print("\n".join(lines))
    if write:
        page = DOCS / "fitting.md"
        before, rest = page.read_text().split("<!-- fitting -->\n")
        after = rest.split("<!-- end of fitting -->")[1]
        table = "\n".join(["```", *lines, "```", ""])
        page.write_text(f"{before}<!-- fitting -->\n{table}<!-- end of fitting -->{after}")
        draw_growth(DOCS / "figures" / "fit_cost.svg", by_rows, by_resamples)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    bench(parser.parse_args().write)
