"""The joint loss of Kaplan et al. above a floor: parameters and tokens in one bracket, and what neither removes.

    loss(params, tokens) = E + ((N_c / params) ^ (alpha_N / alpha_D) + D_c / tokens) ^ alpha_D

With E = 0 it is `kaplan`. The paper has no floor because its losses are far above one; without it the exponents of
larger runs come out too small. Fitted in the amplitudes of `kaplan`. Busbridge et al. 2025 (arXiv:2502.08606) write
the bracket with one coefficient more, (A / N ^ alpha + B / D ^ beta) ^ gamma, which is this law where beta is 1.

>>> import numpy as np
>>> KAPLAN_FLOOR.predict(np.array([1.0, 4.0, 12.0, 0.5, 0.5]), np.array([[1.0, 1.0]]))
array([5.])
"""

from isoflop.queries.laws.formula import Chart, Formula
from isoflop.queries.laws.kaplan import SMALLEST
from isoflop.queries.laws.law import Coefficient, Input, Role, amplitude, exponent, floor

_EXPONENTS = (exponent("alpha_N"), Coefficient("alpha_D", Role.EXPONENT, SMALLEST, 5.0))

KAPLAN_FLOOR = Formula(
    name="kaplan_floor",
    law="E + ((N_c / params) ^ (alpha_N / alpha_D) + D_c / tokens) ^ alpha_D",  # loss [nat/token]
    inputs=(Input("params", "count"), Input("tokens", "count")),
    coefficients=(floor("E"), amplitude("N_c"), amplitude("D_c"), *_EXPONENTS),
    source="Kaplan et al. 2020 (arXiv:2001.08361), eq. 1.5, above a floor",
    chart=Chart(
        law="E + ((A / params ^ alpha_N) ^ (1 / alpha_D) + (B / tokens ^ alpha_D) ^ (1 / alpha_D)) ^ alpha_D",
        coefficients=(floor("E"), amplitude("A"), amplitude("B"), *_EXPONENTS),
        back=(("N_c", "A ^ (1 / alpha_N)"), ("D_c", "B ^ (1 / alpha_D)")),
        forth=(("A", "N_c ^ alpha_N"), ("B", "D_c ^ alpha_D")),
    ),
)
