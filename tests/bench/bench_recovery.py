"""Whether every law gives planted coefficients back: bias and coverage over many noisy runs of each law in `LAWS`.

    python -m tests.bench recovery                          the tables
    python -m tests.bench.bench_recovery --write            the tables of docs/intervals.md
    python -m tests.bench.bench_recovery --laws power,ptq   some laws

Coefficients, ranges of inputs and the number of rows are those of `tests/queries/planted_laws.py`, at least twelve
rows for each coefficient; noise is 0.3 % of the value, drawn anew for every law and seed. Objective and intervals are
the default ones.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting import fit_law
from isoflop.queries.laws import LAWS, Role
from isoflop.queries.laws.law import coefficient_names
from tests.queries.planted_laws import PLANTED, PLANTED_SUMS

Array = NDArray[np.float64]

SEEDS, RESAMPLES, LEVEL = 50, 250, 0.9
LOWEST, HIGHEST, MOST_BIAS = 0.85, 0.95, 2.0
ROWS_PER_COEFFICIENT, DESIGN, NOISE = 12, 11, 0.003
EVERY = PLANTED | PLANTED_SUMS
CHECKED = [name for name in EVERY if LAWS[name].surrogate is None]  # the others have the fit of one of these
FEW = (("plain_power", 8), ("power", 10), ("power", 14), ("ptq", 12), ("chinchilla", 14), ("chinchilla", 20))


@dataclass(frozen=True)
class Recovery:
    """What S noisy fits of one law found of the coefficients that were planted.

    Parameters
    ----------
    name : of the law
    rows : number of rows R of each fit
    names : K judged quantities
    errors : (S, K) found minus planted; of the logarithm for positive coefficients that are no exponents
    held : (S, K) whether the interval held the planted value
    converged : share of fits that say they converged [1]
    """

    name: str
    rows: int
    names: tuple[str, ...]
    errors: Array
    held: NDArray[np.bool_]
    converged: float

    @property
    def coverage(self) -> float:
        """Share of all intervals that held the planted value [1]."""
        return float(self.held.mean())

    @property
    def coverage_error(self) -> float:
        """Standard error of the coverage [1], whose coefficients share their noise and count as one draw a seed."""
        return float(self.held.mean(axis=1).std(ddof=1) / np.sqrt(len(self.held)))

    @property
    def bias(self) -> Array:
        """(K,) mean error in units of its own standard error [1]: within 2 when there is none to be seen."""
        spread = self.errors.std(axis=0, ddof=1)
        return np.asarray(self.errors.mean(axis=0) / (spread / np.sqrt(len(self.errors))))

    @property
    def is_as_it_should_be(self) -> bool:
        """Whether no bias is seen and the coverage lies in the band around the nominal 90 %."""
        return self.typical_bias <= MOST_BIAS and LOWEST <= self.coverage <= HIGHEST

    @property
    def typical_bias(self) -> float:
        """Root mean square of `bias` over the coefficients [1]."""
        return float(np.sqrt(np.mean(self.bias**2)))


def recover(
    name: str, seeds: int = SEEDS, resamples: int = RESAMPLES, rows: int | None = None, level: float = LEVEL
) -> Recovery:
    """Return what fits of a law to its own noisy values find.

    Parameters
    ----------
    name : of a law in `PLANTED` or `PLANTED_SUMS`
    seeds : number of noisy runs S
    resamples : behind the intervals
    rows : number of rows; the planned ones and at least twelve for each coefficient when None
    level : coverage of the intervals [1]
    """
    law, plan = LAWS[name], EVERY[name]
    truth = np.array(plan.coefficients)
    count = rows or max(plan.rows, ROWS_PER_COEFFICIENT * len(truth))
    inputs = plan.inputs(DESIGN, count)
    clean = (law.surrogate or law).predict(truth, inputs)
    in_logs = np.array([one.lower >= 0 and one.role is not Role.EXPONENT for one in law.coefficients]) & (truth > 0)
    errors, held, converged = [], [], []
    for seed in range(seeds):
        noise = _noise(name, seed, count)
        fit = fit_law(law, inputs, clean * np.exp(noise), resamples=resamples, level=level, seed=seed)
        with np.errstate(divide="ignore"):
            errors.append(np.where(in_logs, np.log(np.abs(fit.coefficients / truth)), fit.coefficients - truth))
        held.append((fit.lower <= truth) & (truth <= fit.upper))
        converged.append(fit.is_converged)
    return Recovery(name, count, coefficient_names(law), np.array(errors), np.array(held), float(np.mean(converged)))


def judge(name: str, seeds: int = SEEDS, rows: int | None = None) -> Recovery:
    """Return what a law's fits find, from four times as many seeds where the first ones leave a doubt."""
    found = recover(name, seeds, rows=rows)
    return found if found.is_as_it_should_be else recover(name, 4 * seeds, rows=rows)


def _noise(name: str, seed: int, count: int) -> Array:
    return np.random.default_rng([zlib.crc32(name.encode()), seed]).normal(0, NOISE, count)


def table(found: Iterable[Recovery]) -> list[str]:
    """Return the lines of a Markdown table; each is printed when its law is done."""
    lines = ["| law | rows | seeds | bias | largest | covered | ± |", "| --- | --- | --- | --- | --- | --- | --- |"]
    print("\n".join(lines))
    for one in found:
        lines.append(
            f"| {one.name} | {one.rows} | {len(one.errors)} | {one.typical_bias:.1f} | {np.abs(one.bias).max():.1f} "
            f"| {one.coverage:.1%} | {one.coverage_error:.1%} |"
        )
        print(lines[-1], flush=True)
    print()
    return lines


def bench(names: Iterable[str] | None = None, seeds: int = SEEDS, write: bool = False) -> None:
    """Print the tables; with `write`, put them into docs/intervals.md."""
    parts = {"recovery": table(judge(name, seeds) for name in names or CHECKED)}
    if write:
        from tests.bench.bench_calibration import write_parts

        write_parts(parts)
    if names is None:
        table(judge(name, seeds, rows) for name, rows in FEW)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--laws", type=lambda text: text.split(","))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    bench(given.laws, given.seeds, given.write)
