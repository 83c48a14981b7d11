"""What pretraining on other data is worth: the tokens of the fine-tuning data that it stands in for.

    transferred_tokens(finetune_tokens, params) = k * finetune_tokens ^ alpha * params ^ beta

One row a model and a size of the fine-tuning set: how many more tokens of it a model trained from scratch needs to
reach the same loss. The paper counts characters, and the law holds in any unit that both amounts are counted in. Its
coefficients from text to Python are k 1.9e4, alpha 0.18, beta 0.38, for params without embeddings.

>>> import numpy as np
>>> TRANSFER.predict(np.array([2.0, 0.5, 0.25]), np.array([[1e4, 1e8]]))
array([20000.])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import LARGEST_EXPONENT, Coefficient, Input, Role, amplitude
from isoflop.queries.laws.objectives import LeastSquares


def _power(name: str) -> Coefficient:
    return Coefficient(name, Role.EXPONENT, -LARGEST_EXPONENT, LARGEST_EXPONENT)


TRANSFER = Formula(
    name="transfer",
    law="k * finetune_tokens ^ alpha * params ^ beta",  # [token]
    inputs=(Input("finetune_tokens", "token"), Input("params", "count")),
    coefficients=(amplitude("k"), _power("alpha"), _power("beta")),
    target="transferred_tokens",
    unit="token",
    objective=LeastSquares(),
    source="Hernandez et al. 2021 (arXiv:2102.01293), eq. 1.1",
)
