"""Mistakes of authors that rows and residuals give away: each a named note that says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.data import Data
from isoflop.queries.fitting.dependence import FEWEST_GROUPS, along_curves
from isoflop.queries.fitting.note import Note
from isoflop.queries.laws.law import Law, input_names

Array = NDArray[np.float64]

WHOLE = 1e-6  # distance from one within which shares make a whole: percent written with few digits round further off
USUAL = 0.5  # share of rows whose shares make a whole, from which the others are taken for mistakes
CORRELATED = 0.5  # correlation of neighboring residuals of a curve from which they say little new
NARROW = 1.5  # largest over smallest value [1] below which no exponent is told from scatter
EXPLAINED = 0.2  # share of the variance of most rows [1] below which a law is said not to fit
FEWEST_SPARE = 8  # rows beyond the number of coefficients from which the shares are known well enough
# The same of a law that came out as good as constant, which few rows show: never in 300 clean fits of 5 to 10 rows.
NONE_EXPLAINED, FEWEST_SPARE_OF_NONE = 0.01, 2
CERTAIN = 5.0  # standard errors of that correlation above zero: one false alarm in millions of clean fits


def notes_on_mistakes(law: Law, rows: Data) -> list[Note]:
    """Return notes on inputs that cannot be meant so, or tell little: epochs below one, shares, nearly equal sizes."""
    return [
        *_epochs(law, rows),
        *_not_above_one(law, rows),
        *_before_saturation(law, rows),
        *_shares(law, rows),
        *_narrow(law, rows),
    ]


def narrow_inputs(law: Law, support: Array) -> list[tuple[int, float]]:
    """Return the positions of inputs that hardly vary, with largest over smallest value [1] of each.

    Parameters
    ----------
    support : (P, 2) lowest and largest value of each input
    """
    found = []
    for position, (input_, (low, high)) in enumerate(zip(law.inputs, support.tolist(), strict=True)):
        if input_.positive and not input_.is_setting and 0 < low < high < NARROW * low:
            found.append((position, high / low))
    return found


def _narrow(law: Law, rows: Data) -> list[Note]:
    names = input_names(law)
    return [
        Note(
            "narrow_input",
            f"{names[position]} spans only a factor of {factor:.3g}: the rows tell little of how {law.target} changes "
            "with it, and nothing of values far from theirs; add rows whose values differ by a factor of 10",
        )
        for position, factor in narrow_inputs(law, rows.support)
    ]


def _not_above_one(law: Law, rows: Data) -> list[Note]:
    if law.name != "ilog2" or not (low := rows.inputs[:, 0] <= 1).any():
        return []
    (name,) = input_names(law)
    message = f"{_count(low)} {name} of one or less, where one over its logarithm is no part of the curve; "
    return [Note("x_at_one", message + f"leave them out: WHERE {name} > 1")]


def _before_saturation(law: Law, rows: Data) -> list[Note]:
    if law.name != "margin_growth" or not (early := rows.inputs[:, 0] < rows.inputs[:, 1]).any():
        return []
    step, t99 = input_names(law)
    message = (
        f"{_count(early)} a {step} before {t99}, when samples were still misclassified and margins have another law; "
    )
    return [Note("before_saturation", message + f"leave them out: WHERE {step} >= {t99}")]


def notes_on_misfit(law: Law, values: Array, residuals: Array, num_free: int) -> list[Note]:
    """Return a note where a law explains little of what varies.

    Parameters
    ----------
    values, residuals : (R,) measured values and what the law leaves of them, on the scale of the scatter
    num_free : fitted coefficients
    """
    spare = len(values) - num_free
    if spare < FEWEST_SPARE_OF_NONE:
        return []
    least = EXPLAINED if spare >= FEWEST_SPARE else NONE_EXPLAINED
    spread, left = (float(np.median(np.abs(each - np.median(each)))) for each in (values, residuals))
    if not spread > 0 or left**2 <= (1 - least) * spread**2:
        return []
    explained = max(0.0, 1 - (left / spread) ** 2)
    return [
        Note(
            "law_does_not_fit",
            f"the law explains {explained:.0%} of how {law.target} varies among most rows: another form, input or "
            "subset of the rows may; its forecasts are hardly better than the middle of the rows",
        )
    ]


def _epochs(law: Law, rows: Data) -> list[Note]:
    if law.name != "data_constrained":
        return []
    names = input_names(law)
    few = rows.inputs[:, 2] < 1 - WHOLE
    if not few.any():
        return []
    return [
        Note(
            "epochs_below_one",
            f"{_count(few)} {names[2]} below one, but it is the number of epochs: fewer tokens than there are unique "
            f"ones were trained on; there {names[1]} are the tokens that were seen, and {names[2]} 1",
        )
    ]


def shares_among(inputs: Array) -> NDArray[np.intp]:
    """Return the positions of inputs that vary between zero and one and make a whole in most rows, or none.

    Parameters
    ----------
    inputs : (R, P)

    Example
    -------
    >>> shares_among(np.array([[1e9, 0.2, 0.8], [2e9, 0.5, 0.5], [4e9, 0.9, 0.1]]))
    array([1, 2])
    """
    between = np.flatnonzero(((inputs >= 0) & (inputs <= 1)).all(axis=0) & (np.ptp(inputs, axis=0) > 0))
    if len(between) < 2 or len(inputs) < 3 or _are_whole(inputs[:, between]).mean() < USUAL:
        return between[:0]
    return between


def _are_whole(shares: Array) -> NDArray[np.bool_]:
    return np.asarray(np.abs(shares.sum(axis=1) - 1) <= WHOLE)


def _shares(law: Law, rows: Data) -> list[Note]:
    """Notes on inputs between zero and one that make a whole, in all rows or in most."""
    between = shares_among(rows.inputs)
    if not len(between):
        return []
    is_whole = _are_whole(rows.inputs[:, between])
    names = " + ".join(input_names(law)[p] for p in between)
    if is_whole.all() and law.tells_shares_apart:
        return []
    if is_whole.all():
        return [
            Note(
                "shares_sum_to_one",
                f"{names} is one in every row: each follows from the others, so their terms and a constant cannot be "
                "told apart; leave one out",
            )
        ]
    total = rows.inputs[:, between].sum(axis=1)
    worst = float(total[np.argmax(np.abs(total - 1))])
    return [
        Note(
            "shares_do_not_sum",
            f"{names} is one in most rows, but {_count(~is_whole)} another sum (such as {worst:.4g}): "
            "correct them or leave them out",
        )
    ]


def _count(rows: NDArray[np.bool_]) -> str:
    count = int(np.count_nonzero(rows))
    return f"{count} row{'s have' if count > 1 else ' has'}"


def notes_on_curves(residuals: Array, inputs: Array, curves: Sequence[Any], column: str) -> list[Note]:
    """Return a note where the residuals of neighboring points of one curve are alike.

    Parameters
    ----------
    residuals : (R,) log residuals [1]
    inputs : (R, P) of the rows; the first that changes along a curve puts its points in order
    curves : (R,) label of the curve of each row
    column : what the labels are read from
    """
    parts = along_curves(inputs, curves)
    products, squares, pairs = 0.0, 0.0, 0
    for part in parts:
        if len(part) < 3 or not np.ptp(inputs[part], axis=0).any():
            continue
        along = residuals[part]
        products += float(along[:-1] @ along[1:])
        squares += float(along[:-1] @ along[:-1] + along[1:] @ along[1:]) / 2
        pairs += len(along) - 1
    if not pairs or squares <= 0:
        return []
    correlation = products / squares
    if correlation < max(CORRELATED, CERTAIN / np.sqrt(pairs)):
        return []
    several = f"WITH (cluster = {column}) draws whole curves"
    todo = several if len(parts) >= FEWEST_GROUPS else "without bootstrap = 'case' blocks of neighbors are drawn"
    return [
        Note(
            "serial_residuals",
            f"neighboring points of one curve lie off to the same side (correlation of residuals {correlation:.2f}): "
            f"they are not independent, and intervals are too narrow; {todo}",
        )
    ]
