"""The loss of a model trained on M tokens for each of its parameters.

    loss(params, M) = E + A / params ^ alpha + B / (M * params) ^ alpha,   M = tokens_per_param

The same curves as `chinchilla_tied`, asked in other words: at a constant M loss is a power of compute, and
over-training moves its amplitude, not its exponent. In the paper's symbols, with C = 6 M N^2 and eta = alpha / 2,
a = A 6^eta and b = B 6^eta give L = E + (a M^eta + b M^-eta) C^-eta.

The paper fits least squares on the loss itself, `objective = 'least_squares'`.

>>> import numpy as np
>>> OVERTRAINING.predict(np.array([1.5, 10.0, 20.0, 0.5]), np.array([[100.0, 4.0]]))
array([3.5])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Input, amplitude, exponent, floor

OVERTRAINING = Formula(
    name="overtraining",
    law="E + A / params ^ alpha + B / (tokens_per_param * params) ^ alpha",  # loss [nat/token]
    inputs=(Input("params", "count"), Input("tokens_per_param", "token/parameter")),
    coefficients=(floor("E"), amplitude("A"), amplitude("B"), exponent("alpha")),
    source="Gadre et al. 2024 (arXiv:2403.08540), eq. 4",
)
