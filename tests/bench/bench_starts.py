"""Whether a fit finds the best coefficients from its own starts: its objective beside that of a plain multistart.

    python -m tests.bench.bench_starts                     every law of `FORMS`
    python -m tests.bench.bench_starts --laws moe,wbl4     some laws

Ten draws of each law: the coefficients of `tests/queries/planted_laws.py` moved by 15 %, other inputs, and 0.3 % noise
on the value. SciPy's L-BFGS-B descends from forty points around the planted coefficients, within factors of e for
positive ones, which knows far more than a fit does: where it ends lower, the fit missed something.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from isoflop.queries.fitting import fit_law
from isoflop.queries.laws import LAWS, Law, Role
from isoflop.queries.laws.objectives import Link
from tests.queries.planted_laws import PLANTED

Array = NDArray[np.float64]

FORMS = (
    *("kaplan_floor", "sigmoid", "task_accuracy", "mmf4", "wbl4", "exp4", "vap3", "ilog2", "critical_batch"),
    *("critical_batch_of_loss", "transfer", "vocabulary", "moe_granularity", "moe", "distillation"),
    *("mixture3", "mixture_additive3"),
)
DRAWS, STARTS = 10, 40
MOVED, NOISE = 0.15, 0.003  # deviation of log coefficients and of log values [1]
TRIES = 3  # descents one after another: a line search along a kink gives up early
SAME = 1e-4  # relative difference of two objectives [1] below which they are one optimum


@dataclass(frozen=True)
class Compared:
    """The objectives of S draws of one law.

    Parameters
    ----------
    name : of the law
    own : (S,) where the fit ended
    other : (S,) the lowest of the multistart
    """

    name: str
    own: Array
    other: Array

    @property
    def excess(self) -> Array:
        """(S,) how far the fit ended above the multistart, relative [1]; negative where it ended below."""
        return np.asarray(self.own / self.other - 1)


def compare(name: str, draws: int = DRAWS, starts: int = STARTS) -> Compared:
    """Return what the fit and the multistart find in noisy draws of a law.

    Parameters
    ----------
    name : of a law in `PLANTED`
    draws, starts : numbers of draws S and of points the multistart descends from
    """
    law, plan = LAWS[name], PLANTED[name]
    own, other = [], []
    for seed in range(draws):
        generator = np.random.default_rng([seed, len(name)])
        truth = _moved(law, np.array(plan.coefficients), generator, MOVED)
        inputs = plan.inputs(100 + seed)
        values = law.predict(truth, inputs) * np.exp(generator.normal(0, NOISE, len(inputs)))
        missed = _objective(law, inputs, values)
        own.append(missed(fit_law(law, inputs, values, resamples=0).coefficients)[0])
        other.append(_multistart(law, truth, missed, starts, generator))
    return Compared(name, np.array(own), np.array(other))


def _moved(law: Law, coefficients: Array, generator: np.random.Generator, by: float) -> Array:
    """Coefficients times random factors, inside their domains."""
    moved = coefficients * np.exp(by * generator.standard_normal(len(coefficients)))
    return np.array([np.clip(value, one.lower, one.upper) for value, one in zip(moved, law.coefficients, strict=True)])


def _objective(law: Law, inputs: Array, values: Array) -> Callable[[Array], tuple[float, Array]]:
    """The law's own objective and its slopes as a function of its coefficients, summed over rows."""

    def missed(coefficients: Array) -> tuple[float, Array]:
        with np.errstate(all="ignore"):
            predicted, slopes = law.value_and_slopes(coefficients, inputs)
            match law.objective.link:
                case Link.LOG:
                    residuals, chain = np.log(values / predicted), 1 / predicted
                case Link.RELATIVE:
                    residuals, chain = 1 - predicted / values, 1 / values
                case Link.PLAIN:
                    residuals, chain = values - predicted, np.ones_like(values)
            penalty, influence, _ = law.objective.weigh(residuals, True)
            total, slope = float(penalty.sum()), -(slopes * chain) @ influence
        return (total, slope) if np.isfinite(total) and np.isfinite(slope).all() else (1e10, np.zeros_like(slope))

    return missed


def _multistart(
    law: Law, truth: Array, missed: Callable[[Array], tuple[float, Array]], starts: int, generator: np.random.Generator
) -> float:
    """The lowest objective that descents from points around the planted coefficients reach."""
    is_log = np.array([one.lower >= 0 and one.role is not Role.EXPONENT for one in law.coefficients])
    largest = 300.0  # logarithm of a coefficient

    def lowered(theta: Array) -> tuple[float, Array]:
        coefficients = np.where(is_log, np.exp(np.where(is_log, theta, 0.0)), theta)
        total, slope = missed(coefficients)
        return total, slope * np.where(is_log, coefficients, 1.0)

    bounds = [
        (-largest, largest) if log else (max(one.lower, -1e6), min(one.upper, 1e6))
        for log, one in zip(is_log, law.coefficients, strict=True)
    ]
    best = np.inf
    for start in range(starts):
        point = _moved(law, truth, generator, 1.0 if start else 0.0)
        theta = np.where(is_log, np.log(np.where(is_log, np.maximum(point, 1e-100), 1.0)), point)
        for _ in range(TRIES):
            found = minimize(lowered, theta, jac=True, method="L-BFGS-B", bounds=bounds)
            theta = found.x
        best = min(best, float(found.fun))
    return best


def bench(names: Iterable[str] = FORMS, draws: int = DRAWS) -> None:
    """Print a table, a line when its law is done."""
    print("| law | draws | as low or lower | lower | highest excess |\n| --- | --- | --- | --- | --- |")
    for name in names:
        excess = compare(name, draws).excess
        low, below = int((excess <= SAME).sum()), int((excess < -SAME).sum())
        print(f"| {name} | {len(excess)} | {low} | {below} | {excess.max():.1e} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--laws", type=lambda text: text.split(","), default=list(FORMS))
    parser.add_argument("--draws", type=int, default=DRAWS)
    given = parser.parse_args()
    bench(given.laws, given.draws)
