"""IsoFLOP profiles: loss over size at equal compute, and the best size as a power of compute (approach 2).

On every budget a parabola of loss in log size is fitted to the runs of that budget alone, and its vertex is the best
size where the trained sizes bracket it. A power of compute through the best sizes gives the exponent. Pictures and
`COMPARE APPROACHES` read the same profiles.

Source: Hoffmann et al. 2022 (arXiv:2203.15556), section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.lakehouse.errors import EmptySelection, FitError
from isoflop.queries.planning.approaches import Slices, parabola_on, power_through, slices_of_runs
from isoflop.queries.planning.parabola import FEWEST_SIZES

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

DENSE = 6.0  # flops over params and tokens of a dense transformer [flop]
MOST_LISTED = 6  # budgets that a note names
TOLERANCE = 0.1  # relative distance [1] from a budget within which a run belongs to it


@dataclass(frozen=True, eq=False)
class Profiles:
    """The runs of M budgets with what the parabolas say of them.

    Parameters
    ----------
    slices : the runs of each budget
    tolerance : relative distance [1] from a budget within which a run belongs to it
    num_runs : usable runs, those that share no budget among them
    num_assumed : runs among them whose compute is not known and taken for 6 params tokens
    params : (M,) best size [count]; nan where the sizes do not bracket a minimum
    loss : (M,) the parabola's loss there
    exponent : of params over compute [1], through the budgets with a best size; nan below two of them
    log_factor : log of params at one flop
    """

    slices: Slices
    tolerance: float
    num_runs: int
    num_assumed: int
    params: Array
    loss: Array
    exponent: float
    log_factor: float

    def curve(self, budget: int, sizes: Array) -> Array:
        """Return the loss (N,) of the parabola of a budget at sizes (N,) [count]."""
        parabola = parabola_on(self.slices, budget, _each_once(self.slices))
        x = (np.log(sizes) - parabola.center) / parabola.scale
        return np.asarray(np.polynomial.polynomial.polyval(x, parabola.coefficients[0]))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of which runs and budgets were used."""
        num_budgets, num_used = len(self.params), int(np.isfinite(self.params).sum())
        chosen = (
            f"{num_budgets} budget{'s' * (num_budgets != 1)}: "
            f"runs within {self.tolerance:.0%} in compute, {FEWEST_SIZES} sizes or more; "
            f"{len(self.slices.params)} of {self.num_runs} runs share one"
        )
        assumed = assumed_compute(self.num_assumed, self.num_runs)
        if not np.isfinite(self.exponent):
            found = f"parabolas have a minimum between the sizes trained on {num_used} of {num_budgets}"
        else:
            found = f"params ~ flops^{self.exponent:.4f} by the parabolas of {num_used} budgets with a minimum"
        return (chosen, found, *no_minimum(self.slices.budgets, self.params), *assumed)


def isoflop_profiles(
    params: ArrayLike,
    tokens: ArrayLike,
    loss: ArrayLike,
    flops: ArrayLike | None = None,
    *,
    tolerance: float = TOLERANCE,
) -> Profiles:
    """Return the profiles of finished runs, at the budgets found among them (`slices_of_runs` says how).

    Parameters
    ----------
    params, tokens, loss : (R,); rows that are not positive are left out
    flops : (R,) training compute; 6 params tokens when None, and where it is nan
    tolerance : relative distance [1] from a budget within which a run belongs to it

    Raises
    ------
    EmptySelection : if no row is usable, or no budget has four runs of different size
    FitError : if the columns differ in length
    """
    rows, _, num_assumed = usable_columns(params, tokens, loss, flops)
    slices = slices_of_runs(*rows, None, tolerance)
    if not len(slices.budgets):
        raise EmptySelection(
            "no budget has four runs of different size", hint="an isoFLOP view compares sizes at equal compute"
        )
    sizes, lowest = np.empty(len(slices.budgets)), np.full(len(slices.budgets), np.nan)
    for budget in range(len(sizes)):
        parabola = parabola_on(slices, budget, _each_once(slices))
        sizes[budget] = parabola.vertex[0]
        constant, slope, bend = parabola.coefficients[0]
        if np.isfinite(sizes[budget]):
            lowest[budget] = constant - slope**2 / (4 * bend)
    exponent, log_factor = power_through(slices.budgets, sizes[None])
    return Profiles(
        slices, tolerance, len(rows[0]), num_assumed, sizes, lowest, float(exponent[0]), float(log_factor[0])
    )


def usable_columns(
    params: ArrayLike, tokens: ArrayLike, loss: ArrayLike, flops: ArrayLike | None, curves: Any = None
) -> tuple[tuple[Array, Array, Array, Array], Labels | None, int]:
    """Return the rows that are positive in every column, the integer label of each one's curve, and a count.

    Compute that is not known, nan or all of it, is 6 params tokens (Kaplan et al. 2020, arXiv:2001.08361); the count
    is of usable rows whose compute is nan.

    Raises
    ------
    EmptySelection : if there is none
    FitError : if the columns differ in length
    """
    columns = [np.asarray(column, dtype=np.float64).reshape(-1) for column in (params, tokens, loss)]
    given = None if flops is None else np.asarray(flops, dtype=np.float64).reshape(-1)
    lengths = {len(column) for column in columns} | {len(each) for each in (given, curves) if each is not None}
    if len(lengths) != 1:
        raise FitError(f"columns have {', '.join(map(str, sorted(lengths)))} rows, expected the same number in each")
    dense = DENSE * columns[0] * columns[1]
    columns.append(dense if given is None else np.where(np.isnan(given), dense, given))
    table = np.column_stack(columns)
    good = np.isfinite(table).all(axis=1) & (table > 0).all(axis=1)
    if not good.any():
        raise EmptySelection("no row has positive params, tokens, loss and flops")
    labels = None if curves is None else np.unique(np.asarray(curves)[good], return_inverse=True)[1].reshape(-1)
    first, second, third, fourth = table[good].T
    num_assumed = 0 if given is None else int(np.count_nonzero(np.isnan(given[good])))
    return (first, second, third, fourth), labels, num_assumed


def assumed_compute(num_assumed: int, num_rows: int) -> list[str]:
    """Return a note where compute of some rows is not known."""
    if not num_assumed:
        return []
    return [f"flops is NULL in {num_assumed} of {num_rows} rows: 6 * params * tokens stands in for it there"]


def no_minimum(budgets: Array, sizes: Array) -> list[str]:
    """Return a note where budgets (M,) have no best size (M,) between the sizes trained on them."""
    missing = budgets[~np.isfinite(sizes)]
    if not len(missing):
        return []
    which = f"on {len(missing)} of {len(budgets)} budgets ({listed_budgets(missing)})"
    return [f"no_interior_minimum: {which}, which are left out; add sizes on the other side of it"]


def listed_budgets(budgets: Array) -> str:
    """Return budgets [flop] for a sentence, of many the first.

    Example
    -------
    >>> listed_budgets(np.array([1e18, 3.16e20]))
    '1e+18, 3.16e+20 flop'
    """
    shown = ", ".join(f"{budget:.3g}" for budget in budgets[:MOST_LISTED])
    return f"{shown}{', …' if len(budgets) > MOST_LISTED else ''} flop"


def _each_once(slices: Slices) -> Array:
    """(1, U) weights that take every run as it is."""
    return np.ones((1, int(slices.unit.max()) + 1))
