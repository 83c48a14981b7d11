"""What rounding the weights after training adds to the loss.

    loss_increase = C_T * tokens ^ gamma_D / params ^ gamma_N * exp(-post_bits / gamma_post)

It grows with tokens: past some number of them a model to be rounded gets worse by training on. Fitted to the
difference of the losses after and before rounding; rows where that is not positive cannot be used.

>>> import numpy as np
>>> paper = np.array([0.0598, 0.5068, 0.3439, 0.5907])
>>> PTQ.predict(paper, np.array([[1e9, 2e10, 4.0], [1e9, 2e12, 4.0]])).round(3)
array([0.009, 0.094])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import LARGEST_EXPONENT, Coefficient, Input, Role, amplitude
from isoflop.queries.laws.objectives import LeastSquares

PTQ = Formula(
    name="ptq",
    law="C_T * tokens ^ gamma_D / params ^ gamma_N * exp(-post_bits / gamma_post)",  # increase in loss [nat/token]
    inputs=(Input("params", "count"), Input("tokens", "count"), Input("post_bits", "bit")),
    coefficients=(
        amplitude("C_T"),
        Coefficient("gamma_D", Role.EXPONENT, -LARGEST_EXPONENT, LARGEST_EXPONENT),
        Coefficient("gamma_N", Role.EXPONENT, -LARGEST_EXPONENT, LARGEST_EXPONENT),
        Coefficient("gamma_post", Role.FREE, 0.05, 50.0),
    ),
    target="loss_increase",
    unit="nat/token",
    objective=LeastSquares(),
    source="Kumar et al. 2024 (arXiv:2411.04330), degradation by post-training quantisation",
)
