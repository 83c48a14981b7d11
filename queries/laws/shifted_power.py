"""One power of one input above a floor, counted from an offset: the head start of a learning curve.

    loss(x) = E + A / (x + x_0) ^ alpha

At x far below x_0 the curve is flat, far above it is the law `power`. With x_0 = 0 it is that law.

>>> import numpy as np
>>> SHIFTED_POWER.predict(np.array([1.0, 8.0, 4.0, 0.5]), np.array([[0.0], [12.0]]))
array([5., 3.])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Coefficient, Input, Role, amplitude, exponent, floor

SHIFTED_POWER = Formula(
    name="shifted_power",
    law="E + A / (x + x_0) ^ alpha",  # loss [nat/token]
    inputs=(Input("x", "any"),),
    coefficients=(floor("E"), amplitude("A"), Coefficient("x_0", Role.FREE, 0.0), exponent("alpha")),
    source="Viering and Loog 2021 (arXiv:2103.10948), table 1, POW4 with a unit slope",
)
