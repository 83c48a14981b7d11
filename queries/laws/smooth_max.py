"""Loss as the larger of a term in steps and a term in parameters, rounded where they cross.

    loss(steps, params) = ((A / steps ^ r_t) ^ p + (B / params ^ r_N) ^ p) ^ (1 / p)

Linear random-feature models follow it from early to late times: the slower term decides alone, and p is how sharply
one takes over from the other. With p = 1 the terms add (`additive` without its floor), with large p the larger one
counts. Any two inputs may be compared this way.

>>> import numpy as np
>>> SMOOTH_MAX.predict(np.array([6.0, 8.0, 0.5, 0.5, 2.0]), np.array([[4.0, 4.0]]))
array([5.])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Coefficient, Input, Role, amplitude, exponent

SMOOTH_MAX = Formula(
    name="smooth_max",
    law="((A / steps ^ r_t) ^ p + (B / params ^ r_N) ^ p) ^ (1 / p)",  # loss [nat/token]
    inputs=(Input("steps", "count"), Input("params", "count")),
    coefficients=(
        amplitude("A"),
        amplitude("B"),
        exponent("r_t"),
        exponent("r_N"),
        Coefficient("p", Role.FREE, 0.2, 20.0),
    ),
    source="limits in steps and width of Bordelon et al. 2024 (arXiv:2402.01092), joined by a p-norm",
)
