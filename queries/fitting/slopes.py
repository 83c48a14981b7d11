"""How predictions, or their logarithms, move with the coefficients of a law."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.laws.derivatives import differences
from isoflop.queries.laws.law import Law

Array = NDArray[np.float64]

STEP = 1e-5  # relative step [1] of the central differences


def slope_basis(
    law: Law,
    coefficients: Array,
    inputs: Array,
    free: Sequence[int] | None = None,
    scale: Array | None = None,
    *,
    is_log: bool = True,
) -> Array | None:
    """Return an orthonormal basis (R, rank) of how log predictions move with the coefficients; None without any.

    Parameters
    ----------
    law, coefficients : K coefficients
    inputs : (R, P)
    free : positions of the coefficients that may move; all when None
    scale : (R,) factor of each row, such as the root of its weight
    is_log : whether it is the logarithms that move, or the predictions themselves
    """
    with np.errstate(all="ignore"):
        slopes = relative_slopes(law, coefficients, inputs, is_log=is_log)
    slopes = slopes if free is None else slopes[list(free)]
    slopes = slopes if scale is None else slopes * scale
    norms = np.linalg.norm(slopes, axis=1)
    inside = norms > 1e-9 * (STEP if is_log else np.nanmax(norms, initial=0.0))
    if not inside.any() or not np.isfinite(slopes[inside]).all():
        return None
    basis, strength, _ = np.linalg.svd((slopes[inside] / norms[inside, None]).T, full_matrices=False)
    return np.asarray(basis[:, strength > 1e-7 * strength[0]])


def relative_slopes(law: Law, coefficients: Array, inputs: Array, *, is_log: bool = True) -> Array:
    """Return central differences (K, R) of predictions, or of their logs, over relative steps of the coefficients."""
    steps = STEP * np.where(coefficients != 0, np.abs(coefficients), 1.0)

    def predicted(moved: Array) -> Array:
        found = np.asarray(law.predict(moved, inputs))
        return np.log(found) if is_log else found

    return differences(predicted, coefficients, steps) / 2
