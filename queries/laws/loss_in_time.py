"""The loss after some seconds of training: tokens are what the step time leaves of them.

    loss = E + A / params ^ alpha + B / (tokens_per_step * seconds / step_seconds) ^ beta

An architecture enters through its number of parameters and the time of its step (`step_time`), so the law ranks
shapes by what they reach in a given time. It takes shapes of equal size to be equally good, which fails for
extreme ones.

>>> import numpy as np
>>> LOSS_IN_TIME.predict(np.array([1.5, 10.0, 20.0, 0.5, 0.5]), np.array([[100.0, 8.0, 0.02, 1.0]]))
array([3.5])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Input, amplitude, exponent, floor

LOSS_IN_TIME = Formula(
    name="loss_in_time",
    law="E + A / params ^ alpha + B / (tokens_per_step * seconds / step_seconds) ^ beta",  # loss [nat/token]
    inputs=(
        Input("params", "count"),
        Input("tokens_per_step", "token/step"),
        Input("step_seconds", "second/step"),
        Input("seconds", "second"),
    ),
    coefficients=(floor("E"), amplitude("A"), amplitude("B"), exponent("alpha"), exponent("beta")),
    source="Inbar and Sernau 2024 (arXiv:2406.18922), parameter equivalence, tokens written as time over step time",
)
