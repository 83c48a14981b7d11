"""Quantiles of Student's distribution without SciPy, whose import takes as long as a fit."""

from __future__ import annotations

import math
from statistics import NormalDist

MANY = 200  # degrees of freedom from which the expansion in their inverse is exact to ten digits


def student_quantile(share: float, freedom: int) -> float:
    """Return the quantile of Student's distribution.

    Parameters
    ----------
    share : probability [1] below the quantile, at least 0.5
    freedom : degrees of freedom, 1 or more

    Source: Abramowitz and Stegun 1964, 26.7.3, 26.7.4 (probabilities) and 26.7.5 (expansion).

    Example
    -------
    >>> [round(student_quantile(0.975, freedom), 4) for freedom in (1, 2, 11, 1000)]
    [12.7062, 4.3027, 2.201, 1.9623]
    """
    z = NormalDist().inv_cdf(share)
    if freedom >= MANY:
        terms = (
            z,
            (z**3 + z) / 4,
            (5 * z**5 + 16 * z**3 + 3 * z) / 96,
            (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
            (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
        )
        return math.fsum(term / freedom**power for power, term in enumerate(terms))
    low, high = 0.0, math.pi / 2  # of the angle whose tangent is t / sqrt(freedom)
    while high - low > 1e-15:
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if _between(middle, freedom) < 2 * share - 1 else (low, middle)
    return math.sqrt(freedom) * math.tan(0.5 * (low + high))


def _between(angle: float, freedom: int) -> float:
    """Probability [1] that Student's t lies within sqrt(freedom) times the tangent of an angle."""
    cosine = math.cos(angle)
    is_odd = freedom % 2
    term, total = (cosine if is_odd else 1.0), 0.0
    for k in range(1 + is_odd, freedom, 2):
        total += term
        term *= cosine**2 * k / (k + 1)
    found = math.sin(angle) * total
    return 2 / math.pi * (angle + found) if is_odd else found


def fisher_tail(ratio: float, between: int, within: int) -> float:
    """Return the chance [1] that a ratio of two mean squares exceeds one, where both estimate the same variance.

    Parameters
    ----------
    ratio : of the mean squares [1]
    between, within : their degrees of freedom, 1 or more

    Source: Abramowitz and Stegun 1964, 26.6.2 and the continued fraction 26.5.8 of the incomplete beta function.

    Example
    -------
    >>> [f"{fisher_tail(ratio, 5, 12):.5g}" for ratio in (0.5, 3.1059, 20.0)]
    ['0.77076', '0.049999', '1.9199e-05']
    """
    if not ratio > 0:
        return 1.0
    share = within / (within + between * ratio)
    first, second = within / 2, between / 2
    log_front = (
        math.lgamma(first + second) - math.lgamma(first) - math.lgamma(second)
        + first * math.log(share) + second * math.log1p(-share)
    )  # fmt: skip
    front = math.exp(log_front) if share < 1 else 0.0
    if share < (first + 1) / (first + second + 2):  # where the fraction converges at once
        return front / first * _beta_fraction(share, first, second)
    return 1.0 - front / second * _beta_fraction(1 - share, second, first)


def _beta_fraction(x: float, first: float, second: float) -> float:
    """The continued fraction of the incomplete beta function, from its far end."""
    found = 1.0
    for m in range(MANY, 0, -1):
        even = m * (second - m) * x / ((first + 2 * m - 1) * (first + 2 * m))
        odd = -(first + m - 1) * (first + second + m - 1) * x / ((first + 2 * m - 2) * (first + 2 * m - 1))
        found = 1.0 + odd / (1.0 + even / found)
    return 1.0 / found
