r"""A power between two bounds, form M4: chance at one end, a floor at the other.

    (loss - E) / (E_0 - loss) ^ gamma = A / x ^ alpha

The curve is given by an equation, not by a formula: near the floor E it is the law `power`, near the upper bound E_0
it leaves the bound as a power again. With gamma = 0, a curve without the factor, it is `power` up to E_0 and E_0 above.
In logits u of the way between the bounds both sides are close to straight lines, so Newton's method finds the loss to
rounding in a few steps; the SQL macro takes the same steps.

It is fitted with `S = A (E_0 - E)^gamma` in the place of A. Where the rows lie far below E_0 they determine S, alpha
and `gamma / (E_0 - E)`, which A mixes over many orders of magnitude.

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
from isoflop.queries.laws.algebra.expression import Array, Expression, Symbol
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
FARTHEST = 300.0  # logit whose exponential has a square that is a number


@dataclass(frozen=True)
class BoundedCurve(Law):
    """The law in coefficients that rows tell apart: `(loss - E) / ((E_0 - loss) / (E_0 - E)) ^ gamma = S / x ^ alpha`.

    S is the amplitude of the power that the curve follows far below its upper bound, wherever that bound lies.

    Parameters
    ----------
    inputs : one
    coefficients : E, E_0, S, alpha and gamma with their domains
    """

    inputs: tuple[Input, ...] = (Input("x", "any"),)
    coefficients: tuple[Coefficient, ...] = (
        floor("E"),
        Coefficient("E_0", Role.FREE, 0.0),
        amplitude("S"),
        exponent("alpha"),
        Coefficient("gamma", Role.AMPLITUDE, 0.0, HIGHEST),
    )
    name: str = "bounded_curve"
    has_curvatures = True

    def predict(self, coefficients: Array, inputs: Array) -> Array:
        """Return the loss (..., R) for coefficients (..., 5) and inputs (R, 1); nan unless E < E_0."""
        low, high = coefficients[..., 0, None], coefficients[..., 1, None]
        with np.errstate(all="ignore"):
            return np.asarray(low + (high - low) / (1.0 + np.exp(-_logits(coefficients, inputs))))

    def value_and_slopes(self, coefficients: Array, inputs: Array) -> tuple[Array, Array]:
        """Return the loss (..., R) and its derivatives (..., 5, R), by the derivatives of the equation it solves."""
        loss, by_loss, parts = self._equation(coefficients, inputs)[:3]
        return loss, np.stack([-part / by_loss for part in parts], axis=-2)

    def jacobian(self, coefficients: Array, inputs: Array) -> Array:
        """Return the derivatives (..., 5, R) of the loss."""
        return self.value_and_slopes(coefficients, inputs)[1]

    def curvatures(self, coefficients: Array, inputs: Array) -> tuple[Array, Array, Array]:
        """Return the loss (B, R), first (B, 5, R) and second derivatives (B, 15, R), upper triangle by rows.

        The equation is F(loss, c) = 0, so the loss y bends by -(F_ij + F_iy y_j + F_jy y_i + F_yy y_i y_j) / F_y.
        """
        loss, by_loss, parts, near, far = self._equation(coefficients, inputs)
        low, high, factor, _, gamma = (coefficients[..., k, None] for k in range(5))
        with np.errstate(all="ignore"):
            slopes = np.stack([-part / by_loss for part in parts], axis=-2)
            pull, inverse = np.maximum(gamma, LEAST) * far, 1.0 / (high - low)
            twice = pull * far - near**2  # F_yy
            once = {0: near**2, 1: -pull * far, 4: far}  # F_iy
            own = {
                (0, 0): -(near**2) - gamma * inverse**2,
                (0, 1): gamma * inverse**2,
                (0, 4): -inverse,
                (1, 1): pull * far - gamma * inverse**2,
                (1, 4): inverse - far,
                (2, 2): 1.0 / factor**2,
            }  # F_ij
            bends = []
            for i in range(5):
                for j in range(i, 5):
                    bend = own.get((i, j), 0.0) + once.get(i, 0.0) * slopes[:, j] + once.get(j, 0.0) * slopes[:, i]
                    bends.append(-(bend + twice * slopes[:, i] * slopes[:, j]) / by_loss)
            return loss, slopes, np.stack(bends, axis=1)

    def degrees(self, dimension: str | None) -> dict[str, Expression] | None:
        """Return how each coefficient grows with the unit of x, or of the loss with None."""
        if dimension is None:
            return {"E": ONE, "E_0": ONE, "S": ONE}
        return {"S": Symbol("alpha")} if dimension == self.inputs[0].name else None

    def _equation(self, coefficients: Array, inputs: Array) -> tuple[Array, Array, tuple[Array, ...], Array, Array]:
        """The loss (..., R); F_y, the five F_i, 1 / (loss - E) and 1 / (E_0 - loss), each (..., R).

        F is ln(loss - E) - gamma ln((E_0 - loss) / (E_0 - E)) - ln(S) + alpha ln(x), which is zero.
        """
        low, high, factor, _, gamma = (coefficients[..., k, None] for k in range(5))
        with np.errstate(all="ignore"):
            logits = np.clip(_logits(coefficients, inputs), -FARTHEST, FARTHEST)
            distance = high - low
            above = distance / (1.0 + np.exp(-logits))
            near, far = 1.0 / above, (1.0 + np.exp(logits)) / distance
            pull = np.maximum(gamma, LEAST) * far
            parts = (
                -near - gamma / distance,
                gamma / distance - pull,
                -1.0 / factor + 0.0 * logits,
                np.log(inputs[:, 0]) + 0.0 * logits,
                np.maximum(logits, 0.0) + np.log1p(np.exp(-np.abs(logits))),
            )
            return np.asarray(low + above), near + pull, parts, near, far


def _logits(coefficients: Array, inputs: Array) -> Array:
    """Log odds (..., R) of the way from E to E_0 at which the loss lies, for the coefficients of `BoundedCurve`."""
    low, high, factor, alpha, gamma = (coefficients[..., k, None] for k in range(5))
    distance = np.where(high > low, high - low, np.nan)
    level = np.log(factor) - np.log(distance) - alpha * np.log(inputs[:, 0])
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

    @property
    def charted(self) -> BoundedCurve | None:
        """The law with `S = A (E_0 - E)^gamma` in the place of A, or None where A has a bound or a fixed value."""
        factor = self.coefficients[2]
        if factor.fixed is not None or factor.lower > 0 or factor.upper < np.inf:
            return None
        low, high, _, *others = self.coefficients
        return BoundedCurve(inputs=self.inputs, coefficients=(low, high, amplitude("S"), *others))

    def from_chart(self, values: Array) -> Array:
        """Return the law's coefficients (..., 5) for those (..., 5) of `charted`."""
        return self._exchanged(values, -1.0)

    def to_chart(self, values: Array) -> Array:
        """Return the coefficients (..., 5) of `charted` for the law's (..., 5)."""
        return self._exchanged(values, 1.0)

    def predict(self, coefficients: Array, inputs: Array) -> Array:
        """Return the loss (..., R) for coefficients (..., 5) and inputs (R, 1); nan unless E < E_0.

        Raises
        ------
        FitError : if the shapes are others
        """
        coefficients, inputs = self._checked(coefficients, inputs)
        return _CURVE.predict(self.to_chart(coefficients), inputs)

    def jacobian(self, coefficients: Array, inputs: Array) -> Array:
        """Return the derivatives (..., 5, R) of the loss."""
        return self.value_and_slopes(coefficients, inputs)[1]

    def value_and_slopes(self, coefficients: Array, inputs: Array) -> tuple[Array, Array]:
        """Return the loss (..., R) and its derivatives (..., 5, R), for which the equation is solved once."""
        coefficients, inputs = self._checked(coefficients, inputs)
        low, high, factor, _, gamma = (coefficients[..., k, None] for k in range(5))
        scaled = self.to_chart(coefficients)
        loss, slopes = _CURVE.value_and_slopes(scaled, inputs)
        with np.errstate(all="ignore"):
            by_log = slopes[..., 2, :] * scaled[..., 2, None]
            slopes[..., 0, :] -= by_log * gamma / (high - low)
            slopes[..., 1, :] += by_log * gamma / (high - low)
            slopes[..., 2, :] = by_log / factor
            slopes[..., 4, :] += by_log * np.log(high - low)
        return loss, slopes

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

    def _exchanged(self, values: Array, sign: float) -> Array:
        """Coefficients with the third times a power of the distance of the bounds."""
        found = np.array(values, dtype=np.float64)
        with np.errstate(all="ignore"):
            distance = np.where(found[..., 1] > found[..., 0], found[..., 1] - found[..., 0], np.nan)
            found[..., 2] *= distance ** (sign * found[..., 4])
        return found

    def _checked(self, coefficients: Array, inputs: Array) -> tuple[Array, Array]:
        coefficients, inputs = np.asarray(coefficients, dtype=np.float64), np.asarray(inputs, dtype=np.float64)
        if inputs.ndim != 2 or inputs.shape[1] != 1 or coefficients.shape[-1:] != (5,):
            raise FitError(
                f"inputs and coefficients have shapes {inputs.shape} and {coefficients.shape}, "
                f"expected (rows, 1) and (..., 5) for {self.name}"
            )
        return coefficients, inputs


_CURVE = BoundedCurve()
BOUNDED_POWER = BoundedPower()
