"""The loss when tokens are repeated: a repetition is worth less than a fresh token, and less each time.

    loss = E + A / N' ^ alpha + B / D' ^ beta
    D' = U_D * (1 + R_D * (1 - exp(-(epochs - 1) / R_D))),     U_D = unique_tokens
    N' = U_N * (1 + R_N * (1 - exp(-(params / U_N - 1) / R_N)))
    U_N = least(params, (alpha A / (beta B) * U_D ^ beta) ^ (1 / alpha))

R_D is the number of repetitions after which 1 - 1/e of the value of repeating is spent. U_N is the number of
parameters that is optimal for the unique tokens; parameters beyond it count less in the same way, by R_N. With one
epoch and no excess parameters this is `chinchilla`. R_N can only be told from rows with more than U_N parameters.

>>> import numpy as np
>>> paper = np.array([1.87, 521.0, 1488.0, 0.353, 0.353, 15.4, 5.31])
>>> DATA_CONSTRAINED.predict(paper, np.array([[1e9, 1e11, 1.0], [1e9, 1e10, 10.0], [1e9, 1e9, 100.0]])).round(3)
array([2.411, 2.434, 2.76 ])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Coefficient, Input, Role, amplitude, exponent, floor

OPTIMAL = "least(params, (alpha * A / (beta * B) * unique_tokens ^ beta) ^ (1 / alpha))"  # U_N [count]
LOWEST, HIGHEST = 0.01, 1e4  # repetitions [1] between which R_D and R_N mean anything

DATA_CONSTRAINED = Formula(
    name="data_constrained",
    law=(
        f"E + A / ({OPTIMAL} * (1 + R_N * (1 - exp((1 - params / {OPTIMAL}) / R_N)))) ^ alpha"
        " + B / (unique_tokens * (1 + R_D * (1 - exp((1 - epochs) / R_D)))) ^ beta"
    ),  # loss [nat/token]
    inputs=(Input("params", "count"), Input("unique_tokens", "count"), Input("epochs", "1", least=1.0)),
    coefficients=(
        floor("E"),
        amplitude("A"),
        amplitude("B"),
        exponent("alpha"),
        exponent("beta"),
        Coefficient("R_D", Role.FREE, LOWEST, HIGHEST),
        Coefficient("R_N", Role.FREE, LOWEST, HIGHEST),
    ),
    source="Muennighoff et al. 2023 (arXiv:2305.16264), eqs. 5 and 6",
)
