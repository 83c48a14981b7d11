"""A curve in one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.-~=+*#"


def sparkline(values: Sequence[float | None], *, is_ascii: bool = False) -> str:
    """Return one character a value, from the lowest to the highest; a missing value is a blank.

    Positive values are compared by their ratios, so that the slow end of a loss curve still shows.

    Example
    -------
    >>> sparkline([8.0, 4.0, 2.0, 1.0])
    '█▆▃▁'
    >>> sparkline([1.0, None, 2.0], is_ascii=True)
    '_ #'
    """
    blocks = ASCII_BLOCKS if is_ascii else BLOCKS
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return " " * len(values)
    place = math.log if min(known) > 0 else float
    low, high = place(min(known)), place(max(known))
    span = (high - low) or 1.0
    return "".join(
        blocks[round((place(value) - low) / span * (len(blocks) - 1))]
        if value is not None and math.isfinite(value)
        else " "
        for value in values
    )
