"""The number of parameters that is best for a compute budget.

    params(flops) = k * flops ^ a

One row a budget: the size with the lowest loss there, by whatever approach. The number of tokens that goes with it
is `optimal_tokens`.

>>> import numpy as np
>>> OPTIMAL_PARAMS.predict(np.array([0.1, 0.5]), np.array([[1e20], [1e22]]))
array([1.e+09, 1.e+10])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import LARGEST_EXPONENT, Coefficient, Input, Role, amplitude

OPTIMAL_PARAMS = Formula(
    name="optimal_params",
    law="k * flops ^ a",  # params [count]
    inputs=(Input("flops", "flop"),),
    coefficients=(amplitude("k"), Coefficient("a", Role.EXPONENT, -LARGEST_EXPONENT, LARGEST_EXPONENT)),
    target="params",
    unit="count",
    source="Hoffmann et al. 2022 (arXiv:2203.15556), section 3, N_opt",
)
