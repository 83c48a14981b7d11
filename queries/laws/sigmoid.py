"""A sigmoid in the logarithm of compute, from one level to another: rewards, pass rates and accuracies.

    reward(flops) = R_0 + (A - R_0) / (1 + (C_mid / flops) ^ B)

R_0 is where it begins and A where it ends, above or below; half of the way is done at C_mid, and B is how steep it is
there. Reinforcement learning is measured this way, with compute of any unit: flops or hours. Levels may be known:
`PARAMETERS (A FIXED 1)` for a pass rate that can reach one, `PARAMETERS (R_0 FIXED 0.25)` for four choices.

Rewards may be zero or negative. The same curves as `mmf4`, in words of compute; a loss between two bounds is
`bounded_power`. Rows that do not bend over leave A open, and the fit then says so.

>>> import numpy as np
>>> SIGMOID.predict(np.array([-1.0, 3.0, 100.0, 2.0]), np.array([[1e-9], [100.0], [1e9]])).round(9)
array([-1.,  1.,  3.])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Coefficient, Input, Role, free
from isoflop.queries.laws.objectives import PlainSquares

STEEPEST = 20.0  # [1]; the rise then takes a fifth of a factor of e, which is a step for rows a factor of two apart

SIGMOID = Formula(
    name="sigmoid",
    law="R_0 + (A - R_0) / (1 + (C_mid / flops) ^ B)",  # reward [1]
    inputs=(Input("flops", "flop"),),
    coefficients=(free("R_0"), free("A"), free("C_mid", 0.0), Coefficient("B", Role.EXPONENT, 0.0, STEEPEST)),
    target="reward",
    unit="1",
    objective=PlainSquares(),
    source="Khatri et al. 2025 (arXiv:2510.13786), eq. 1",
)
