"""The four scaling regimes: whether data or params limit a loss, and whether by their resolution or by their variance.

A random-feature student of P features learns a linear teacher from D samples by least squares without a ridge. Modes
have variances lambda_i = i^-(1 + exponent), the teacher's coefficients are drawn alike for all modes. With n the lesser
and m the larger of D and P,

    df(kappa) = sum_i lambda_i / (lambda_i + kappa) = n            L(D, P) = n kappa / (1 - n / m)

which is symmetric, L(D, P) = L(P, D), infinite at the interpolation peak D = P, and has four laws:

    m without end    L = n kappa ~ n^-exponent           resolution-limited by what there is less of
    m large          L / (n kappa) - 1 = 1 / (m/n - 1)   variance-limited by what there is more of: the difference ~ 1/m

A fit of a resolution exponent takes losses, one of a variance exponent takes differences from the limit; neither takes
cells near the peak.

Source: Bahri et al. 2021 (arXiv:2102.06701); the loss for finite D and P from the two-point equivalent of Atanasov et
al. 2025 (arXiv:2502.05074), whose two equations for an iid teacher have kappa^2 sum lambda / (lambda + kappa)^2 over
their determinant as their solution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoflop.queries.theory.equivalents import Modes, power_law_modes

MODES = 10**15  # as good as infinitely many for exponents from 0.1 on: what they leave out falls as MODES^-exponent
MEASURABLE = 1e-3  # relative difference from a limit that runs show; below it only the limit is seen
NEAR_PEAK = 1 / 19  # relative difference beyond which two limits mix: less than 20 of one for one of the other
HALVINGS = 200  # of the interval of log kappa, to its last digit


@dataclass(frozen=True)
class Cell:
    """What limits the loss at some data and params.

    Parameters
    ----------
    regime : `resolution`, `variance` or `mixed`
    limited_by : `data` or `params`; None where mixed
    loss : L(D, P); infinite at D = P
    limit : the loss with no end of what there is more of
    power : of the larger of D and P for a difference from the limit, of the lesser for a loss; None where mixed
    """

    regime: str
    limited_by: str | None
    loss: float
    limit: float
    power: float | None


def resolution_limit(size: float, modes: Modes) -> float:
    """Return the loss of `size` samples without end of params, and of as many params without end of samples.

    Raises
    ------
    ArithmeticError : if there are not more modes
    """
    if size >= modes.count.sum():
        raise ArithmeticError(f"{size:g} samples or features of {modes.count.sum():g} modes leave nothing to learn")
    weight = modes.count * modes.variance
    low, high = np.log(modes.variance.min()) - 40, np.log(float(weight.sum()) / size)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if float(np.sum(weight / (modes.variance + np.exp(middle)))) > size:
            low = middle
        else:
            high = middle
    return float(size * np.exp((low + high) / 2))


def cell_of(data: float, params: float, exponent: float, modes: Modes | None = None) -> Cell:
    """Return the loss at D and P and the regime it is in.

    Parameters
    ----------
    data, params : D and P
    exponent : alpha_K of the spectrum i^-(1 + alpha_K)
    modes : of the data, where they are not without end

    Example
    -------
    >>> [cell_of(*place, 0.5).regime for place in ((16_000, 32), (64, 10**6), (64, 64))]
    ['variance', 'resolution', 'mixed']
    """
    if modes is None:
        modes = power_law_modes(MODES, 1 + exponent, 1 + exponent)
    less, more = min(data, params), max(data, params)
    limit = resolution_limit(less, modes)
    loss = limit / (1 - less / more) if less < more else np.inf
    excess = loss / limit - 1
    is_data_scarce = data < params
    if excess > NEAR_PEAK:
        return Cell("mixed", None, loss, limit, None)
    if excess > MEASURABLE:
        return Cell("variance", "params" if is_data_scarce else "data", loss, limit, -1.0)
    return Cell("resolution", "data" if is_data_scarce else "params", loss, limit, -exponent)
