"""A law with other coefficients at every point: what draws that each go their own way are predicted with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.laws.algebra.expression import evaluate
from isoflop.queries.laws.law import Law, coefficient_names, input_names

Array = NDArray[np.float64]


def predict_each(law: Law, coefficients: Array, inputs: Array) -> Array:
    """Return predictions (N, R) for coefficients (N, K), each with R inputs of its own (N, R, P).

    Where `Law.predict` crosses all coefficients with all inputs, this pairs them; nan or inf where the law gives
    nothing.

    Parameters
    ----------
    law : with K coefficients and P inputs
    coefficients : (N, K) float array, in the law's order
    inputs : (N, R, P) float array, in the order of the law's inputs

    Example
    -------
    >>> from isoflop.queries.laws.power import POWER
    >>> predict_each(POWER, np.array([[1.0, 8.0, 0.5], [2.0, 8.0, 0.5]]), np.array([[[4.0]], [[16.0]]]))
    array([[5.],
           [4.]])
    """
    shape = inputs.shape[:-1]
    expression = law.expression
    if expression is not None:
        values: dict[str, Array | float] = {name: inputs[..., p] for p, name in enumerate(input_names(law))}
        values |= {name: coefficients[:, k, None] for k, name in enumerate(coefficient_names(law))}
        return np.array(np.broadcast_to(evaluate(expression, values), shape))
    found = np.empty(shape)
    distinct, which = np.unique(coefficients, axis=0, return_inverse=True)
    with np.errstate(all="ignore"):
        for position, draw in enumerate(distinct):
            own = np.flatnonzero(which.reshape(-1) == position)
            found[own] = law.predict(draw, inputs[own].reshape(-1, inputs.shape[-1])).reshape(len(own), shape[-1])
    return found
