"""The parametric loss of Hoffmann et al.: a floor, a power of parameters and a power of tokens."""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Input, amplitude, exponent, floor

CHINCHILLA = Formula(
    name="chinchilla",
    law="E + A / params ^ alpha + B / tokens ^ beta",  # loss [nat/token]
    inputs=(Input("params", "count"), Input("tokens", "count")),
    coefficients=(floor("E"), amplitude("A"), amplitude("B"), exponent("alpha"), exponent("beta")),
    source="Hoffmann et al. 2022 (arXiv:2203.15556), eq. 2",
)
