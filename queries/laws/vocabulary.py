"""The loss by the vocabulary: its parameters are a third term beside the other parameters and the training text.

    loss = -E + A_1 / non_vocab_params ^ alpha_1 + A_2 / vocab_params ^ alpha_2 + B / characters ^ beta

Losses of models with different vocabularies are compared as the paper does: per token, relative to a model that knows
the frequencies of the tokens only. That loss is negative, so the constant has a minus before it, may have any sign,
and residuals are differences. The text is counted in characters because tokens depend on the vocabulary;
`vocab_params` is the vocabulary times the width.

The paper fits Huber's penalty on differences, `objective = 'huber_plain'`, with alpha_1 equal to beta.

>>> import numpy as np
>>> VOCABULARY.predict(np.array([5.0, 1.0, 2.0, 3.0, 0.5, 0.5, 0.5]), np.array([[16.0, 4.0, 9.0]]))
array([-2.75])
"""

from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Input, amplitude, exponent, free
from isoflop.queries.laws.objectives import PlainSquares

VOCABULARY = Formula(
    name="vocabulary",
    law="-E + A_1 / non_vocab_params ^ alpha_1 + A_2 / vocab_params ^ alpha_2 + B / characters ^ beta",  # [nat/token]
    inputs=(Input("non_vocab_params", "count"), Input("vocab_params", "count"), Input("characters", "count")),
    coefficients=(
        free("E"),
        amplitude("A_1"),
        amplitude("A_2"),
        amplitude("B"),
        exponent("alpha_1"),
        exponent("alpha_2"),
        exponent("beta"),
    ),
    target="loss",
    objective=PlainSquares(),
    source="Tao et al. 2024 (arXiv:2407.13623), parametric fit of the loss, approach 3",
)
