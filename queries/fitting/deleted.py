"""Residuals as they would be if their own row, or group of rows, had not been fitted.

A law is drawn toward every row it is fitted to, so what it leaves of a row is too small: with a penalty that is
nearly the absolute value it goes through as many rows as it has coefficients. A bootstrap that redraws residuals must
first undo this, or its intervals are too short. One Newton step from the fit without the group says by how much; with
least squares and single rows that is the exact r / (1 - h).

Source: Cook and Weisberg 1982, section 2.2.1; MacKinnon and Webb 2017, J. Appl. Econometrics 32, 233 (groups).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.data import Data
from isoflop.queries.fitting.slopes import slope_basis
from isoflop.queries.laws.law import Law
from isoflop.queries.laws.objectives import Objective

Array = NDArray[np.float64]

LARGEST_SHARE = 0.9  # of a group in its own prediction [1]; beyond it nothing is left to learn from


def deleted_residuals(
    law: Law, coefficients: Array, free: list[int], rows: Data, residuals: Array, penalty: Objective
) -> Array:
    """Return residuals (R,) of each row about the fit without its group.

    Parameters
    ----------
    law, coefficients : the fit, K coefficients
    free : positions of those that were fitted
    rows : R usable rows; a row without groups is a group of its own
    residuals : (R,) residuals of the fit, on the scale of their scatter
    penalty : what the fit minimized
    """
    root = np.sqrt(rows.weight)
    basis = slope_basis(law, coefficients, rows.inputs, free, root, is_log=not rows.scatter.is_additive)  # (R, rank)
    if basis is None:
        return residuals
    size = rows.scatter.size
    residuals = residuals / size
    pull = root * penalty.weigh(residuals, True)[1] / mean_slope(residuals, rows.weight, penalty, len(free))
    labels = rows.labels
    share = np.zeros((rows.num_groups, basis.shape[1], basis.shape[1]))
    moment = np.zeros((len(share), basis.shape[1]))
    np.add.at(share, labels, basis[:, :, None] * basis[:, None, :])
    np.add.at(moment, labels, basis * pull[:, None])
    value, vector = np.linalg.eigh(share)
    inverse = 1 / (1 - np.minimum(value, LARGEST_SHARE))
    step = np.einsum("gij,gj,gkj,gk->gi", vector, inverse, vector, moment)
    # Steps are those of a tangent, which goes anywhere when a few rows carry nearly all the weight.
    widest = np.abs(residuals).max() / (1 - LARGEST_SHARE)
    found = residuals + np.einsum("rk,rk->r", basis, step[labels]) / root
    return np.asarray(np.clip(found, -widest, widest)) * size


def mean_slope(residuals: Array, weights: Array, penalty: Objective, num_free: int) -> float:
    """Return the mean slope of a penalty's influence over the residuals, as a density where it has a kink.

    Parameters
    ----------
    residuals, weights : (R,)
    penalty : in whose units of influence over residual the answer is
    num_free : coefficients that were fitted; as many of the smallest residuals are left out, because a law that is
        drawn through rows would make the density at the kink look high

    Source: McKean and Schrader 1987, in Statistical Data Analysis Based on the L1-Norm (rows that are fitted exactly).
    """
    order = np.argsort(np.abs(residuals), kind="stable")[num_free:]
    residuals, weights = (residuals[order], weights[order]) if len(order) > 1 else (residuals, weights)
    scale = 1.4826 * float(np.median(np.abs(residuals - np.median(residuals))))
    width = max(0.9 * scale * len(residuals) ** -0.2, 1e-9)  # the slope of a kink is a density, which needs a width

    def influence(at: Array) -> Array:
        return penalty.weigh(at, True)[1]

    slope = (influence(residuals + width) - influence(residuals - width)) / (2 * width)
    return max(float(np.average(slope, weights=weights)), 1e-300)
