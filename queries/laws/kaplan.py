"""The joint loss of Kaplan et al.: parameters and tokens in one bracket, without a floor.

Fitted as a smooth maximum of two powers, `A / N^alpha_N` and `B / D^alpha_D`: these amplitudes are losses of the
size of the data, where the paper's N_c and D_c lie some ten orders of magnitude off and move with the exponents.
"""

from isoflop.queries.laws.formula import Chart, Formula
from isoflop.queries.laws.law import Coefficient, Input, Role, amplitude, exponent

SMALLEST = 0.01  # [1]; the bracket is raised to 1 / alpha_D, which overflows below this

KAPLAN = Formula(
    name="kaplan",
    law="((N_c / params) ^ (alpha_N / alpha_D) + D_c / tokens) ^ alpha_D",  # loss [nat/token]
    inputs=(Input("params", "count"), Input("tokens", "count")),
    coefficients=(
        amplitude("N_c"),
        amplitude("D_c"),
        exponent("alpha_N"),
        Coefficient("alpha_D", Role.EXPONENT, SMALLEST, 5.0),
    ),
    source="Kaplan et al. 2020 (arXiv:2001.08361), eq. 1.5",
    chart=Chart(
        law="((A / params ^ alpha_N) ^ (1 / alpha_D) + (B / tokens ^ alpha_D) ^ (1 / alpha_D)) ^ alpha_D",
        coefficients=(
            amplitude("A"),
            amplitude("B"),
            exponent("alpha_N"),
            Coefficient("alpha_D", Role.EXPONENT, SMALLEST, 5.0),
        ),
        back=(("N_c", "A ^ (1 / alpha_N)"), ("D_c", "B ^ (1 / alpha_D)")),
        forth=(("A", "N_c ^ alpha_N"), ("B", "D_c ^ alpha_D")),
    ),
)
