"""The loss of a model trained with few bits: every bit less is a model with fewer effective parameters.

    loss = E + A / N' ^ alpha + B / tokens ^ beta
    N' = params * (1 - exp(-weight_bits / gamma_w)) * (1 - exp(-activation_bits / gamma_a))
                * (1 - exp(-kv_bits / gamma_kv))

Bits are those of weights, activations and the attention's keys and values. The three effects multiply: they are
taken to be independent. At 16 bits each factor is one within a few thousandths. What a quantiser loses belongs
to the quantiser, so the gammas do not transfer between them.

>>> import numpy as np
>>> paper = np.array([2.7648, 4299.0, 1.806e4, 0.4965, 0.4965, 2.6745, 2.2102, 0.9578])
>>> PRECISION.predict(paper, np.array([[1e9, 2e10, 16, 16, 16], [1e9, 2e10, 4, 4, 4]])).round(4)
array([3.05  , 3.0861])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Coefficient, Input, Role, amplitude, exponent, floor

NARROWEST, WIDEST = 0.05, 50.0  # bits within which a gamma can be seen at 1 to 16 bits


def _bits(name: str) -> Coefficient:
    return Coefficient(name, Role.FREE, NARROWEST, WIDEST)


PRECISION = Formula(
    name="precision",
    law=(
        "E + A / (params * (1 - exp(-weight_bits / gamma_w)) * (1 - exp(-activation_bits / gamma_a))"
        " * (1 - exp(-kv_bits / gamma_kv))) ^ alpha + B / tokens ^ beta"
    ),  # loss [nat/token]
    inputs=(
        Input("params", "count"),
        Input("tokens", "count"),
        Input("weight_bits", "bit"),
        Input("activation_bits", "bit"),
        Input("kv_bits", "bit"),
    ),
    coefficients=(
        floor("E"),
        amplitude("A"),
        amplitude("B"),
        exponent("alpha"),
        exponent("beta"),
        _bits("gamma_w"),
        _bits("gamma_a"),
        _bits("gamma_kv"),
    ),
    source="Kumar et al. 2024 (arXiv:2411.04330), effective parameter count",
)
