"""One power that ends in a plateau, form M3.

    loss(x) = A * (1 / x + gamma) ^ alpha

The plateau A gamma ^ alpha is not added to the power as in `power`: the curve bends where x reaches 1 / gamma.

>>> import numpy as np
>>> SATURATING_POWER.predict(np.array([8.0, 0.25, 0.5]), np.array([[4 / 3], [4e12]]))
array([8., 4.])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Coefficient, Input, Role, amplitude, exponent

SATURATING_POWER = Formula(
    name="saturating_power",
    law="A * (1 / x + gamma) ^ alpha",  # loss [nat/token]
    inputs=(Input("x", "any"),),
    coefficients=(amplitude("A"), Coefficient("gamma", Role.FREE, 0.0), exponent("alpha")),
    source="Alabdulmohsin et al. 2022 (arXiv:2209.06640), form M3",
)
