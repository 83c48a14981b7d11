"""The growth of a normalized margin after the last mistake in training: as one over the logarithm of time.

    margin(step) = m_inf - c / (ln(step / t99) + d)

A network that is homogeneous in its weights, with a loss of an exponential tail and no weight decay, goes on growing
after it has separated its samples: its squared norm as ln t, and what its margin lacks to the one that it ends at falls
as 1 / ln t. That end, m_inf, lies far beyond what is trained: from step t99, where the train accuracy reached 0.99 and
c / d is lacking, half of that is left at step t99 e^d, a tenth at t99 e^(9 d). 1 - c / (d m_inf) is the part of the
margin that was there at t99.

    FIT margin ~ margin_growth(step, t99) FROM (SELECT … WHERE metric = 'soft_margin' AND step > t99)

d is zero or more, so that every step beyond t99 has a value. Earlier rows have another law: leave them out. Fitted by
least squares on the value itself, since margins begin at zero.

>>> import numpy as np
>>> steps = 50 * np.exp([0.0, 1.0, 9.0])
>>> MARGIN_GROWTH.predict(np.array([0.5, 0.4, 1.0]), np.column_stack([steps, np.full(3, 50.0)])).round(3)
array([0.1 , 0.3 , 0.46])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Input, amplitude, free
from isoflop.queries.laws.objectives import PlainSquares

MARGIN_GROWTH = Formula(
    name="margin_growth",
    law="m_inf - c / (ln(step / t99) + d)",  # margin over the squared norm of weights [1]
    inputs=(Input("step", "step"), Input("t99", "step", is_setting=True)),
    coefficients=(free("m_inf"), amplitude("c"), free("d", 0.0)),
    target="margin",
    unit="1",
    objective=PlainSquares(),
    source="Lyu and Li 2020 (arXiv:1906.05890), theorem 4.3; Kumar et al. 2024 (arXiv:2411.03541), for overtraining",
)
