"""The expected loss of least squares without a ridge, for D samples and P features of a random teacher.

With n the lesser and m the larger of D and P, and Lambda the variances of the data, a draw of the loss is

    L = Q (1 + F)        Q = u' (Pi Lambda Pi) u, u ~ N(0, 1)        F ~ chi^2_n / chi^2_(m - n + 1), independent of Q

Pi the projection on what n random directions leave: of features, that no theta reaches, of samples, that none has
shown. The rest is the noise that this is for the other side: F depends on nothing but n and m, has the mean n / (m - n
- 1), and is gone where m has no end. So L(D, P) and L(P, D) have one law, not just one mean, and

    E L = n kappa (m - 1) / (m - n - 1)        df(kappa) = n        E Q^2 / (E Q)^2 = 1 + 2 df_2 / (n (n - df_2))

with df_2 = sum lambda^2 / (lambda + kappa)^2. F is exact; what is said of Q is its limit of many directions: low by 6
to 9 per cent for n = 8, by 3 to 5 for 16, by less than 1 from 64 on, its deviation by less than a tenth. The deviation
is that of the mean of a run's draws. Within m - n < 4 single draws have no finite variance and nothing is predicted.

Exponents are those of the loss in what there is less of, where the modes do not end, and of its distance from the limit
in what there is more of (`regimes`).

Source: Bahri et al. 2021 (arXiv:2102.06701) for the regimes; kappa as in `regimes`; the law of F from that of inverse
Wishart matrices, the same for D < P as for P < D because errors of the teacher are normal and alike in all directions.

>>> import numpy as np
>>> found = FOUR_REGIMES.predict(
...     {"dimension": 2000, "spectrum_exponent": 0.75, "samples": 40, "width": 160, "seed": 0}, np.array([0, 1, 60]))
>>> found.mean["loss"].round(3), found.deviation["loss"].round(3)
(array([2.568, 0.69 , 0.69 ]), array([0.   , 0.123, 0.016]))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from isoflop.lakehouse.models.spectrum import power_law
from isoflop.queries.theory.equivalents import Modes, power_law_modes
from isoflop.queries.theory.regimes import resolution_limit
from isoflop.queries.theory.theory import PredictedCurves, Setting, Steps, Theory

NEAREST = 4  # larger less lesser of D and P, from which on a draw has a variance


class FourRegimes(Theory):
    """Bahri et al.'s loss of `ridgeless`, with the scatter of its draws."""

    name = "four_regimes"
    family = "ridgeless"
    fields = ("dimension", "spectrum_exponent", "samples", "width")
    optional_fields = ("samples", "width")
    metrics: Mapping[str, str] = {"loss": "1"}
    source = "Bahri et al. 2021 (arXiv:2102.06701)"
    axis = "draw"

    def predict(self, config: Mapping[str, Any], at: Steps) -> PredictedCurves:
        """Return expected loss and deviation of its mean over (T,) draws.

        Raises
        ------
        ArithmeticError : at the peak, where draws have no finite variance
        """
        dimension, exponent = int(config["dimension"]), 2 * float(config["spectrum_exponent"])
        modes = power_law_modes(dimension, exponent, exponent)
        mean, deviation = ridgeless_loss(config["samples"] or np.inf, config["width"] or np.inf, modes)
        nothing, count = at == 0, np.maximum(at, 1)
        untaught = float(np.sum(power_law(dimension, exponent)))
        return PredictedCurves(
            {"loss": np.where(nothing, untaught, mean)},
            {"loss": np.where(nothing, 0.0, deviation / np.sqrt(count))},
        )

    def exponents(self, config: Mapping[str, Setting]) -> Mapping[str, float]:
        """Return the powers of loss and of its distance from the limit; empty for a spectrum without a sum."""
        alpha = config["spectrum_exponent"]
        assert isinstance(alpha, int | float)
        if 2 * alpha <= 1:
            return {}
        resolution = 1 - 2 * alpha
        return {"samples": resolution, "width": resolution, "samples_to_limit": -1.0, "width_to_limit": -1.0}


def ridgeless_loss(samples: float, width: float, modes: Modes) -> tuple[float, float]:
    """Return mean and standard deviation of the loss of one draw.

    Parameters
    ----------
    samples, width : D and P; infinite for no end of them

    Raises
    ------
    ArithmeticError : where the variance is infinite, or there are not more modes
    """
    less, more = min(samples, width), max(samples, width)
    if more - less < NEAREST:
        raise ArithmeticError(
            f"{samples:g} samples and {width:g} features are {NEAREST - 1} or less apart, at the peak, where the loss "
            f"of a draw has no finite variance"
        )
    limit = resolution_limit(less, modes)
    kappa = limit / less
    degrees = float(modes.count @ (modes.variance / (modes.variance + kappa)) ** 2)
    spread = 2 * degrees / (less * (less - degrees))
    first, second = 0.0, 0.0  # moments of F
    if np.isfinite(more):
        spare = more - less - 1
        first, second = less / spare, less * (less + 2) / (spare * (spare - 2))
    mean = limit * (1 + first)
    variance = limit**2 * ((1 + spread) * (1 + 2 * first + second) - (1 + first) ** 2)
    return float(mean), float(np.sqrt(variance))


FOUR_REGIMES = FourRegimes()
