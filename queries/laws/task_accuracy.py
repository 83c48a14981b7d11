"""The accuracy on tasks as a function of the loss: a sigmoid from chance, where the loss is high, to its best.

    task_accuracy(loss) = a / (1 + exp(-k * (loss - L_0))) + b

With k positive, b is the accuracy at a low loss and a + b the one at a high loss: a is negative where accuracy falls
as the loss grows. Half of the way lies at L_0. The other way of writing the same curve, with k negative, is left out.

The second step of predicting accuracy: fit the loss, fit this law to accuracy and loss, then
`EXTRAPOLATE loss_law THROUGH accuracy_law TO …`. The loss may be one that is measured on the tasks themselves, in any
unit. `task_error` is the form without a lower bend.

>>> import numpy as np
>>> TASK_ACCURACY.predict(np.array([-0.6, 4.0, 2.0, 0.85]), np.array([[0.5], [2.0], [9.0]])).round(2)
array([0.85, 0.55, 0.25])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Input, free
from isoflop.queries.laws.objectives import PlainSquares

TASK_ACCURACY = Formula(
    name="task_accuracy",
    law="a / (1 + exp(-k * (loss - L_0))) + b",  # fraction of right answers [1]
    inputs=(Input("loss", "nat/token", positive=False),),
    coefficients=(free("a"), free("k", 0.0), free("L_0", 0.0), free("b")),
    target="task_accuracy",
    unit="1",
    objective=PlainSquares(),
    source="Bhagia et al. 2024 (arXiv:2412.04403), step 2; the sigmoid of Grattafiori et al. 2024 (arXiv:2407.21783)",
)
