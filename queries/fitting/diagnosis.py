"""What can be wrong with a fit, by name: from its rows, from its curvature and from its resamples.

Every function returns notes; none changes the fit. The codes are stable and machine-readable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.data import Data
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.solver.model import Model
from isoflop.queries.fitting.solver.replicate import ELSEWHERE, FAILED_SHARE, HIGH, ridge
from isoflop.queries.fitting.solver.search import Found
from isoflop.queries.laws.law import Coefficient, Law, Role, input_names
from isoflop.queries.laws.objectives import Objective

Array = NDArray[np.float64]

STEEPEST = 1e150  # slope of a residual that stands for an infinite one: its square is still a number
PROPORTIONAL = 0.99  # correlation of two inputs' logarithms above which they count as one
ILL_CONDITIONED = 1e8  # condition number above which intervals of single coefficients mean little
SINGULAR = 1e12  # condition number above which rounding decides the coefficients
INVISIBLE = 1e-3  # share of a term in units of the residuals' spread below which it is dead
WILD = 10.0  # residual in units of the median one that makes a row an outlier
RIVAL = 0.01  # relative distance in objective of another basin worth a word
SHARPNESS = 1.2533  # standard error of a least absolute deviation over that of least squares, sqrt(pi / 2) [1]
HEAVY = 3.0  # standard error in units of a quarter interval beyond which it describes only the tail
RARE = 0.05  # share of starts in the best basin below which the search was too small


@dataclass(frozen=True)
class Identification:
    """What the rows say about each coefficient.

    Parameters
    ----------
    condition : condition number [1] of the curvature, scaled to unit diagonal; inf when singular
    unidentified : names of coefficients the rows do not determine
    dead : names of amplitudes and floors whose term is invisible
    """

    condition: float
    unidentified: tuple[str, ...]
    dead: tuple[str, ...]


def notes_on_rows(law: Law, rows: Data) -> list[Note]:
    """Return notes on what the rows lack before anything is fitted."""
    notes = [
        Note("rows_dropped", f"{count} row{'s' * (count > 1)} dropped: {reason}")
        for reason, count in rows.dropped.items()
    ]
    notes += _additive(law, rows)
    names = input_names(law)
    constant = []
    for p, name in enumerate(names):
        if law.inputs[p].is_setting:
            constant.append(name)
            continue
        distinct = np.unique(rows.inputs[:, p])
        if len(distinct) == 1:
            constant.append(name)
            notes.append(
                Note(
                    "one_value",
                    f"{name} has one value, {distinct[0]:g}: what depends on it cannot be told apart; "
                    f"add runs at other values of {name}",
                )
            )
        elif len(distinct) == 2 and law.inputs[p].positive:
            notes.append(
                Note(
                    "two_values",
                    f"{name} has two values: a power of it is fixed by them without a check; "
                    f"add a third value of {name}",
                )
            )
    notes += _proportional(rows, names, constant)
    if np.ptp(rows.scatter.on_scale(rows.target) / rows.scatter.size) < 1e-12 and len(rows) > 1:
        notes.append(Note("constant_target", f"{law.target} is the same in all rows: there is nothing to explain"))
    repeats = len(rows) - len(np.unique(np.column_stack([rows.inputs, rows.target]), axis=0))
    if repeats:
        notes.append(
            Note(
                "repeated_rows",
                f"{repeats} row{'s repeat' if repeats > 1 else ' repeats'} another one exactly: "
                "intervals take them for new evidence",
            )
        )
    return notes


def _additive(law: Law, rows: Data) -> list[Note]:
    if not rows.scatter.is_additive:
        return []
    count = int(np.count_nonzero(rows.target <= 0))
    unit = "its unit" if count else f"the unit of {law.target}"
    why = f"{law.target} is zero or less in {count} of {len(rows)} rows: " if count else ""
    return [Note("additive", f"{why}residuals, scatter and intervals are differences in {unit}, not ratios")]


def _proportional(rows: Data, names: tuple[str, ...], constant: list[str]) -> list[Note]:
    notes = []
    for j, first in enumerate(names):
        for k in range(j + 1, len(names)):
            pair = rows.inputs[:, [j, k]]
            if first in constant or names[k] in constant or len(rows) < 3 or (pair <= 0).any():
                continue
            correlation = float(np.corrcoef(np.log(pair).T)[0, 1])
            if abs(correlation) > PROPORTIONAL:
                notes.append(
                    Note(
                        "proportional_inputs",
                        f"{names[k]} proportional to {first} (correlation of logarithms "
                        f"{correlation:.4f}): their terms cannot be told apart; add runs off that line",
                    )
                )
    return notes


def identify(
    model: Model, coefficients: tuple[Coefficient, ...], theta: Array, targets: Array, spread: float
) -> Identification:
    """Return which free coefficients the rows determine at a fitted point.

    Parameters
    ----------
    model : law on R rows
    coefficients : (K) the free coefficients
    theta : (K,) fitted coordinates
    targets : (1, R) targets in the model's units
    spread : scale of the residuals [1]
    """
    slopes = model.slopes(theta[None], targets)[0]  # (K, R)
    slopes = np.nan_to_num(slopes, posinf=STEEPEST, neginf=-STEEPEST)
    share = np.max(np.abs(slopes * np.where(model.is_log, 1.0, theta)[:, None]), axis=1)
    threshold = max(INVISIBLE * (spread if np.isfinite(spread) else 0.0), 1e-12)
    is_term = np.array([coefficient.role in (Role.AMPLITUDE, Role.FLOOR) for coefficient in coefficients])
    dead = is_term & (share < threshold)
    norms = np.linalg.norm(slopes, axis=1)
    largest = float(norms.max()) if len(norms) else 0.0
    # An exponent in a dead term: what a unit of it changes is as invisible as the term, times logarithms of ten or so.
    is_hidden = ~is_term & (np.max(np.abs(slopes), axis=1) < 10 * threshold)
    flat = ((norms <= 1e-9 * largest) | is_hidden) & ~dead
    inside = np.flatnonzero(~flat & ~dead)
    loose: set[int] = set(np.flatnonzero(flat))
    condition = float("inf") if flat.any() else 1.0
    if len(inside):
        scaled = slopes[inside] / norms[inside, None]
        singular = np.zeros(len(inside))
        directions, found, _ = np.linalg.svd(scaled, full_matrices=False)
        singular[: len(found)] = found
        lowest = singular[-1]
        condition = max(condition, float((singular[0] / lowest) ** 2) if lowest > 0 else float("inf"))
        for k in np.flatnonzero(found < found[0] / np.sqrt(SINGULAR)):
            loose |= {int(inside[j]) for j in np.flatnonzero(np.abs(directions[:, k]) > 0.1)}
        if len(inside) > slopes.shape[1]:
            loose |= set(inside)
        for k in np.flatnonzero(dead & (norms > 0)):  # what a living term can be traded for is not known to be dead
            shape = slopes[k] / norms[k]
            weights = np.linalg.lstsq(scaled.T, shape, rcond=None)[0]
            if np.linalg.norm(shape - weights @ scaled) < 1 / np.sqrt(SINGULAR):
                loose |= {int(k), *(int(inside[j]) for j in np.flatnonzero(np.abs(weights) > 0.1))}
                dead[k], condition = False, float("inf")
    names = model.names
    return Identification(
        condition,
        tuple(names[k] for k in sorted(loose)),
        tuple(names[k] for k in np.flatnonzero(dead)),
    )


def notes_on_identification(found: Identification, coefficients: tuple[Coefficient, ...]) -> list[Note]:
    """Return notes on terms that are dead and coefficients that are not determined."""
    role = {coefficient.name: coefficient.role for coefficient in coefficients}
    notes = [
        Note(
            "dead_term",
            f"{name} is zero: the rows show no floor"
            if role[name] is Role.FLOOR
            else f"{name} is zero, and what else is in its term means nothing; fit a law without it",
        )
        for name in found.dead
    ]
    if found.unidentified:
        names = ", ".join(found.unidentified)
        notes.append(
            Note("not_identified", f"the rows do not determine {names}; predictions within the rows still hold")
        )
    elif found.condition > ILL_CONDITIONED:
        notes.append(
            Note(
                "ill_conditioned",
                f"condition {found.condition:.1e}: coefficients trade off against each other; "
                "trust predictions, not single coefficients",
            )
        )
    return notes


def bounds_reached(model: Model, theta: Array) -> NDArray[np.bool_]:
    """Return (K,) whether each coordinate lies on its bound."""
    slack = 1e-6 * (1.0 + np.abs(theta))
    reached: NDArray[np.bool_] = (theta <= model.lower + slack) | (theta >= model.upper - slack)
    return reached


def notes_on_bounds(
    coefficients: tuple[Coefficient, ...], values: Array, reached: NDArray[np.bool_], dead: tuple[str, ...]
) -> list[Note]:
    """Return a note for every free coefficient on the edge of its domain, dead terms apart."""
    notes = []
    for coefficient, value, touches in zip(coefficients, values, reached, strict=True):
        if touches and coefficient.name not in dead:
            code = "exponent_at_bound" if coefficient.role is Role.EXPONENT else "coefficient_at_bound"
            notes.append(
                Note(
                    code,
                    f"{coefficient.name} = {value:g} lies on the edge of its domain "
                    f"[{coefficient.lower:g}, {coefficient.upper:g}]: "
                    "the rows pull beyond it, or do not determine it",
                )
            )
    return notes


def notes_on_search(found: Found, is_convex: bool, is_other: bool) -> list[Note]:
    """Return notes on how sure the optimum is the best one.

    Parameters
    ----------
    found : where the search ended
    is_convex : whether there is one optimum only
    is_other : whether the next basin has other coefficients (`is_elsewhere`)
    """
    notes = []
    if not found.is_settled:
        notes.append(Note("not_converged", "the descent ran out of steps before it converged; give it an INIT nearby"))
    if is_convex:
        return notes
    if found.share < RARE:
        notes.append(
            Note(
                "rare_basin",
                f"only {found.share:.1%} of the starts that went straight to the objective reached its best value",
            )
        )
    if is_other and found.second_best is not None and found.second_best <= found.objective * (1 + RIVAL):
        excess = found.second_best / found.objective - 1
        notes.append(Note("rival_basin", f"other coefficients fit almost as well: objective {excess:.2%} higher"))
    return notes


def is_elsewhere(
    model: Model, found: Found, weights: Array, targets: Array, objective: Objective, spread: float
) -> bool:
    """Return whether the next basin of a search has other coefficients: far ones, or beyond a high ridge.

    A sharp objective has kinks, at which a descent may rest close to its best point: that is no other answer.

    Parameters
    ----------
    model : law on R rows
    found : where the search ended
    weights, targets : (1, R) each
    objective : what was minimized
    spread : scale of the residuals [1]
    """
    if found.rival is None or found.second_best is None:
        return False
    is_far = np.abs(found.rival - found.theta) > ELSEWHERE * standard_errors(model, found.theta, targets, spread)
    height = ridge(model, found.theta[None], found.rival[None], weights, targets, objective)[0]
    return bool(is_far.any() or height > found.second_best * (1 + HIGH))


def standard_errors(model: Model, theta: Array, targets: Array, spread: float) -> Array:
    """Return standard errors (K,) of the coordinates of a fit, by its slopes; inf for one that moves nothing.

    Parameters
    ----------
    model : law on R rows
    theta : (K,) fitted coordinates
    targets : (1, R) targets in the model's units
    spread : scale of the residuals [1]
    """
    slopes = np.nan_to_num(model.slopes(theta[None], targets)[0], posinf=STEEPEST, neginf=-STEEPEST)  # (K, R)
    norms = np.linalg.norm(slopes, axis=1)
    moving = np.flatnonzero(norms > 1e-9 * np.max(norms, initial=0.0))
    errors = np.full(len(theta), np.inf)
    if len(moving) and np.isfinite(spread):
        scaled = slopes[moving] / norms[moving, None]
        variance = np.diag(np.linalg.pinv(scaled @ scaled.T, rcond=1 / SINGULAR, hermitian=True))
        errors[moving] = SHARPNESS * spread * np.sqrt(np.maximum(variance, 0.0)) / norms[moving]
    return errors


def notes_on_residuals(
    residuals: Array, kept: NDArray[np.int64], num_free: int, row_name: Callable[[int], str] | None = None
) -> list[Note]:
    """Return notes on outliers and on having no rows to spare.

    Parameters
    ----------
    residuals : (R,) residuals [1]
    kept : (R,) positions of the rows among those given
    num_free : fitted coefficients
    row_name : what the row at a position is called; `row` and the position from 0 when None
    """
    notes = []
    if len(residuals) <= num_free:
        notes.append(
            Note(
                "no_spare_rows",
                f"{len(residuals)} rows for {num_free} coefficients: the law goes through every row, "
                "and nothing is left to judge it by",
            )
        )
    size = np.abs(residuals)
    # A sharp fit goes through as many rows as it has coefficients: these say nothing of how far rows usually lie off.
    typical = float(np.median(np.sort(size)[min(num_free, len(size) - 1) :]))
    wild = np.flatnonzero(size > max(WILD * typical, 1e-6))
    if len(residuals) >= 10 and len(wild):
        worst = [int(kept[k]) for k in wild[np.argsort(-size[wild])][:5]]
        shown = ", ".join(dict.fromkeys(f"row {k}" if row_name is None else row_name(k) for k in worst))
        notes.append(
            Note(
                "outliers",
                f"{len(wild)} row{'s lie' if len(wild) > 1 else ' lies'} more than {WILD:g} times the median "
                f"residual off ({shown}{', …' if len(wild) > 5 else ''})",
            )
        )
    return notes


def notes_on_tails(names: tuple[str, ...], errors: Array, lower: Array, upper: Array) -> list[Note]:
    """Return a note on standard errors that a few resamples carry, which says to read the interval instead."""
    with np.errstate(invalid="ignore"):
        rounding = 1e-9 * np.abs(upper)
        heavy = [names[k] for k in np.flatnonzero(errors > HEAVY * (upper - lower) / 4 + rounding)]
    if not heavy:
        return []
    shown = ", ".join(heavy)
    return [Note("heavy_tails", f"the standard error of {shown} is carried by a few resamples; use the interval")]


def notes_on_resamples(count: int, failed: int, beaten: float) -> list[Note]:
    """Return notes on how many resamples could not be fitted, and how many prefer another basin."""
    notes = []
    if count and failed > FAILED_SHARE * count:
        notes.append(
            Note(
                "failed_resamples",
                f"{failed} of {count} resamples did not converge or failed; intervals are rough",
            )
        )
    if beaten > 0.2:
        notes.append(
            Note(
                "unstable_basin",
                f"{beaten:.0%} of the resamples prefer other coefficients altogether: a few rows decide",
            )
        )
    return notes
