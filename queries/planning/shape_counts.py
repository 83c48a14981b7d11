"""What a transformer's shape costs, for many shapes at once: the counts that sweep files know, by the same names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.models.counts import transformer_counts

Array = NDArray[np.float64]

NEEDED = ("width", "depth", "vocabulary")
USUAL: Mapping[str, float] = {"sequence_length": 256.0, "batch_size": 16.0}  # where nothing is said, as in a sweep file
OPTIONAL = ("heads", "head_width", "feed_forward", "sequence_length", "batch_size", "micro_batches")


def shape_counts(settings: Mapping[str, Array | float]) -> dict[str, Array]:
    """Return the counts of shapes in float32 with AdamW, by the names of `SHAPE_OUTPUTS`.

    Parameters
    ----------
    settings : at least width, depth and vocabulary; numbers or (M,) arrays, also between whole numbers. Heads of
        width 32, a feed-forward width of 4 widths, 256 tokens a sequence and 16 sequences a step where not given

    Example
    -------
    >>> shape_counts({"width": 8, "depth": 3, "vocabulary": 32, "feed_forward": 16})["params"].item()
    2048.0
    """
    known: dict[str, Any] = {**USUAL, **{name: settings[name] for name in (*NEEDED, *OPTIONAL) if name in settings}}
    known.setdefault("heads", np.maximum(np.asarray(known["width"]) / 32.0, 1.0))
    counts = transformer_counts(**known).outputs()  # plain arithmetic, for arrays as for numbers
    return {name: np.asarray(value, dtype=np.float64) for name, value in counts.items()}
