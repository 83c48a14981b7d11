"""One power of one input without a floor, form M1.

    loss(x) = A / x ^ alpha

A straight line in logarithms. The exponent may have either sign here, so the same law serves a quantity that grows.

>>> import numpy as np
>>> PLAIN_POWER.predict(np.array([8.0, 0.5]), np.array([[4.0], [16.0]]))
array([4., 2.])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import LARGEST_EXPONENT, Coefficient, Input, Role, amplitude

PLAIN_POWER = Formula(
    name="plain_power",
    law="A / x ^ alpha",  # loss [nat/token]
    inputs=(Input("x", "any"),),
    coefficients=(amplitude("A"), Coefficient("alpha", Role.EXPONENT, -LARGEST_EXPONENT, LARGEST_EXPONENT)),
    source="Alabdulmohsin et al. 2022 (arXiv:2209.06640), form M1",
)
