"""The noisy quadratic system: the loss of a run from its parameters, its batch size and its number of steps.

Stochastic gradient descent on a quadratic with a power-law spectrum, of which only the first N directions are
trained. Direction n has curvature Q n^-q, starts with an excess loss P n^-p / 2, and every step adds gradient noise
of variance R n^-r / batch; P, Q, R are called P_1, Q_1, R_1, their values for n = 1. The expected loss after K steps is

    e + P/2 zeta(p, N + 1) + sum_{n <= N} [ P/2 n^-p a_n^2K + gamma/2 R n^-r / batch (1 - a_n^2K) / (2 - gamma Q n^-q) ]

with a_n = 1 - gamma Q n^-q: what the model cannot represent, what it has not learned yet, and noise.

There are two laws. `nqs` is the formula above. `nqs_regularised` lets the learning rate fall as the weights grow, as
in networks with normalization; it is not fitted itself but predicts with the coefficients of a fit of `nqs`, as
published. It is better where the batch size is far from that of the rows, the plain one nearer to them.

Coefficients trade off against each other: only p and q are sharp. Judge a fit by the loss of runs it has not seen,
and do not read e as the entropy of the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from isoflop.lakehouse.errors import FitError
from isoflop.queries.laws.algebra.expression import Array
from isoflop.queries.laws.derivatives import central
from isoflop.queries.laws.law import Coefficient, Cost, Input, Law, Role, as_values
from isoflop.queries.laws.objectives import LeastSquares, Objective
from isoflop.queries.laws.quadratic_sql import plain_macro, regularized_macro
from isoflop.queries.laws.quadratic_sums import Nodes, nodes_for, zeta_tail

LEARNING_RATE = 1.999  # gamma [1]: a convention, since Q absorbs it
WEIGHT_SCALE = 0.02  # standard deviation of weights at the start [1]
CHUNK = 4_000_000  # nodes computed at a time
SOURCE = "Li and Maddison 2026 (arXiv:2605.09154)"
COEFFICIENTS = (
    Coefficient("p", Role.EXPONENT, 1.005, 4.0),
    Coefficient("q", Role.EXPONENT, 0.05, 4.0),
    Coefficient("P_1", Role.AMPLITUDE, 0.0),
    Coefficient("Q_1", Role.AMPLITUDE, 0.0, 0.9999),  # gamma Q < 2, or steps overshoot more each time
    Coefficient("e", Role.FLOOR, 0.0),
    Coefficient("R_1", Role.AMPLITUDE, 0.0),
    Coefficient("r", Role.EXPONENT, 0.05, 6.0),
)


@dataclass(frozen=True)
class NoisyQuadratic(Law):
    """The expected loss of plain stochastic gradient descent on a noisy quadratic.

    Parameters
    ----------
    name : the word a statement uses for it
    coefficients : p, q, P_1, Q_1, e, R_1, r with their domains
    inputs : parameters, sequences per step, steps

    Source: Li and Maddison 2026 (arXiv:2605.09154), with the ranges of starts and the bounds of its fits.
    """

    name: str = "nqs"
    coefficients: tuple[Coefficient, ...] = COEFFICIENTS
    inputs: tuple[Input, ...] = (Input("params", "count"), Input("batch", "sequence/step"), Input("steps", "count"))
    target: str = "loss"
    unit: str = "nat/token"
    source: str = SOURCE
    objective: Objective = field(default_factory=LeastSquares)
    cost: Cost = Cost.COSTLY
    start_ranges: tuple[tuple[str, float, float], ...] = (
        ("p", 1.05, 2.5), ("q", 0.6, 2.5), ("P_1", 1.0, 100.0), ("Q_1", 0.05, 0.95), ("e", 0.1, 1.5),
        ("R_1", 0.01, 100.0), ("r", 0.6, 2.5),
    )  # fmt: skip

    @property
    def formula(self) -> str:
        """How it is written for display."""
        return "e + P_1/2 zeta(p, params + 1) + sum over n <= params of bias(n, steps) + noise(n, steps) / batch"

    def latex(self) -> str:
        """Return the law in LaTeX."""
        return (
            r"e + \frac{P_1}{2} \zeta(p, \mathrm{params} + 1) + \sum_{n \le \mathrm{params}} \left["
            r"\frac{P_1}{2} n^{-p} a_n^{2\,\mathrm{steps}} + \frac{\gamma R_1 n^{-r}}{2\,\mathrm{batch}}"
            r" \frac{1 - a_n^{2\,\mathrm{steps}}}{2 - \gamma Q_1 n^{-q}}\right],"
            r"\quad a_n = 1 - \gamma Q_1 n^{-q}, \quad \gamma = 1.999"
        )

    def macro(self, name: str, coefficients: Mapping[str, float] | Sequence[float] | Array) -> str:
        """Return the statement that creates the fitted law as an SQL macro of params, batch and steps.

        Parameters
        ----------
        name : of the macro
        coefficients : by name, or seven numbers in the law's order
        """
        return plain_macro(name, as_values(self, coefficients), LEARNING_RATE)

    def predict(self, coefficients: Array, inputs: Array) -> Array:
        """Return the expected loss.

        Parameters
        ----------
        coefficients : (..., 7) float array: p, q, P_1, Q_1, e, R_1, r
        inputs : (R, 3) float array: params [count], batch [sequence/step], steps [count]

        Returns
        -------
        (..., R) float array, nat/token
        """
        return self._in_chunks(coefficients, inputs, slopes=False)[0]

    def jacobian(self, coefficients: Array, inputs: Array) -> Array:
        """Return the derivatives (..., 7, R) of the loss by the coefficients."""
        return self._in_chunks(coefficients, inputs, slopes=True)[1]

    def value_and_slopes(self, coefficients: Array, inputs: Array) -> tuple[Array, Array]:
        """Return the loss (..., R) and its derivatives (..., 7, R) from one pass over the sums."""
        return self._in_chunks(coefficients, inputs, slopes=True)

    def _in_chunks(self, coefficients: Array, inputs: Array, *, slopes: bool) -> tuple[Array, Array]:
        coefficients, inputs = checked(self.name, coefficients, inputs)
        flat = coefficients.reshape(-1, 7)
        nodes = nodes_for(inputs[:, 0])
        size = max(1, CHUNK // max(nodes.logs.size, 1))
        with np.errstate(all="ignore"):
            parts = [
                _loss(flat[first : first + size], inputs, nodes, slopes=slopes) for first in range(0, len(flat), size)
            ]
        value = np.concatenate([part[0] for part in parts]) if parts else np.empty((0, len(inputs)))
        bent = np.concatenate([part[1] for part in parts]) if parts else np.empty((0, 7, len(inputs)))
        return (
            value.reshape(*coefficients.shape[:-1], len(inputs)),
            bent.reshape(*coefficients.shape[:-1], 7, len(inputs)) if slopes else bent,
        )


@dataclass(frozen=True)
class RegularizedNoisyQuadratic(NoisyQuadratic):
    """The noisy quadratic whose learning rate falls as its weights grow.

    Parameters
    ----------
    surrogate : the law whose fit gives the coefficients

    Source: Li and Maddison 2026 (arXiv:2605.09154), learning-rate adaptation.
    """

    name: str = "nqs_regularised"
    surrogate: Law | None = field(default_factory=NoisyQuadratic)

    @property
    def formula(self) -> str:
        """How it is written for display."""
        return f"{super().formula}, with a learning rate that falls as weights grow"

    def macro(self, name: str, coefficients: Mapping[str, float] | Sequence[float] | Array) -> str:
        """Return the statement that creates the fitted law as an SQL macro, which takes the same intervals."""
        return regularized_macro(name, as_values(self, coefficients), LEARNING_RATE, WEIGHT_SCALE)

    def predict(self, coefficients: Array, inputs: Array) -> Array:
        """Return the expected loss (..., R) for coefficients (..., 7) and inputs (R, 3)."""
        coefficients, inputs = checked(self.name, coefficients, inputs)
        flat = coefficients.reshape(-1, 7)
        nodes = nodes_for(inputs[:, 0])
        found = np.empty((len(flat), len(inputs)))
        size = max(1, CHUNK // max(nodes.logs.size, 1))
        with np.errstate(all="ignore"):
            for first in range(0, len(flat), size):
                chunk = slice(first, first + size)
                found[chunk] = _regularized_loss(flat[chunk], inputs, nodes)
        return found.reshape(*coefficients.shape[:-1], len(inputs))

    def jacobian(self, coefficients: Array, inputs: Array) -> Array:
        """Return the derivatives (..., 7, R) by central differences; the learning rate has kinks."""
        coefficients, inputs = checked(self.name, coefficients, inputs)
        steps = 1e-6 * np.maximum(np.abs(coefficients), 1e-3)
        return central(lambda moved: self.predict(moved, inputs), coefficients, steps)

    def value_and_slopes(self, coefficients: Array, inputs: Array) -> tuple[Array, Array]:
        """Return the loss (..., R) and its derivatives (..., 7, R)."""
        return self.predict(coefficients, inputs), self.jacobian(coefficients, inputs)


def checked(name: str, coefficients: Array, inputs: Array) -> tuple[Array, Array]:
    """Return both as float arrays.

    Raises
    ------
    FitError : if they do not have seven coefficients and three inputs
    """
    coefficients = np.asarray(coefficients, dtype=np.float64)
    inputs = np.asarray(inputs, dtype=np.float64)
    if inputs.ndim != 2 or inputs.shape[1] != 3:
        raise FitError(f"inputs of {name} have shape {inputs.shape}, expected (rows, 3) for params, batch, steps")
    if coefficients.shape[-1:] != (7,):
        raise FitError(f"coefficients of {name} have shape {coefficients.shape}, expected (..., 7)")
    return coefficients, inputs


def _columns(coefficients: Array) -> tuple[Array, ...]:
    """The seven coefficients, each (B, 1, 1)."""
    return tuple(coefficients[:, k, None, None] for k in range(7))


def _log_contraction(pull: Array) -> Array:
    """Log of |1 - gamma lambda| without loss of digits for small curvatures."""
    return np.where(pull < 0.5, np.log1p(-np.minimum(pull, 0.5)), np.log(np.abs(1.0 - pull)))


def _loss(coefficients: Array, inputs: Array, nodes: Nodes, *, slopes: bool) -> tuple[Array, Array]:
    """Loss (B, R) and, if asked for, its derivatives (B, 7, R)."""
    p, q, P, Q, e, R, r = _columns(coefficients)
    params, batch, steps = (inputs[:, k, None] for k in range(3))
    log_n, weights = nodes.logs, nodes.weights
    pull = LEARNING_RATE * Q * np.exp(-q * log_n)  # (B, R, J)
    log_a = _log_contraction(pull)
    left = 2.0 * steps * log_a
    remains = np.exp(left)
    bias = weights * (0.5 * P) * np.exp(-p * log_n) * remains
    gain = 0.5 * LEARNING_RATE * R / batch * np.exp(-r * log_n) * weights / (2.0 - pull)
    noise = -gain * np.expm1(left)
    tail, bent_tail = zeta_tail(p[:, 0], params[:, 0] + 1.0)
    half = 0.5 * P[:, 0]
    value = e[:, 0] + half * tail + bias.sum(axis=2) + noise.sum(axis=2)
    if not slopes:
        return value, np.empty((len(coefficients), 7, len(inputs)))
    # derivative by gamma lambda, times gamma lambda: what moving Q by a factor does
    sloped = np.sign(1.0 - pull) * np.exp((2.0 * steps - 1.0) * log_a) * (2.0 * steps * pull)  # -d remains
    with_bias = -weights * (0.5 * P) * np.exp(-p * log_n) * sloped
    moved = with_bias + gain * sloped + noise * pull / (2.0 - pull)
    found = np.stack(
        [
            half * bent_tail - (bias * log_n).sum(axis=2),
            -(moved * log_n).sum(axis=2),
            0.5 * tail + bias.sum(axis=2) / P[:, 0],
            moved.sum(axis=2) / Q[:, 0],
            np.ones_like(value),
            noise.sum(axis=2) / R[:, 0],
            -(noise * log_n).sum(axis=2),
        ],
        axis=1,
    )
    return value, found


def _regularized_loss(coefficients: Array, inputs: Array, nodes: Nodes) -> Array:
    """Loss (B, R), its steps taken in intervals between which the learning rate is set anew."""
    p, q, P, Q, e, R, r = _columns(coefficients)
    params, batch, steps = (inputs[:, k, None] for k in range(3))
    log_n = nodes.logs
    interval = np.where(steps > 10, np.maximum(steps // 100, np.minimum(1000, steps // 10)), 1.0)
    curvature = Q * np.exp(-q * log_n)  # (B, R, J)
    excess = P * np.exp(-p * log_n) / curvature  # of a squared weight
    noise = R * np.exp(-r * log_n) / batch
    shape = np.broadcast_shapes(curvature.shape, noise.shape)
    log_left, variance = np.zeros(shape), np.zeros(shape)  # log sqrt(b_n), v_n without the noise's size
    rate = np.full((*shape[:2], 1), LEARNING_RATE)
    at_start = WEIGHT_SCALE**2 * params
    done = np.zeros_like(steps)
    while (done < steps).any():
        taken = np.minimum(interval, steps - done)
        pull = rate * curvature
        log_a = _log_contraction(pull) * taken
        spent = -np.expm1(2.0 * log_a)
        variance = variance * (1.0 - spent) + rate * spent / (curvature * (2.0 - pull))
        log_left = log_left + log_a
        done = done + taken
        left = np.exp(log_left)
        grown = nodes.open_weights * (excess * (1.0 - left) ** 2 + noise * variance)
        norm = np.maximum(grown.sum(axis=2, keepdims=True), 0.0)
        rate = np.minimum(rate, LEARNING_RATE * at_start / (at_start + norm))
    rest = 0.5 * curvature * (excess * np.exp(2.0 * log_left) + noise * variance)
    tail, _ = zeta_tail(p[:, 0], params[:, 0] + 1.0)
    return np.asarray(e[:, 0] + 0.5 * P[:, 0] * tail + (nodes.weights * rest).sum(axis=2))


NQS = NoisyQuadratic()
NQS_REGULARIZED = RegularizedNoisyQuadratic()
