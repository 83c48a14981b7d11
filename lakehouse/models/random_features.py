"""Power-law random features, as arithmetic: the spectrum, a draw of W from a seed, and what training depends on of it.

Both the workload that trains on them and the theory of its loss draw the same W from the same run.

    x_j = j^-alpha z_j, z_j ~ N(0, 1), j = 1..v        target <x, b>, b_j = j^-beta        W (v x d), W_ij ~ N(0, 1/d)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.models.spectrum import power_law

MOST_ENTRIES = 2**33  # of W, which is drawn whole: 64 GiB
FEATURES = 0  # stream of random numbers of a run from which W is drawn

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """What training depends on of one draw of W.

    Parameters
    ----------
    eigenvalues : (d,), s^2, of W^T D W
    target : (d,), c, the target on the eigenvectors; their signs are chosen so that c >= 0
    residual : part of the target that no theta reaches, the risk of the best one
    """

    eigenvalues: Floats
    target: Floats
    residual: float


def draw_weights(ambient: int, width: int, generator: np.random.Generator) -> Floats:
    """Return W, (v, d), entries N(0, 1/d).

    Raises
    ------
    ValueError : if it has more entries than `MOST_ENTRIES`
    """
    if ambient * width > MOST_ENTRIES:
        size = 8 * ambient * width / 2**30
        raise ValueError(f"W has {ambient} x {width} entries, {size:.3g} GiB; at most {8 * MOST_ENTRIES / 2**30:g}")
    weights: Floats = generator.standard_normal((ambient, width)) / np.sqrt(width)
    return weights


def features_of(weights: Floats, spectrum_exponent: float, target_exponent: float) -> Features:
    """Return the features of a given W.

    The triangle R of the QR decomposition of [D^(1/2) W, D^(1/2) b] holds everything: its left block has
    the singular values, its last column the target, its corner the residual.

    Parameters
    ----------
    weights : (v, d) with v >= d
    """
    ambient, width = weights.shape
    scale = power_law(ambient, spectrum_exponent)
    joined = np.column_stack([scale[:, None] * weights, scale * power_law(ambient, target_exponent)])
    triangle: Floats = np.linalg.qr(joined, mode="r")  # type: ignore[assignment]  # numpy's stubs forget this mode
    vectors, singular, _ = np.linalg.svd(triangle[:width, :width])
    residual = float(triangle[width, width] ** 2) if ambient > width else 0.0
    return Features(singular**2, np.abs(vectors.T @ triangle[:width, width]), residual)


@lru_cache(maxsize=1024)
def draw_features(
    ambient: int, width: int, spectrum_exponent: float, target_exponent: float, seed: tuple[int, ...]
) -> Features:
    """Return the features of the W that a seed draws, remembered for the runs that share it."""
    weights = draw_weights(ambient, width, np.random.default_rng(seed))
    return features_of(weights, spectrum_exponent, target_exponent)


def weights_seed(seed: int, feature_seed: int | None) -> tuple[int, ...]:
    """Return the seed of W: runs with one `feature_seed` share W, others have their own."""
    return (seed, FEATURES) if feature_seed is None else (feature_seed,)


def usual_rate_constant(batch_size: int) -> float:
    """Return the constant of the learning rate that a run has unless it says another, c = 1 / (B + 1)."""
    return 1.0 / (batch_size + 1)


def rate_from_constant(constant: float, ambient: int, spectrum_exponent: float) -> float:
    """Return the learning rate gamma = c / sum of j^-2alpha."""
    return float(constant / power_law(ambient, 2 * spectrum_exponent).sum())
