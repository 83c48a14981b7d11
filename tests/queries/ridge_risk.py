"""A computed law, as somebody outside would write one: the risk of ridge regression on a power-law spectrum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.laws import Cost, Input, Law, amplitude, exponent, floor

Array = NDArray[np.float64]

MODES = np.arange(1.0, 101)
RIDGE, ROUNDS = 1e-2, 60


class RidgeRisk(Law):
    """E + A times the risk with n samples, whose effective ridge kappa solves an equation of its own."""

    name, source = "ridge_risk", "Simon et al. 2023 (arXiv:2110.03922), eq. 7"
    inputs = (Input("samples", "count"),)
    coefficients = (floor("E"), amplitude("A"), exponent("a"))
    cost = Cost.COSTLY

    def predict(self, coefficients: Array, inputs: Array) -> Array:
        """Return the risk (..., R) for coefficients (..., 3) and inputs (R, 1)."""
        least, scale, power = (coefficients[..., k, None, None] for k in range(3))
        samples = inputs[:, 0, None]
        spectrum = MODES ** -(1 + power)  # (..., 1, M)
        kappa = (RIDGE + spectrum.sum(axis=-1, keepdims=True)) / samples
        for _ in range(ROUNDS):
            kappa = (RIDGE + (spectrum * kappa / (spectrum + kappa)).sum(axis=-1, keepdims=True)) / samples
        learned = spectrum / (spectrum + kappa)
        unlearned = (spectrum * (1 - learned) ** 2).sum(axis=-1)
        return np.asarray(least[..., 0] + scale[..., 0] * unlearned / (1 - (learned**2).sum(axis=-1) / samples[:, 0]))


RIDGE_RISK = RidgeRisk()
