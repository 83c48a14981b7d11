"""Random points of a law's domain: what a certificate counts from, because they know nothing of the rows.

Coordinates are on inputs and values divided by their geometric means, so that one set of ranges serves all laws.
"""

from __future__ import annotations

import math

import numpy as np

from isoflop.queries.fitting.solver.model import Array, Model
from isoflop.queries.laws.law import Coefficient, Role

# ranges of log coefficients: e-5 of the value is a term that is hardly seen, e3 one that dwarfs what was measured
LOGS = {Role.FLOOR: (-5.0, 0.0), Role.AMPLITUDE: (-5.0, 3.0), Role.FREE: (-5.0, 5.0), Role.EXPONENT: (-4.0, 0.4)}
LEAST_EXPONENT, LARGEST_EXPONENT = 0.02, 1.5  # [1] of most published laws
ATTEMPTS = 20  # times as many points at most, where a law has no value at many of them


def drawn(model: Model, targets: Array, count: int, generator: np.random.Generator) -> Array:
    """Return up to `count` random points (S, K) at which the law has a value on every row.

    Parameters
    ----------
    model : law on R rows, without units (`Model.is_unitless`)
    targets : (1, R)
    """
    found = np.empty((0, len(model.free)))
    for _ in range(ATTEMPTS):
        points = np.column_stack([_values(model, k, generator.random(count)) for k in range(len(model.free))])
        with np.errstate(all="ignore"):
            is_usable = np.isfinite(model.residuals(points, targets, 0)[0]).all(axis=1)
        found = np.concatenate([found, points[is_usable]])[:count]
        if len(found) == count:
            break
    return found


def _values(model: Model, k: int, spread: Array) -> Array:
    """The k-th coordinate at quantiles (0 to 1) of its range."""
    one, box = model.coefficients[model.free[k]], (float(model.lower[k]), float(model.upper[k]))
    if not model.is_log[k]:
        return plausible(one, spread, *box)
    low, high = max(LOGS[one.role][0], box[0]), min(LOGS[one.role][1], box[1])
    low, high = (low, high) if low < high else box
    return np.asarray(low + spread * (high - low))


def plausible(one: Coefficient, spread: Array, lower: float, upper: float) -> Array:
    """Return coordinates, which are no logarithms, at quantiles (0 to 1) of where a coefficient usually lies.

    Parameters
    ----------
    one : the coefficient
    spread : (S,) quantiles
    lower, upper : its box
    """
    if one.role is Role.EXPONENT:
        low, high = max(lower, LEAST_EXPONENT if lower >= 0 else -LARGEST_EXPONENT), min(upper, LARGEST_EXPONENT)
        return low + spread * (high - low) if high > low else lower + spread * (upper - lower)
    if math.isfinite(lower) and math.isfinite(upper):
        return lower + spread * (upper - lower)
    signed = np.sign(spread - 0.5) * 10.0 ** (6.0 * np.abs(spread - 0.5) - 2.0)  # +-0.01 to +-10
    found: Array = np.clip(signed, lower, upper)
    return found
