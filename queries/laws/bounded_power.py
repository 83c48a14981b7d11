r"""A power between two bounds, form M4: chance at one end, a floor at the other.

    (loss - E) / (E_0 - loss) ^ gamma = A / x ^ alpha

With gamma = 0 it is that law exactly, up to E_0. The curve is given by an equation, not by a formula: near the floor E it is the law `power`, near the upper bound E_0
it leaves the bound as a power again. In logits u of the way between the bounds both sides are close to straight
lines, so Newton's method finds the loss to rounding in a few steps; the SQL macro takes the same steps.

>>> import numpy as np
>>> half_way = BOUNDED_POWER.predict(np.array([1.0, 3.0, 4.0, 0.5, 1.0]), np.array([[16.0]]))
>>> half_way, (half_way - 1.0) / (3.0 - half_way) * 16.0**0.5
(array([2.]), array([4.]))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from isoflop.lakehouse.errors import FitError
from isoflop.queries.laws.algebra.expression import Array, Call, Expression, Symbol
from isoflop.queries.laws.algebra.scaling import ONE
from isoflop.queries.laws.law import Coefficient, Input, Law, Role, amplitude, exponent, floor
from isoflop.queries.laws.objectives import Huber, Objective

STEPS = 40  # of Newton's method, which stops where nothing changes any more
SQL_STEPS = 12  # were enough for every gamma of its domain
HIGHEST = 10.0  # gamma [1]
LOWEST_START = 0.1  # gamma [1] from which a search starts; below it the bound is a corner
WITHOUT = 0.125  # share of the starts [1] without the factor, which is a curve of its own
LEAST = 1e-60  # gamma [1] that stands for 0: the loss is at its bound where the power lies above it
MOST = 1e300  # odds that are still a number
FARTHEST = 600.0  # logit whose exponential is still a number, with room for a product


@dataclass(frozen=True)
class BoundedPower(Law):
    """The computed law M4.

    Source: Alabdulmohsin et al. 2022 (arXiv:2209.06640), form M4.
    """

    name: str = "bounded_power"
    formula: str = "(loss - E) / (E_0 - loss) ^ gamma = A / x ^ alpha"
    inputs: tuple[Input, ...] = (Input("x", "any"),)
    target: str = "loss"
    unit: str = "nat/token"
    coefficients: tuple[Coefficient, ...] = (
        floor("E"),
        Coefficient("E_0", Role.FREE, 0.0),
        amplitude("A"),
        exponent("alpha"),
        Coefficient("gamma", Role.AMPLITUDE, 0.0, HIGHEST),
    )
    objective: Objective = field(default_factory=Huber)
    source: str = "Alabdulmohsin et al. 2022 (arXiv:2209.06640), form M4"

    def predict(self, coefficients: Array, inputs: Array) -> Array:
        """Return the loss (..., R) for coefficients (..., 5) and inputs (R, 1); nan unless E < E_0.

        Raises
        ------
        FitError : if the shapes are others
        """
        coefficients, inputs = self._checked(coefficients, inputs)
        low, high = coefficients[..., 0, None], coefficients[..., 1, None]
        with np.errstate(all="ignore"):
            return np.asarray(low + (high - low) / (1.0 + np.exp(-self._logits(coefficients, inputs))))

    def jacobian(self, coefficients: Array, inputs: Array) -> Array:
        """Return the derivatives (..., 5, R) of the loss, by the derivatives of the equation it solves."""
        return self.value_and_slopes(coefficients, inputs)[1]

    def value_and_slopes(self, coefficients: Array, inputs: Array) -> tuple[Array, Array]:
        """Return the loss (..., R) and its derivatives (..., 5, R), for which the equation is solved once."""
        coefficients, inputs = self._checked(coefficients, inputs)
        low, high, factor, _, gamma = (coefficients[..., k, None] for k in range(5))
        with np.errstate(all="ignore"):
            logits = self._logits(coefficients, inputs)
            above = (high - low) / (1.0 + np.exp(-logits))  # loss - E
            below = (high - low) / (1.0 + np.exp(np.minimum(logits, FARTHEST)))  # E_0 - loss
            pull = np.maximum(gamma, LEAST) / below
            by_loss = 1.0 / above + pull
            parts = (
                1.0 / above,
                pull,
                1.0 / factor + 0.0 * logits,
                -np.log(inputs[:, 0]) + 0.0 * logits,
                np.log(below),
            )
            return np.asarray(low + above), np.stack([part / by_loss for part in parts], axis=-2)

    def starts(self, inputs: Array, values: Array, count: int, generator: np.random.Generator) -> Array:
        """Return coefficients (count, 5) to descend from: bounds around the values, then a line in logarithms.

        Parameters
        ----------
        inputs : (R, 1) positive
        values : (R,) positive
        count : number of starts
        generator : for the bounds and gamma
        """
        shares = generator.random((count, 4))
        low = values.min() * (1.0 - 10.0 ** (-4.0 * shares[:, 0]))[:, None]
        high = values.max() * (1.0 + 10.0 ** (4.0 * shares[:, 1] - 3.0))[:, None]
        gamma = LOWEST_START * (HIGHEST / LOWEST_START) ** shares[:, 2]
        gamma[shares[:, 3] < WITHOUT] = 0.0
        logs = np.log(inputs[:, 0])
        left = np.log(values - low) - gamma[:, None] * np.log(high - values)  # (count, R)
        spread = logs - logs.mean()
        slope = -(left @ spread) / max(float(spread @ spread), 1e-300)
        alpha = np.clip(slope, 0.01, 5.0)
        return np.column_stack([low, high, np.exp(left.mean(axis=1) + alpha * logs.mean()), alpha, gamma])

    def degrees(self, dimension: str | None) -> dict[str, Expression] | None:
        """Return how each coefficient grows with the unit of x, or of the loss with None."""
        if dimension is None:
            return {"E": ONE, "E_0": ONE, "A": Call("subtract", (ONE, Symbol("gamma")))}
        return {"A": Symbol("alpha")} if dimension == self.inputs[0].name else None

    def latex(self) -> str:
        """Return the law's equation in LaTeX."""
        return (
            r"\frac{\mathrm{loss} - E}{\left(E_{0} - \mathrm{loss}\right)^{\gamma}} = "
            r"\frac{A}{\mathrm{x}^{\alpha}}"
        )

    def sql(self, coefficients: Sequence[str], inputs: Sequence[str]) -> str:
        """Return SQL that computes the law.

        Parameters
        ----------
        coefficients : five texts, SQL of type DOUBLE for each coefficient
        inputs : one text, SQL of type DOUBLE for x
        """
        low, high, factor, alpha, gamma = coefficients
        height = f"({high} - {low})"
        start = f"(ln({factor}) - (1e0 - {gamma}) * ln({height}) - {alpha} * ln({inputs[0]}))"
        gamma = f"greatest({gamma}, {LEAST})"
        # A list of one stands for a name: what its only lambda calls so is computed once.
        tail = "ln(1e0 + exp(-abs(u)))"
        miss = f"({gamma} * (greatest(u, 0e0) + {tail}) - (greatest(-u, 0e0) + {tail}) - level)"
        slope = f"(({gamma} * exp(least(u, 0e0)) + exp(least(-u, 0e0))) / (1e0 + exp(-abs(u))))"
        inverse = f"greatest(-ln({gamma}), 0e0)"
        balanced = f"({inverse} - ln(greatest({inverse}, 1e0)))"
        without = f"(-ln(greatest(exp(least(-level, {FARTHEST}e0)) - 1e0, {1 / MOST})))"
        first = (
            f"CASE WHEN {gamma} >= 1e0 THEN level / CASE WHEN level < 0e0 THEN 1e0 ELSE {gamma} END "
            f"WHEN level < 0e0 THEN least({without}, {balanced}) ELSE greatest(level / {gamma}, {balanced}) END"
        )
        steps = f"list_reduce(list_resize([{first}], {SQL_STEPS + 1}, 0e0), lambda u, step: u - {miss} / {slope})"
        logits = f"list_transform([{start}], lambda level: {steps})[1]"
        return f"({low} + {height} / (1e0 + exp(-greatest({logits}, -7e2))))"

    def _logits(self, coefficients: Array, inputs: Array) -> Array:
        """Log odds (..., R) of the way from E to E_0 at which the loss lies."""
        low, high, factor, alpha, gamma = (coefficients[..., k, None] for k in range(5))
        distance = np.where(high > low, high - low, np.nan)
        level = np.log(factor) - (1.0 - gamma) * np.log(distance) - alpha * np.log(inputs[:, 0])
        gamma = np.maximum(gamma, LEAST)
        logits = _first_logits(level, gamma)
        for _ in range(STEPS):
            tail = np.log1p(np.exp(-np.abs(logits)))
            miss = gamma * (np.maximum(logits, 0.0) + tail) - (np.maximum(-logits, 0.0) + tail) - level
            slope = (gamma * np.exp(np.minimum(logits, 0.0)) + np.exp(np.minimum(-logits, 0.0))) * np.exp(-tail)
            step = miss / slope
            logits = logits - step
            if not (np.abs(step) > 1e-14 * (1.0 + np.abs(logits))).any():
                break
        return np.asarray(logits)

    def _checked(self, coefficients: Array, inputs: Array) -> tuple[Array, Array]:
        coefficients, inputs = np.asarray(coefficients, dtype=np.float64), np.asarray(inputs, dtype=np.float64)
        if inputs.ndim != 2 or inputs.shape[1] != 1 or coefficients.shape[-1:] != (5,):
            raise FitError(
                f"inputs and coefficients have shapes {inputs.shape} and {coefficients.shape}, "
                f"expected (rows, 1) and (..., 5) for {self.name}"
            )
        return coefficients, inputs


def _first_logits(level: Array, gamma: Array) -> Array:
    """Logits (..., R) near the solution for levels (..., R), from a side on which Newton's method does not swing.

    With u the logit and gamma above 1 the equation is convex in u, and a line through its far ends lies right of the
    solution. Below 1 it is concave: without the factor u solves it in closed form, and at level 0 it is Lambert's.
    """
    inverse = np.maximum(-np.log(gamma), 0.0)
    balanced = inverse - np.log(np.maximum(inverse, 1.0))
    without = -np.log(np.maximum(np.expm1(np.minimum(-level, FARTHEST)), 1.0 / MOST))
    concave = np.where(level < 0, np.minimum(without, balanced), np.maximum(level / gamma, balanced))
    return np.asarray(np.where(gamma < 1, concave, level / np.where(level < 0, 1.0, gamma)))


BOUNDED_POWER = BoundedPower()
