"""The shape of a decoder that has about so many params.

Of all shapes whose counted params are within two per cent of what is wanted, or come closest, the one whose width is
nearest to 64 times its depth. Widths are multiples of 32, below 128 of 8; layers are 1 to 128.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import UsageError
from isoflop.lakehouse.models.counts import transformer_params

ASPECT = 64.0  # width over depth [1]; Kaplan et al. 2020 (arXiv:2001.08361) find 10 to 300 alike within 3 %
CLOSE = 0.02  # relative difference of params [1] within which a shape is as good as another
FAR = 0.1  # from which it is no shape for these params
WIDTHS = (*range(8, 128, 8), *range(128, 32769, 32))
DEPTHS = tuple(range(1, 129))


def transformer_shape(
    params: float, vocabulary: int, *, tied: bool = False, is_gated: bool = False, positions: int = 0
) -> tuple[int, int]:
    """Return the width and depth of a decoder with about so many params, its feed-forward 4 widths wide.

    Parameters
    ----------
    params : every matrix counted, embedding and head among them, as `isoflop.lakehouse.models.counts` counts
    tied, is_gated, positions : as of `transformer_params`

    Raises
    ------
    UsageError : when none is within a tenth of them

    Example
    -------
    >>> transformer_shape(1e9, 50304)
    (1632, 26)
    """
    widths, depths = (axis.ravel() for axis in np.meshgrid(WIDTHS, DEPTHS, indexing="ij"))
    # The counting functions are plain arithmetic, for arrays as for numbers.
    options: dict[str, Any] = {"vocabulary": vocabulary, "tied": tied, "is_gated": is_gated, "positions": positions}
    counted: NDArray[np.int64] = transformer_params(width=widths, depth=depths, **options)  # type: ignore[assignment]
    off = np.abs(np.log(counted / params))
    if not off.min() < FAR:
        least = transformer_params(width=WIDTHS[0], depth=1, **options)
        message = f"no transformer with a vocabulary of {vocabulary} has about {params:g} params"
        raise UsageError(message, hint=f"the smallest has {least:g}; give OVER a width and a depth instead")
    close = np.flatnonzero(off <= max(CLOSE, float(off.min())))
    aspect = np.abs(np.log(widths[close] / depths[close] / ASPECT))
    best = close[np.lexsort((off[close], aspect.round(6)))[0]]
    return int(widths[best]), int(depths[best])
