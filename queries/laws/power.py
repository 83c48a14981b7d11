"""One power of one input above a floor."""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Input, amplitude, exponent, floor

POWER = Formula(
    name="power",
    law="E + A / x ^ alpha",  # loss [nat/token]
    inputs=(Input("x", "any"),),
    coefficients=(floor("E"), amplitude("A"), exponent("alpha")),
    source="Hestness et al. 2017 (arXiv:1712.00409), eq. 1 with a floor",
)
