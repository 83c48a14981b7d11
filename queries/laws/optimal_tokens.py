"""The number of tokens that is best for a compute budget.

    tokens(flops) = k * flops ^ b

One row a budget: the tokens of the run with the lowest loss there. With six operations per parameter and token its
exponent is one less that of `optimal_params`.

>>> import numpy as np
>>> OPTIMAL_TOKENS.predict(np.array([2.0, 0.5]), np.array([[1e20], [1e22]]))
array([2.e+10, 2.e+11])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import LARGEST_EXPONENT, Coefficient, Input, Role, amplitude

OPTIMAL_TOKENS = Formula(
    name="optimal_tokens",
    law="k * flops ^ b",  # tokens [count]
    inputs=(Input("flops", "flop"),),
    coefficients=(amplitude("k"), Coefficient("b", Role.EXPONENT, -LARGEST_EXPONENT, LARGEST_EXPONENT)),
    target="tokens",
    unit="count",
    source="Hoffmann et al. 2022 (arXiv:2203.15556), section 3, D_opt",
)
