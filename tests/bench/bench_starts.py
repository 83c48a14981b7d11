"""Whether a fit finds the best coefficients from its own starts: its objective beside that of a plain multistart.

    python -m tests.bench.bench_starts                     every law of `FORMS`
    python -m tests.bench.bench_starts --laws moe,wbl4     some laws

Ten draws of each law: the coefficients of `tests/queries/planted_laws.py` moved by 15 %, other inputs, and 0.3 % noise
on the value. SciPy's L-BFGS-B descends from forty points around the planted coefficients, within factors of e for
positive ones, which knows far more than a fit does: where it ends lower, the fit missed something.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting import fit_law
from isoflop.queries.laws import LAWS, Law
from tests.bench.multistart import Missed, descended, missed_by
from tests.queries.planted_laws import PLANTED

Array = NDArray[np.float64]

FORMS = (
    *("kaplan_floor", "sigmoid", "task_accuracy", "mmf4", "wbl4", "exp4", "vap3", "ilog2", "critical_batch"),
    *("critical_batch_of_loss", "transfer", "vocabulary", "moe_granularity", "moe", "distillation"),
    *("mixture3", "mixture_additive3"),
)
DRAWS, STARTS = 10, 40
MOVED, NOISE = 0.15, 0.003  # deviation of log coefficients and of log values [1]
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
        missed = missed_by(law, inputs, values)
        own.append(missed(fit_law(law, inputs, values, resamples=0).coefficients)[0])
        other.append(_multistart(law, truth, missed, starts, generator))
    return Compared(name, np.array(own), np.array(other))


def _moved(law: Law, coefficients: Array, generator: np.random.Generator, by: float) -> Array:
    """Coefficients times random factors, inside their domains."""
    moved = coefficients * np.exp(by * generator.standard_normal(len(coefficients)))
    return np.array([np.clip(value, one.lower, one.upper) for value, one in zip(moved, law.coefficients, strict=True)])


def _multistart(law: Law, truth: Array, missed: Missed, starts: int, generator: np.random.Generator) -> float:
    """The lowest objective that descents from points around the planted coefficients reach."""
    points = [_moved(law, truth, generator, 1.0 if start else 0.0) for start in range(starts)]
    return min(descended(law, missed, point)[0] for point in points)


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
