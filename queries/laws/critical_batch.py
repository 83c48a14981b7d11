"""Steps to a loss by batch size, and the batch size at which more of it stops to pay.

    steps(batch) = S_min * (1 + B_crit / batch)            critical_batch
    batch(loss) = B_star / loss ^ (1 / alpha_B)            critical_batch_of_loss

The first is for runs that reach one loss with several batches, one row a batch. The examples that they take, steps
times batch, are then E_min (1 + batch / B_crit) with E_min = S_min B_crit, and both together are the hyperbola
(S / S_min - 1) (E / E_min - 1) = 1. At B_crit a run takes twice the fewest steps and twice the fewest examples.
`batch` may count examples or tokens, and B_crit counts the same.

The second says how B_crit grows as the loss falls: one row a loss, with the B_crit of the first law as the target.
Kaplan et al. find B_star = 2e8 tokens and alpha_B = 0.21.

>>> import numpy as np
>>> CRITICAL_BATCH.predict(np.array([1000.0, 64.0]), np.array([[64.0], [6400.0]]))
array([2000., 1010.])
>>> CRITICAL_BATCH_OF_LOSS.predict(np.array([2e8, 0.21]), np.array([[3.0]])).round(-3)
array([1069000.])
"""

from isoflop.queries.laws.formula import Chart, Formula
from isoflop.queries.laws.law import LARGEST_EXPONENT, Coefficient, Input, Role, amplitude, free
from isoflop.queries.laws.objectives import LeastSquares

FLATTEST = 0.02  # [1]; the exponent is one over it, and losses to a power above 50 are no law any more

CRITICAL_BATCH = Formula(
    name="critical_batch",
    law="S_min * (1 + B_crit / batch)",  # [step]
    inputs=(Input("batch", "example/step"),),
    coefficients=(amplitude("S_min"), free("B_crit", 0.0)),
    target="steps",
    unit="step",
    objective=LeastSquares(),
    source="McCandlish et al. 2018 (arXiv:1812.06162), eq. 2.11",
    chart=Chart(  # a floor and a power, whose best amplitudes are found without a search
        law="S_min + E_min / batch",
        coefficients=(amplitude("S_min"), amplitude("E_min")),
        back=(("B_crit", "E_min / S_min"),),
        forth=(("E_min", "S_min * B_crit"),),
    ),
)

CRITICAL_BATCH_OF_LOSS = Formula(
    name="critical_batch_of_loss",
    law="B_star / loss ^ (1 / alpha_B)",  # [token/step]
    inputs=(Input("loss", "nat/token"),),
    coefficients=(amplitude("B_star"), Coefficient("alpha_B", Role.EXPONENT, FLATTEST, LARGEST_EXPONENT)),
    target="critical_batch",
    unit="token/step",
    objective=LeastSquares(),
    source="Kaplan et al. 2020 (arXiv:2001.08361), eq. 1.4",
)
