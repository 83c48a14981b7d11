"""The expected error of a kernel estimated by random features, on the points that a run has drawn.

With independent features w_i ~ q, weighted by p / q, s(w) the mean over points of phi^2, and means over all pairs,

    error(m) = (1/m) (int p^2 s^2 / q dw - mean of k^2)      least for q ~ p s, where the integral is 1

whatever the representation. Sampled by p itself the integral is 1 + mean of exp(-2 |x - y|^2) / 2 for cosines, and the
mean of exp(4 x y) for positive exponentials: exact for the points, which are drawn again from the run's seed.

The deviation is that of one run's features. An error of m independent terms with inner products G has the variance
(var G_ii + 2 (m - 1) mean G_ij^2) / m^3; both are means over 512 features drawn for the purpose. Means of 100 runs lie
within 3.5 standard errors, their scatter within a fifth of the deviation. Positive exponentials sampled by p have such
heavy tails that their mean error is of no run's size where data are wide: where the integral is over ten times the mean
of G_ii nothing is predicted.

A better estimate of the kernel is better regression where a ridge keeps to the kernel, in 20 of 20 seeds at a ridge of
1; at 0.001 the span of the features decides, and those of the best sampling are worse in most.

Source: Sernau et al. 2024 (arXiv:2406.18802).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from isoflop.lakehouse.models.kernel_features import draw_kernel_features, draw_points
from isoflop.queries.theory.kernel_features import optimal_feature_bound
from isoflop.queries.theory.theory import PredictedCurves, Setting, Steps, Theory

SEEN = 512  # features from which the deviation is computed
STREAM = 2  # of random numbers of a run, apart from those of its points and features
REMEMBERED = 256  # runs
UNSEEN = 10.0  # times the mean error of single features that were drawn; a larger error lies in their tails


class OptimalFeatureBound(Theory):
    """Sernau et al.'s error of `kernel_features`, by the best sampling and by the usual one."""

    name = "optimal_feature_bound"
    family = "kernel_features"
    fields = ("points", "dimension", "variance", "variance_decay", "representation", "sampling")
    metrics: Mapping[str, str] = {"loss": "1"}
    source = "Sernau et al. 2024 (arXiv:2406.18802)"
    axis = "feature"

    def predict(self, config: Mapping[str, Any], at: Steps) -> PredictedCurves:
        """Return expected error and deviation after (T,) features.

        Raises
        ------
        ArithmeticError : if the expected error lies in tails that runs do not show
        """
        settings = {field: config[field] for field in self.fields}
        error, own, others, untaught = _moments(int(config["seed"]), **settings)
        count = np.maximum(at, 1).astype(np.float64)
        mean, variance = error / count, (own + 2 * (count - 1) * others) / count**3
        nothing = at == 0
        return PredictedCurves(
            {"loss": np.where(nothing, untaught, mean)}, {"loss": np.where(nothing, 0.0, np.sqrt(variance))}
        )

    def exponents(self, config: Mapping[str, Setting]) -> Mapping[str, float]:
        """Return the power of the features."""
        return {"features": -1.0}


@lru_cache(maxsize=REMEMBERED)
def _moments(seed: int, **settings: Any) -> tuple[float, float, float, float]:
    """The error of one feature, the variance of G_ii, the mean of G_ij^2, and the error of none."""
    dimension, variance = int(settings["dimension"]), float(settings["variance"])
    drawn = draw_points(int(settings["points"]), dimension, variance, float(settings["variance_decay"]), seed)
    points, kernel = drawn.points, drawn.kernel
    squared = float(np.mean(kernel**2))
    if settings["sampling"] == "optimal":
        error = optimal_feature_bound(kernel)
    elif settings["representation"] == "cosine":
        error = 1 + float(np.mean(kernel**4)) / 2 - squared
    else:
        with np.errstate(over="ignore"):
            error = float(np.mean(np.exp(4 * points @ points.T))) - squared
    generator = np.random.default_rng([seed, STREAM])
    seen = draw_kernel_features(points, settings["representation"], settings["sampling"], SEEN, generator)
    along = np.mean((seen.values @ kernel) * seen.values, axis=1) / len(points) * seen.weights
    products = (seen.values @ seen.values.T / len(points)) ** 2 * np.outer(seen.weights, seen.weights)
    products += squared - along[:, None] - along
    shown = float(np.mean(np.diag(products)))
    if not error < UNSEEN * shown:
        raise ArithmeticError(
            f"its error of {error:.3g} a feature lies in tails that features do not show; "
            f"{SEEN} of them have {shown:.3g}"
        )
    apart = products[~np.eye(SEEN, dtype=bool)]
    return error, float(np.var(np.diag(products))), float(np.mean(apart**2)), squared


OPTIMAL_FEATURE_BOUND = OptimalFeatureBound()
