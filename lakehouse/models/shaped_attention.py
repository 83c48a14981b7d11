"""The covariance of a sequence's tokens, as arithmetic: where it begins, its root, and what is said of it.

For X (T, n), T tokens in n dimensions, V = X X^T / n (T, T); networks with weights of their own at every layer depend
on X by V alone. Both the finite networks and their limit begin at the same V and are described by the same numbers.

Source: Noci et al. 2023 (arXiv:2306.17759).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Signs = NDArray[np.bool_]
METRICS = {"variance": "1", "correlation": "1", "rank": "1"}  # of a covariance, with units


def first_covariance(sequence_length: int, correlation: float) -> Floats:
    """Return V (T, T) of tokens of variance 1, each pair of which has one correlation."""
    return np.full((sequence_length, sequence_length), correlation) + (1 - correlation) * np.eye(sequence_length)


def attended_shares(sequence_length: int, *, causal: bool) -> Floats:
    """Return the weights (T, T) of attention that prefers nothing: 1/T, or 1/i for the i tokens that token i sees."""
    seen = np.ones((sequence_length, sequence_length))
    if causal:
        seen = np.tril(seen)
    shares: Floats = seen / np.add.reduce(seen, axis=1)[:, None]
    return shares


def covariance_root(covariance: Floats, least: float = 0.0) -> tuple[Floats, Signs]:
    """Return R (..., T, T) with R R^T = V, and where V had to be put back on the cone.

    Parameters
    ----------
    covariance : (..., T, T); a matrix that is not finite has a root that is not finite
    least : eigenvalues below it are raised to it
    """
    is_finite = np.asarray(np.isfinite(covariance).all(axis=(-2, -1)))
    values, vectors = np.linalg.eigh(np.where(is_finite[..., None, None], covariance, 0.0))
    root: Floats = vectors * np.sqrt(np.maximum(values, least))[..., None, :]
    root[~is_finite] = np.nan
    return root, is_finite & (values[..., 0] < least)


def summed(values: Floats, num_axes: int) -> Floats:
    """Return sums over the last axes, added in an order that does not depend on the size of the others."""
    flat = np.ascontiguousarray(values).reshape(*values.shape[: values.ndim - num_axes], -1)
    found: Floats = np.add.reduce(flat, axis=-1)
    return found


def covariance_metrics(covariance: Floats) -> dict[str, Floats]:
    """Return what is measured of covariances (..., T, T), each (...,), by the names of `METRICS`.

    `variance` is the mean of V_ii, `correlation` the mean of V_ij / sqrt(V_ii V_jj) over pairs, 1 for a single token,
    and `rank` the tokens that are worth as much without correlations, T^2 / sum of squared correlations, from 1 to T.
    """
    count = covariance.shape[-1]
    variances = np.diagonal(covariance, axis1=-2, axis2=-1)
    scale = np.sqrt(variances)
    correlations = covariance / scale[..., :, None] / scale[..., None, :]
    total, squares = summed(correlations, 2), summed(correlations**2, 2)
    pairs = count * (count - 1)
    return {
        "variance": summed(variances, 1) / count,
        "correlation": (total - count) / pairs if pairs else np.ones_like(total),
        "rank": count**2 / squares,
    }
