"""Loss as a floor, a term in steps and a term in parameters that add up.

    loss(steps, params) = E + A / steps ^ r_t + B / params ^ r_N

The usual ansatz for learning curves of models of several sizes. Where the terms take over from one another rather
than add, as in linear random-feature models, its exponents come out biased: compare it with `smooth_max`.

>>> import numpy as np
>>> ADDITIVE.predict(np.array([1.0, 6.0, 8.0, 0.5, 0.5]), np.array([[4.0, 4.0]]))
array([8.])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Input, amplitude, exponent, floor

ADDITIVE = Formula(
    name="additive",
    law="E + A / steps ^ r_t + B / params ^ r_N",  # loss [nat/token]
    inputs=(Input("steps", "count"), Input("params", "count")),
    coefficients=(floor("E"), amplitude("A"), amplitude("B"), exponent("r_t"), exponent("r_N")),
    source="limits in steps and width of Bordelon et al. 2024 (arXiv:2402.01092), added",
)
