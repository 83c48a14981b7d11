"""The lowest loss of a compute budget: a power of it above a floor.

    loss(flops) = E + A / flops ^ alpha

For the frontier of a sweep, one row a budget. It follows from `chinchilla` with alpha (chinchilla's alpha and beta
being a and b) equal to a b / (a + b), and saturates at the same E.

>>> import numpy as np
>>> COMPUTE_LOSS.predict(np.array([1.8, 7.0, 0.05]), np.array([[1e20]])).round(12)
array([2.5])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Input, amplitude, exponent, floor

COMPUTE_LOSS = Formula(
    name="compute_loss",
    law="E + A / flops ^ alpha",  # loss [nat/token]
    inputs=(Input("flops", "flop"),),
    coefficients=(floor("E"), amplitude("A"), exponent("alpha")),
    source="Porian et al. 2024 (arXiv:2406.19146), saturating power law of the optimal loss",
)
