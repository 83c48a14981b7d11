"""Whether a fit finds the best coefficients of a curve and says how sure it is: beside SciPy from 200 random starts.

    python -m tests.bench.bench_curves                                        200 curves, hours
    python -m tests.bench.bench_curves --laws power,bnsl --first 40 --curves 20   some laws on curves 40 to 59

The curves are those of `curve_worlds.py`. Each law is fitted to every curve that has its inputs and at least two
points more than it has coefficients, with `huber_log` and with `least_squares_log`. SciPy's L-BFGS-B descends from
random points of the law's domain, drawn in the usual ranges on inputs and values divided by their geometric means.
Lines of the table:

* worse: fits more than 0.1 % above the best that SciPy found; unsaid: those of them without a note that says so;
* worst: the highest excess of a fit; better: fits more than 0.1 % below; seeds: fits of which one of two more seeds
  ends more than 0.1 % elsewhere;
* share printed, counted, within 2: the medians of the shares of starts in the best basin, printed by the fit and
  counted among SciPy's, and of how many fits the two agree within a factor of two, each being `LEAST_SHARE` at least.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting import fit_law
from isoflop.queries.laws import LAWS, Coefficient, Law, Role
from isoflop.queries.laws.objectives import Huber, LeastSquares, Objective
from tests.bench.curve_worlds import Curve, curve
from tests.bench.multistart import UNUSABLE, Missed, descended, missed_by, objective_at

Array = NDArray[np.float64]

FORMS = ("power", "saturating_power", "bounded_power", "kaplan", "data_constrained", "bnsl", "bnsl2")
OBJECTIVES: tuple[Objective, ...] = (Huber(), LeastSquares())
CURVES, STARTS, SEEDS = 200, 200, (1, 2)
FEW, FEW_STARTS = 5, 20  # of the run among all other benchmarks
SAME = 1e-3  # relative difference of two objectives [1] below which they are one optimum
NOTHING = 1e-12  # objective a row [1] below which all of it is rounding
SPARE = 2  # points beyond the number of coefficients
UNSURE = ("rare_basin", "not_converged")  # notes that say that something better may be found
REDRAWN = 50  # times a start is drawn again where the law has no value
LEAST_SHARE = 0.05  # share [1] that 200 starts tell from none within a third


@dataclass
class Tally:
    """What was found of one law: of each fit its excess over SciPy, shares of starts, notes and spread of seeds."""

    excess: list[float] = field(default_factory=list)
    is_said: list[bool] = field(default_factory=list)
    differs: list[bool] = field(default_factory=list)
    printed: list[float] = field(default_factory=list)
    measured: list[float] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    fit_seconds: float = 0.0
    scipy_seconds: float = 0.0
    worst: list[tuple[float, str]] = field(default_factory=list)

    def row(self, name: str) -> str:
        """The line of the table."""
        excess, is_said = np.array(self.excess), np.array(self.is_said)
        printed, measured = np.array(self.printed), np.array(self.measured)
        worse = excess > SAME
        ratio = np.maximum(printed, LEAST_SHARE) / np.maximum(measured, LEAST_SHARE)
        agree = (ratio <= 2) & (ratio >= 0.5)
        notes = ", ".join(f"{code} {count}" for code, count in self.notes.most_common(4))
        cells = [
            *(name, len(excess), f"{worse.mean():.1%}", f"{(worse & ~is_said).mean():.1%}"),
            *(f"{max(excess.max(), 0):.2%}", f"{(excess < -SAME).mean():.1%}", f"{np.mean(self.differs):.1%}"),
            *(f"{np.median(printed):.0%}", f"{np.median(measured):.0%}", f"{agree.mean():.0%}", notes),
            *(f"{self.fit_seconds / len(excess):.2f}", f"{self.scipy_seconds / len(excess):.1f}"),
        ]
        return f"| {' | '.join(map(str, cells))} |"


def tally(law: Law, numbers: Iterable[int], starts: int = STARTS, shows: bool = False) -> Tally:
    """Return what fits of a law find on curves."""
    found = Tally()
    for number in numbers:
        planted = curve(number)
        inputs = planted.inputs_of(law)
        if inputs is None or len(inputs) < len(law.coefficients) + SPARE:
            continue
        for objective in OBJECTIVES:
            _add(found, law, number, inputs, planted, objective, starts)
            if shows:
                print(number, planted.form, objective.name, found.worst[-1][1], flush=True)
    return found


def _add(found: Tally, law: Law, number: int, inputs: Array, planted: Curve, objective: Objective, starts: int) -> None:
    before = time.process_time()
    fits = [fit_law(law, inputs, planted.values, objective=objective, resamples=0, seed=seed) for seed in (0, *SEEDS)]
    between = time.process_time()
    ends = random_ends(law, inputs, planted.values, objective, starts, np.random.default_rng([11, number]))
    found.fit_seconds += (between - before) / len(fits)
    found.scipy_seconds += time.process_time() - between
    own = np.array([objective_at(law, inputs, planted.values, fit.coefficients, objective) for fit in fits])
    nothing = NOTHING * len(inputs)
    least = min(own.min(), ends.min())
    fit = fits[0]
    found.excess.append(float((own[0] + nothing) / (ends.min() + nothing) - 1))
    found.is_said.append(bool({*fit.codes} & {*UNSURE}))
    found.differs.append(bool(((own + nothing) / (own.min() + nothing) - 1).max() > SAME))
    found.printed.append(fit.solution.search.share)
    found.measured.append(float(np.mean(ends <= least * (1 + SAME) + nothing)))
    found.notes.update({*fit.codes} & {*UNSURE, "rival_basin"})
    found.worst.append(
        (
            found.excess[-1],
            f"excess {found.excess[-1]:.2e} seeds {own / own.min() - 1} printed {found.printed[-1]:.2f} "
            f"measured {found.measured[-1]:.3f} {fit.codes}",
        )
    )


def random_ends(
    law: Law, inputs: Array, values: Array, objective: Objective, count: int, generator: np.random.Generator
) -> Array:
    """Return the objectives (count,) in which descents from random points end.

    Inputs and values whose units the coefficients can absorb are divided by their geometric means first.
    """
    law = law.charted or law
    names = [one.name for one in law.inputs]
    scaled = np.column_stack(
        [
            column / (np.exp(np.log(column).mean()) if name in SIZES else 1.0)
            for name, column in zip(names, inputs.T, strict=True)
        ]
    )
    missed = missed_by(law, scaled, values / np.exp(np.log(values).mean()), objective)
    return np.array([descended(law, missed, _drawn(law, scaled, missed, generator))[0] for _ in range(count)])


SIZES = ("x", "params", "tokens", "unique_tokens")  # inputs whose unit the coefficients of these laws absorb


def _drawn(law: Law, inputs: Array, missed: Missed, generator: np.random.Generator) -> Array:
    """A random point (K,) at which the law has a value on every row."""
    for _ in range(REDRAWN):
        point = np.array([_value(one, inputs, generator) for one in law.coefficients])
        if missed(point)[0] < UNUSABLE:
            break
    return point


def _value(one: Coefficient, inputs: Array, generator: np.random.Generator) -> float:
    """A random value of a coefficient, on inputs and values whose geometric mean is 1."""
    if one.role is Role.EXPONENT:
        return float(generator.uniform(max(one.lower, -1.5), min(one.upper, 1.5)))
    logs = np.log(inputs[:, 0])
    low, high = {
        Role.FLOOR: (-5.0, 0.0),
        Role.AMPLITUDE: (-5.0, 3.0),
        Role.FREE: (-5.0, 5.0),
    }[one.role]
    if one.name.startswith("d_"):
        low, high = logs.min(), logs.max()
    if one.name.startswith("r_"):
        low, high = 0.0, float(np.ptp(logs))
    if one.lower > 0:
        low = max(low, math.log(one.lower))
    if one.upper < math.inf:
        high = min(high, math.log(one.upper))
    return math.exp(generator.uniform(low, high))


COLUMNS = (
    *("law", "fits", "worse", "unsaid", "worst", "better", "seeds", "share printed", "counted", "within 2"),
    *("notes", "CPU s of a fit", "of SciPy"),
)


def bench(
    names: Iterable[str] = FORMS, first: int = 0, curves: int = FEW, starts: int = FEW_STARTS, shows: bool = False
) -> None:
    """Print a table, a line when its law is done."""
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for name in names:
        found = tally(LAWS[name], range(first, first + curves), starts, shows)
        print(found.row(name), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--laws", type=lambda text: text.split(","), default=list(FORMS))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--curves", type=int, default=CURVES)
    parser.add_argument("--starts", type=int, default=STARTS)
    parser.add_argument("--shows", action="store_true")
    given = parser.parse_args()
    bench(given.laws, given.first, given.curves, given.starts, given.shows)
