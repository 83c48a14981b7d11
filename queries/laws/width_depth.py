"""The loss by shape: a power of width, of depth and of tokens above a floor.

    loss(width, depth, tokens) = E + A / width ^ alpha + B / depth ^ beta + C / tokens ^ gamma

For sweeps whose shapes do not lie on one line; where depth goes with width, `chinchilla` says the same with less.

>>> import numpy as np
>>> WIDTH_DEPTH.predict(np.array([1.0, 2.0, 3.0, 100.0, 0.5, 1.0, 0.5]), np.array([[16.0, 6.0, 1e4]]))
array([3.])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Input, amplitude, exponent, floor

WIDTH_DEPTH = Formula(
    name="width_depth",
    law="E + A / width ^ alpha + B / depth ^ beta + C / tokens ^ gamma",  # loss [nat/token]
    inputs=(Input("width", "count"), Input("depth", "layer"), Input("tokens", "count")),
    coefficients=(
        floor("E"),
        amplitude("A"),
        amplitude("B"),
        amplitude("C"),
        exponent("alpha"),
        exponent("beta"),
        exponent("gamma"),
    ),
    source="McLeish et al. 2025 (arXiv:2502.06857), law in width, depth and tokens",
)
