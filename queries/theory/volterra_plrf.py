"""The expected risk of power-law random features under one-pass SGD, exact for the features a run has drawn.

With omega_i the eigenvalues of W^T D W and c_i the target on its eigenvectors (`lakehouse.models.random_features`),
let rho_i(r) be the expected risk in direction i after r steps. Data are Gaussian, a batch of B is summed, and so

    P(r) = residual + sum_i rho_i(r)                       rho_i(0) = c_i^2
    rho_i(r + 1) = q_i rho_i(r) + gamma^2 B omega_i^2 P(r)     q_i = 1 - 2 gamma B omega_i + gamma^2 B (B + 1) omega_i^2

which is the paper's Volterra equation as a recursion. Its matrix, diag(q) + k 1^T with k_i = gamma^2 B omega_i^2, is
symmetric once direction i is divided by the root of k_i, so one eigendecomposition gives every step at once.

The deviation is that of one run about this mean, for the same features and other data. The first two moments of the
error are exact, those of its square are taken as of a normal vector: with S the covariance of the error and m its mean,
the variance of |m|^2 is 2 |S|^2 + 4 m' S m. S off its diagonal is kept for the 128 directions of most risk. That is
the scatter of the bulk of the runs; for B = 1 and large rates a few runs lie much farther out.

The exponents are those of the frontier of loss and width over compute (4+3 phases).

>>> import numpy as np
>>> config = {"width": 20, "ambient": 200, "spectrum_exponent": 1.0, "target_exponent": 0.7, "batch_size": 2,
...           "learning_rate": None, "learning_rate_constant": 0.3, "feature_seed": None, "seed": 0}
>>> found = VOLTERRA_PLRF.predict(config, np.array([0, 100, 10_000]))
>>> found.mean["loss"].round(4), VOLTERRA_PLRF.exponents(config)["width"]
(array([1.1387, 0.032 , 0.0183]), 0.4117647058823529)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from isoflop.lakehouse.models.random_features import (
    Features,
    draw_features,
    rate_from_constant,
    usual_rate_constant,
    weights_seed,
)
from isoflop.queries.theory.phases import phase_of
from isoflop.queries.theory.theory import Array, PredictedCurves, Setting, Steps, Theory

CORRELATED = 128  # directions of most risk whose errors are taken to go together


class VolterraPlrf(Theory):
    """Paquette et al.'s exact risk of `plrf`, and its exponents."""

    name = "volterra_plrf"
    family = "plrf"
    fields = (
        "width", "ambient", "spectrum_exponent", "target_exponent", "batch_size", "learning_rate",
        "learning_rate_constant", "feature_seed",
    )  # fmt: skip
    optional_fields = ("learning_rate", "learning_rate_constant", "feature_seed")
    metrics: Mapping[str, str] = {"loss": "1"}
    source = "Paquette et al. 2024 (arXiv:2405.15074), sections 1 and 2"

    def predict(self, config: Mapping[str, Any], at: Steps) -> PredictedCurves:
        """Return expected risk and deviation at (T,) steps."""
        ambient, alpha = int(config["ambient"]), float(config["spectrum_exponent"])
        seed = weights_seed(int(config["seed"]), config["feature_seed"])
        features = draw_features(ambient, int(config["width"]), alpha, float(config["target_exponent"]), seed)
        constant = config["learning_rate_constant"] or usual_rate_constant(int(config["batch_size"]))
        rate = config["learning_rate"] or rate_from_constant(constant, ambient, alpha)
        with np.errstate(over="ignore", invalid="ignore"):
            rho = expected_risk(features, rate, int(config["batch_size"]), at)  # (T, d)
            mean = features.residual + rho.sum(axis=1)
            deviation = _deviation(features, rate, int(config["batch_size"]), at, rho)
        return PredictedCurves({"loss": mean}, {"loss": deviation})

    def exponents(self, config: Mapping[str, Setting]) -> Mapping[str, float]:
        """Return the powers of compute d B r that loss and width follow on the frontier; empty where there are none."""
        alpha, beta = config["spectrum_exponent"], config["target_exponent"]
        assert isinstance(alpha, int | float) and isinstance(beta, int | float)
        found = phase_of(alpha, beta)
        return {} if found is None else {"loss": -found.eta, "width": found.xi}


def expected_risk(features: Features, rate: float, batch_size: int, at: Steps) -> Array:
    """Return the expected risk of each direction (T, d) after each number of steps.

    Parameters
    ----------
    features : with d eigenvalues
    rate : learning rate gamma
    batch_size : samples that a step sums over
    at : (T,) steps
    """
    omega = features.eigenvalues
    pull = rate * omega
    kept = 1 - 2 * batch_size * pull + batch_size * (batch_size + 1) * pull**2
    root = np.sqrt(batch_size) * pull  # of k
    values, vectors = np.linalg.eigh(np.diag(kept) + np.outer(root, root))
    start = vectors.T @ (features.target**2 / root)
    source = features.residual * (vectors.T @ root)
    powers = values ** at[:, None]  # (T, d)
    with np.errstate(divide="ignore", invalid="ignore"):
        summed = np.where(np.abs(1 - values) > 1e-15, (1 - powers) / (1 - values), at[:, None])
    found: Array = ((powers * start + summed * source) @ vectors.T) * root
    return found


def _deviation(features: Features, rate: float, batch_size: int, at: Steps, rho: Array) -> Array:
    """The standard deviation (T,) of one run's risk about its mean, as if the error were normal."""
    pull, target = batch_size * rate * features.eigenvalues, features.target
    found = np.zeros(len(at))
    for t, step in enumerate(at.tolist()):
        if step == 0:  # nothing is random yet
            continue
        mean = (1 - pull) ** step * target
        spread = rho[t] - mean**2
        variance = 2 * np.sum(spread**2) + 4 * np.sum(mean**2 * spread)
        most = np.argsort(rho[t])[-CORRELATED:]
        decay = 1 - pull[most, None] - pull[most] + (1 + 1 / batch_size) * np.outer(pull[most], pull[most])
        means = np.outer(mean[most], mean[most])
        between = decay**step * np.outer(target[most], target[most]) - means  # covariance of two directions
        np.fill_diagonal(between, 0.0)
        variance += 2 * np.sum(between**2) + 4 * np.sum(means * between)
        found[t] = np.sqrt(max(float(variance), 0.0)) if np.isfinite(variance) else np.inf
    return found


VOLTERRA_PLRF = VolterraPlrf()
