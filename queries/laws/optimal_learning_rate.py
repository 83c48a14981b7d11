"""The learning rate that is best for a model of some size on some number of tokens.

    learning_rate(params, tokens) = k * params ^ a * tokens ^ b

One row a sweep over learning rates: the best of it. Step Law's published coefficients are k 1.79, a -0.713, b 0.307,
for peak rates of AdamW with a cosine schedule.

>>> import numpy as np
>>> OPTIMAL_LEARNING_RATE.predict(np.array([1.79, -0.713, 0.307]), np.array([[1e9, 1e11]])).round(6)
array([0.001632])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import LARGEST_EXPONENT, Coefficient, Input, Role, amplitude

OPTIMAL_LEARNING_RATE = Formula(
    name="optimal_learning_rate",
    law="k * params ^ a * tokens ^ b",  # peak learning rate [1]
    inputs=(Input("params", "count"), Input("tokens", "count")),
    coefficients=(
        amplitude("k"),
        Coefficient("a", Role.EXPONENT, -LARGEST_EXPONENT, LARGEST_EXPONENT),
        Coefficient("b", Role.EXPONENT, -LARGEST_EXPONENT, LARGEST_EXPONENT),
    ),
    target="learning_rate",
    unit="1",
    source="Li et al. 2025, Step Law (arXiv:2503.04715), eq. 1",
)
