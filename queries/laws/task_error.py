"""The error on tasks as a function of the loss: flat at chance, exponential below it.

    task_error(loss) = epsilon - k * exp(-gamma * loss)

The second step of loss prediction: extrapolate the loss, then read the error off. The input may be measured on
another text than the tasks.

The paper fits least squares on the error itself, `objective = 'least_squares'`; the default here is relative.

>>> import numpy as np
>>> TASK_ERROR.predict(np.array([0.8, 2.0, 0.8]), np.array([[2.5], [40.0]])).round(4)
array([0.5293, 0.8   ])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Coefficient, Input, Role, amplitude
from isoflop.queries.laws.objectives import RelativeSquares

TASK_ERROR = Formula(
    name="task_error",
    law="epsilon - k * exp(-gamma * loss)",  # fraction of wrong answers [1]
    inputs=(Input("loss", "nat/token", positive=False),),
    coefficients=(amplitude("epsilon"), amplitude("k"), Coefficient("gamma", Role.FREE, 0.0)),
    target="task_error",
    unit="1",
    objective=RelativeSquares(),
    source="Gadre et al. 2024 (arXiv:2403.08540), eq. 5",
)
