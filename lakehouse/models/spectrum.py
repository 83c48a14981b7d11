"""Power-law spectra: the variances of data and the coefficients of a target, mode by mode.

Pure arithmetic, so that what trains and what predicts take the same numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def power_law(size: int, exponent: float) -> Floats:
    """Return j ** -exponent for j = 1 to `size`, (size,).

    Example
    -------
    >>> power_law(4, 2.0).tolist()
    [1.0, 0.25, 0.1111111111111111, 0.0625]
    """
    numbers: Floats = np.arange(1, size + 1, dtype=np.float64) ** -exponent
    return numbers


def unit_task(dimension: int, spectrum_exponent: float, target_exponent: float) -> tuple[Floats, Floats]:
    """Return the variances of the data and the coefficients of a linear target, scaled to the size of isotropic ones.

    Parameters
    ----------
    dimension : D, modes
    spectrum_exponent : alpha; the standard deviation of mode j falls as j^-alpha
    target_exponent : beta; the coefficient of mode j falls as j^-beta

    Returns
    -------
    variances : (D,), their mean is 1
    target : (D,), the mean over modes of variance * target^2 is 1, which is the variance of the target over D

    Example
    -------
    >>> variances, target = unit_task(3, 0.0, 0.0)
    >>> variances.tolist(), target.tolist()
    ([1.0, 1.0, 1.0], [1.0, 1.0, 1.0])
    """
    variances = power_law(dimension, 2 * spectrum_exponent)
    variances /= variances.mean()
    target = power_law(dimension, target_exponent)
    target /= np.sqrt((variances * target**2).mean())
    return variances, target
