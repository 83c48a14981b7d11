"""The loss of Hoffmann et al. with one exponent for parameters and tokens.

    loss(params, tokens) = E + A / params ^ alpha + B / tokens ^ alpha

One coefficient fewer; the optimum then has the same ratio of tokens to parameters, (B / A) ^ (1 / alpha), at every
budget.

>>> import numpy as np
>>> CHINCHILLA_TIED.predict(np.array([1.5, 10.0, 20.0, 0.5]), np.array([[100.0, 400.0]]))
array([3.5])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Input, amplitude, exponent, floor

CHINCHILLA_TIED = Formula(
    name="chinchilla_tied",
    law="E + A / params ^ alpha + B / tokens ^ alpha",  # loss [nat/token]
    inputs=(Input("params", "count"), Input("tokens", "count")),
    coefficients=(floor("E"), amplitude("A"), amplitude("B"), exponent("alpha")),
    source="Hoffmann et al. 2022 (arXiv:2203.15556), eq. 2 with one exponent",
)
