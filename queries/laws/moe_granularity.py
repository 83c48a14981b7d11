"""The loss of a mixture of experts by how finely its experts are cut.

    loss(params, tokens, granularity) = c + (g / granularity ^ gamma + a) / params ^ alpha + b / tokens ^ beta

Granularity is the width of a dense feed-forward layer over that of an expert: with G times as fine experts, G times
as many are used for a token. params are all of them, without embeddings, at one ratio of total to active ones. At any
one granularity the law is `chinchilla`.

>>> import numpy as np
>>> paper = np.array([0.47, 18.1, 2.1, 30.8, 0.115, 0.147, 0.58])
>>> MOE_GRANULARITY.predict(paper, np.array([[1e9, 1e10, 1.0], [1e9, 1e10, 16.0]])).round(3)
array([3.377, 3.222])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Input, amplitude, exponent, floor

MOE_GRANULARITY = Formula(
    name="moe_granularity",
    law="c + (g / granularity ^ gamma + a) / params ^ alpha + b / tokens ^ beta",  # loss [nat/token]
    inputs=(Input("params", "count"), Input("tokens", "count"), Input("granularity", "1")),
    coefficients=(
        floor("c"),
        amplitude("a"),
        amplitude("g"),
        amplitude("b"),
        exponent("alpha"),
        exponent("beta"),
        exponent("gamma"),
    ),
    source="Krajewski et al. 2024 (arXiv:2402.07871), eq. 9",
)
