"""The batch that is best for some number of tokens.

    batch_tokens(tokens) = k * tokens ^ b

One row a sweep over batch sizes: the best of it. Step Law's published coefficients are k 0.58, b 0.571, in tokens
per step; it finds no dependence on parameters.

>>> import numpy as np
>>> OPTIMAL_BATCH.predict(np.array([0.58, 0.571]), np.array([[1e11]])).round()
array([1107715.])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import LARGEST_EXPONENT, Coefficient, Input, Role, amplitude

OPTIMAL_BATCH = Formula(
    name="optimal_batch",
    law="k * tokens ^ b",  # batch [token/step]
    inputs=(Input("tokens", "count"),),
    coefficients=(amplitude("k"), Coefficient("b", Role.EXPONENT, -LARGEST_EXPONENT, LARGEST_EXPONENT)),
    target="batch_tokens",
    unit="token/step",
    source="Li et al. 2025, Step Law (arXiv:2503.04715), eq. 1",
)
