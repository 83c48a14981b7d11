"""Starts that compare an optimum on a face of the domain, where a term is zero, with the inside, and the reverse.

A positive coefficient is a logarithm to the solver. A term that has died on the way has no slope to come back by, and
one that lives is never quite zero; so each is tried as the other, from the best point that was found.
"""

from __future__ import annotations

import numpy as np

from isoflop.queries.fitting.solver.model import DEAD, Array, Model

FAINT = 1e-3  # share [1] of every prediction below which a term is tried as one that counts
SHARES = (0.03, 0.3, 0.6, 0.85, 0.97)  # of the lowest value [1]: sizes that a term is revived with
STEEPER = (1.0, 1.5)  # factors on the exponents [1]: a floor makes the powers above it steeper


def starts_beyond_faces(model: Model, theta: Array, weights: Array, targets: Array) -> Array:
    """Return points (S, K) near a point (K,) in which a dead term lives or a living one is dead.

    Parameters
    ----------
    model : law on R rows
    theta : the point
    weights, targets : (1, R) each
    """
    terms = [k for k in range(len(theta)) if model.has_zero_face[k]]
    if not terms:
        return np.empty((0, len(theta)))
    slopes = np.abs(np.nan_to_num(model.slopes(theta[None], targets)[0]))  # of logarithms: the share of each term
    found: list[Array] = []
    for k in terms:
        if float(slopes[k].max()) < FAINT:
            for factor in STEEPER:
                for share in SHARES:
                    found.append(_moved(model, theta, k, float(np.log(share)), factor))
        else:
            found.append(_moved(model, theta, k, max(DEAD, float(model.lower[k])), 1.0))
    points = np.array(found)
    return np.concatenate([points, model.projected(points, weights, targets)])


def _moved(model: Model, theta: Array, k: int, value: float, factor: float) -> Array:
    """A point with one coordinate at a value and the exponents, which are no logarithms, times a factor."""
    moved = np.where(model.is_log, theta, theta * factor)
    moved[k] = value
    return np.clip(moved, model.lower, model.upper)
