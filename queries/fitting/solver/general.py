"""Any law, on log, relative or plain residuals: the path for formulas that are not sums of powers.

Inputs and target are divided by their geometric means wherever the law's coefficients can absorb it, positive
coefficients are logarithms, exponents are themselves. First and second derivatives come from the formula by
SymPy; a computed law gives first derivatives and no second ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.solver.asked import ask
from isoflop.queries.fitting.solver.drawn import plausible
from isoflop.queries.fitting.solver.model import DEAD, HUGE, Array
from isoflop.queries.fitting.solver.nonnegative import MOST_UNKNOWNS, solve_nonnegative
from isoflop.queries.laws.algebra.expression import Expression, evaluate
from isoflop.queries.laws.law import Coefficient, Law, Role, input_names
from isoflop.queries.laws.objectives import Link

Pairs: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp]]
FEWEST_SCREENED, ROWS_EACH = 60, 10  # rows that choose among starts: at least so many, and so many a coefficient
POINTS = 512  # Latin-hypercube points over the coefficients that are not linear


@dataclass(frozen=True)
class State:
    """Values and derivatives at one theta, ready for `expand`."""

    slopes: Array | None
    """(B, K, R) derivatives of the predictions in units of the residual"""
    curvatures: Array | None
    """(B, K(K+1)/2, R) second derivatives, upper triangle by rows"""


class GeneralModel:
    """Any law on a set of rows; implements `Model`.

    Parameters
    ----------
    law : with its coefficients' domains and fixed values
    coefficients : of the law, fixed ones included
    inputs : (R, P) array
    values : (R,) measured values, positive without a unit
    link : what a residual is
    chart_of : the law whose chart `law` is, if it is one; coefficients are then that law's
    unit : in which residuals are plain differences, of values of any sign; None for those of the link
    """

    def __init__(
        self,
        law: Law,
        coefficients: tuple[Coefficient, ...],
        inputs: Array,
        values: Array,
        link: Link,
        chart_of: Law | None = None,
        unit: float | None = None,
    ) -> None:
        self.law = law
        self.coefficients = coefficients
        self.link = link
        self.chart_of = chart_of
        self.unit = unit
        self.is_difference = link is Link.LOG or unit is not None
        self.free = tuple(k for k, coefficient in enumerate(coefficients) if coefficient.fixed is None)
        self.screened_rows = max(FEWEST_SCREENED, ROWS_EACH * len(self.free))
        self.names = tuple((chart_of.coefficients if chart_of else coefficients)[k].name for k in self.free)
        self.has_curvature = law.has_curvatures
        self.is_costly = law.is_costly
        self.is_compiled = False
        self.proposes_starts = type(chart_of or law).starts is not Law.starts
        self._measured = np.asarray(inputs, dtype=np.float64), np.asarray(values, dtype=np.float64)
        self._set_units(inputs, values)
        is_sized = all(
            one.name in self._absorbing or not one.positive or one.is_setting or one.unit == "1" for one in law.inputs
        )
        self.is_unitless = is_sized and None in self._absorbing and not law.start_ranges
        self.is_log = np.array([_in_logs(coefficients[k]) for k in self.free])
        terms = [coefficients[k].role in (Role.AMPLITUDE, Role.FLOOR) and coefficients[k].lower <= 0 for k in self.free]
        self.has_zero_face = self.is_log & np.array(terms, dtype=bool)
        bounds = np.array([self._bounds(coefficients[k]) for k in self.free]).reshape(-1, 2)
        self.lower, self.upper = bounds[:, 0], bounds[:, 1]
        pairs = np.triu_indices(len(self.free))
        self._pairs = pairs
        self._pair_of_all = pairs_among(len(coefficients), self.free)

    def _set_units(self, inputs: Array, values: Array) -> None:
        """Divide by geometric means what the coefficients can absorb, and remember how they do."""
        self.unit_degrees: list[tuple[float, dict[str, Expression]]] = []
        self._absorbing: set[str | None] = set()
        self.value_unit = 1.0
        scaled = np.array(inputs, dtype=np.float64)
        for p, name in enumerate(input_names(self.law)):
            found = self._absorbed(self.law.degrees(name))
            if found is not None:
                nonzero = np.abs(inputs[:, p][inputs[:, p] != 0])
                unit = math.exp(float(np.mean(np.log(nonzero)))) if nonzero.size else 1.0
                scaled[:, p] /= unit
                self.unit_degrees.append((math.log(unit), found))
                self._absorbing.add(name)
        found = self._absorbed(self.law.degrees(None))
        if found is not None:
            self.value_unit = self.unit or math.exp(float(np.mean(np.log(np.abs(values)))))
            self.unit_degrees.append((math.log(self.value_unit), found))
            self._absorbing.add(None)
        self.inputs = scaled

    def _absorbed(self, found: dict[str, Expression] | None) -> dict[str, Expression] | None:
        """The degrees, if no coefficient that would have to move is fixed or bounded away from 0 and infinity."""
        if found is None:
            return None
        for coefficient in self.coefficients:
            pinned = coefficient.fixed is not None or not {coefficient.lower, coefficient.upper} <= {
                -math.inf,
                0.0,
                math.inf,
            }
            if coefficient.name in found and pinned:
                return None
        return found

    def _bounds(self, coefficient: Coefficient) -> tuple[float, float]:
        """The box of one coordinate."""
        if not _in_logs(coefficient):
            limit = 50.0 if coefficient.role is Role.EXPONENT else math.inf
            return max(coefficient.lower, -limit), min(coefficient.upper, limit)
        wide = 160.0
        lower = math.log(coefficient.lower) if coefficient.lower > 0 else -wide
        upper = math.log(coefficient.upper) if coefficient.upper < math.inf else wide
        if coefficient.role in (Role.AMPLITUDE, Role.FLOOR) and self.value_unit != 1.0:
            lower = lower if coefficient.lower > 0 else DEAD
            upper = upper if coefficient.upper < math.inf else HUGE
        return min(lower, upper - wide) if coefficient.lower <= 0 else lower, upper

    def targets(self, values: Array) -> Array:
        """Return log values, or values, in the unit of the model."""
        if self.unit is not None:
            return np.asarray(values, dtype=np.float64) / self.unit
        scaled = np.asarray(values, dtype=np.float64) / self.value_unit
        return np.log(scaled) if self.link is Link.LOG else scaled

    def _natural(self, theta: Array) -> tuple[Array, Array]:
        """All coefficients in the model's units (B, K_all), and the derivative of each free one by its theta (B, K)."""
        moved = np.where(self.is_log, np.exp(np.where(self.is_log, theta, 0.0)), theta)
        found = np.empty((len(theta), len(self.coefficients)))
        for k, coefficient in enumerate(self.coefficients):
            if coefficient.fixed is not None:
                found[:, k] = coefficient.fixed
        found[:, self.free] = moved
        return found, np.where(self.is_log, moved, 1.0)

    def residuals(self, theta: Array, targets: Array, order: int) -> tuple[Array, State]:
        """Return residuals and the derivatives of the predictions, in units of the residual."""
        natural, chain = self._natural(theta)
        value, slopes, curvatures = self._derivatives(natural, chain, order)
        return self._in_residuals(value, slopes, curvatures, targets, self._pairs)

    def _in_residuals(
        self, value: Array, slopes: Array | None, curvatures: Array | None, targets: Array, pairs: Pairs
    ) -> tuple[Array, State]:
        """Residuals (B, R) of predictions, and the predictions' derivatives in units of the residual."""
        if self.link is Link.LOG:
            residuals = targets - np.log(np.where(value > 0, value, np.nan))
            scale = 1.0 / value
        elif self.unit is not None:
            scale = np.full(value.shape, self.value_unit / self.unit)
            residuals = targets - value * scale
        else:
            scale = 1.0 / np.broadcast_to(targets, value.shape)
            residuals = 1.0 - value * scale
        if slopes is not None:
            slopes = slopes * scale[:, None, :]
        if curvatures is not None and slopes is not None:
            curvatures = curvatures * scale[:, None, :]
            if self.link is Link.LOG:
                curvatures = curvatures - slopes[:, pairs[0]] * slopes[:, pairs[1]]
        return residuals, State(slopes, curvatures)

    def _predict(self, natural: Array) -> Array:
        """Predictions (B, R) for coefficients (B, K_all) in the model's units."""
        ask(len(natural))
        return np.asarray(self.law.predict(natural, self.inputs))

    def _derivatives(self, natural: Array, chain: Array, order: int) -> tuple[Array, Array | None, Array | None]:
        """Value (B, R) and, by theta, first (B, K, R) and second derivatives (B, K(K+1)/2, R)."""
        if order == 0:
            return self._predict(natural), None, None
        ask(len(natural) * self.law.predictions_per_slope)
        if order == 1:
            value, first = self.law.value_and_slopes(natural, self.inputs)
            return value, first[:, self.free] * chain[:, :, None], None
        value, first, second = self.law.curvatures(natural, self.inputs)
        slopes = first[:, self.free] * chain[:, :, None]
        if second is None:
            return value, slopes, None
        return value, slopes, by_coordinates(slopes, second[:, self._pair_of_all], chain, self._pairs, self.is_log)

    def expand(self, state: State, influence: Array, curvature: Array, exact: bool) -> tuple[Array, Array]:
        """Return gradient and curvature of the weighted objective."""
        slopes = state.slopes
        assert slopes is not None
        return expanded(slopes, state.curvatures if exact else None, influence, curvature, self._pairs)

    def slopes(self, theta: Array, targets: Array) -> Array:
        """Return the derivatives (B, K, R) of the predictions, in units of the residual."""
        found = self.residuals(theta, targets, 1)[1].slopes
        assert found is not None
        return found

    def seeds(self, weights: Array, targets: Array, count: int, generator: np.random.Generator) -> Array:
        """Return points from a Latin hypercube with the linear coefficients solved for, best first."""
        theta = self._hypercube(generator)
        linear = self._linear()
        values = self._values(targets)
        found = np.empty((len(weights), count, len(self.free)))
        basis = self._basis(theta, linear) if linear else None
        for b in range(len(weights)):
            own = values[0] if len(values) == 1 else values[b]
            points = theta if basis is None else self._project(theta, linear, basis, weights[b], own)
            predicted = self._predict(self._natural(points)[0])
            relative, is_possible = self._missed(predicted, own)
            miss = np.minimum(relative, 1.0) @ weights[b]  # a point far off on few rows is still a start
            miss = np.where(np.isfinite(miss) & is_possible, miss, np.inf)
            order = np.argsort(miss, kind="stable")[: max(1, np.count_nonzero(np.isfinite(miss)))]
            if self.proposes_starts and len(order) > count:  # the best of them are alike
                best = count // 2
                rest = np.linspace(best, max(len(order) // 2, count), count - best, endpoint=False).astype(int)
                order = np.concatenate([order[:best], order[rest]])
            found[b] = points[np.resize(order, count)]
        return np.clip(found, self.lower, self.upper)

    def _values(self, targets: Array) -> Array:
        """Measured values in the unit of the law's predictions."""
        if self.unit is not None:
            return targets * (self.unit / self.value_unit)
        return np.exp(targets) if self.link is Link.LOG else targets

    def _missed(self, predicted: Array, values: Array) -> tuple[Array, NDArray[np.bool_]]:
        """How far points (S,) miss the rows (S, R), and which (S,) can be a start: of the sign of every value."""
        if self.unit is not None:
            return np.abs(values - predicted) * (self.value_unit / self.unit), np.ones(len(predicted), dtype=bool)
        ratio = predicted / values
        return np.abs(1.0 - ratio), np.asarray((ratio > 0).all(axis=1))

    def projected(self, theta: Array, weights: Array, targets: Array) -> Array:
        """Return theta with the linear coefficients solved for."""
        linear = self._linear()
        if not linear:
            return theta
        values = self._values(targets)
        found = self._project(theta, linear, self._basis(theta, linear), weights[0], values[0])
        return np.asarray(np.clip(found, self.lower, self.upper))

    def _hypercube(self, generator: np.random.Generator) -> Array:
        """(POINTS, K) coordinates spread over the plausible part of the box, or where the law itself proposes."""
        proposed = (self.chart_of or self.law).starts(*self._measured, POINTS, generator)
        if proposed is not None:
            return self.from_coefficients(proposed)
        theta = np.empty((POINTS, len(self.free)))
        ranges = {name: (low, high) for name, low, high in self.law.start_ranges}
        for k, position in enumerate(self.free):
            spread = (generator.permutation(POINTS) + generator.random(POINTS)) / POINTS
            if self.names[k] in ranges:
                low, high = (math.log(end) if self.is_log[k] else end for end in ranges[self.names[k]])
                theta[:, k] = np.clip(low + spread * (high - low), self.lower[k], self.upper[k])
                continue
            lower, upper = float(self.lower[k]), float(self.upper[k])
            if self.is_log[k]:  # seven factors of e around the unit of the rows
                low, high = max(lower, -7.0), min(upper, 7.0)
                theta[:, k] = low + spread * (high - low) if high > low else lower + spread * (upper - lower)
            else:
                theta[:, k] = plausible(self.coefficients[position], spread, lower, upper)
        return theta

    def _linear(self) -> list[int]:
        """Positions in theta of the coefficients that can be solved for, at most ten."""
        names = set(self.law.linear)
        return [k for k, name in enumerate(self.names) if name in names][:MOST_UNKNOWNS]

    def _basis(self, theta: Array, linear: list[int]) -> tuple[Array, Array]:
        """The law as `constant + sum(c_j basis_j)`: (S, R) and (S, J, R), at the given nonlinear coefficients."""
        natural = self._natural(theta)[0]
        natural[:, [self.free[k] for k in linear]] = 0.0
        constant = self._predict(natural)
        parts = []
        for k in linear:
            bumped = natural.copy()
            bumped[:, self.free[k]] = 1.0
            parts.append(self._predict(bumped) - constant)
        return constant, np.stack(parts, axis=1)

    def _project(
        self, theta: Array, linear: list[int], basis: tuple[Array, Array], weights: Array, values: Array
    ) -> Array:
        """Coordinates with the linear coefficients at their least-squares values."""
        constant, parts = basis
        relative = weights / values**2 if self.unit is None else weights
        gram = np.einsum("sjr,r,skr->sjk", parts, relative, parts, optimize=True)
        moment = np.einsum("sjr,sr->sj", parts, (values - constant) * relative)
        signed: NDArray[np.bool_] = np.array([not self.is_log[k] for k in linear])
        solved = solve_nonnegative(np.nan_to_num(gram, posinf=1e300), np.nan_to_num(moment), signed)
        found = theta.copy()
        floor = np.exp(np.maximum(self.lower[linear], -14.0))
        found[:, linear] = np.where(signed, solved, np.log(np.maximum(solved, np.where(signed, 1.0, floor))))
        return found

    def closed_form(self, weights: Array, targets: Array) -> Array | None:
        """Return None: a general law has no closed form."""
        return None

    def to_coefficients(self, theta: Array) -> Array:
        """Return the law's coefficients in its own units."""
        theta = np.asarray(theta, dtype=np.float64)
        natural = self._natural(theta.reshape(-1, len(self.free)))[0]
        found = self._rescaled(natural, 1.0).reshape(*theta.shape[:-1], len(self.coefficients))
        return found if self.chart_of is None else self.chart_of.from_chart(found)

    def from_coefficients(self, coefficients: Array) -> Array:
        """Return coordinates for the law's coefficients, moved into the box."""
        coefficients = np.asarray(coefficients, dtype=np.float64)
        if self.chart_of is not None:
            coefficients = self.chart_of.to_chart(coefficients)
        natural = self._rescaled(coefficients.reshape(-1, len(self.coefficients)), -1.0)[:, self.free]
        theta = np.where(self.is_log, np.log(np.maximum(natural, 1e-300)), natural)
        clipped: Array = np.clip(theta, self.lower, self.upper)
        return clipped.reshape(*coefficients.shape[:-1], len(self.free))

    def _rescaled(self, coefficients: Array, sign: float) -> Array:
        """Coefficients moved from the model's units to the law's (sign 1) or back (sign -1)."""
        names = [coefficient.name for coefficient in self.coefficients]
        columns = {name: coefficients[:, k] for k, name in enumerate(names)}
        found = coefficients.copy()
        logs = np.zeros_like(found)
        for log_unit, powers in self.unit_degrees:
            for name, degree in powers.items():
                logs[:, names.index(name)] += log_unit * evaluate(degree, dict(columns))
        moved = np.any(logs != 0.0, axis=0)
        with np.errstate(over="ignore"):
            found[:, moved] *= np.exp(sign * logs[:, moved])
        return found


def pairs_among(count: int, chosen: Sequence[int]) -> list[int]:
    """Return where the pairs of the chosen, upper triangle by rows, stand among those of all `count`."""
    rows, columns = np.triu_indices(count)
    everywhere = {pair: at for at, pair in enumerate(zip(rows.tolist(), columns.tolist(), strict=True))}
    left, right = np.triu_indices(len(chosen))
    return [everywhere[chosen[j], chosen[k]] for j, k in zip(left.tolist(), right.tolist(), strict=True)]


def by_coordinates(slopes: Array, second: Array, chain: Array, pairs: Pairs, is_log: NDArray[np.bool_]) -> Array:
    """Return second derivatives (B, K(K+1)/2, R) by coordinates, for those by coefficients.

    Parameters
    ----------
    slopes : (B, K, R) first derivatives by coordinates
    second : (B, K(K+1)/2, R) second derivatives by coefficients
    chain : (B, K) derivative of each coefficient by its coordinate
    pairs : the upper triangle by rows
    is_log : (K,) which coordinates are logarithms
    """
    left, right = pairs
    found = second * (chain[:, left] * chain[:, right])[:, :, None]
    diagonal = np.flatnonzero((left == right) & is_log[left])
    found[:, diagonal] += slopes[:, left[diagonal]]
    return found


def expanded(
    slopes: Array, curvatures: Array | None, influence: Array, curvature: Array, pairs: Pairs
) -> tuple[Array, Array]:
    """Return gradient (B, K) and curvature (B, K, K) of an objective from the derivatives of its rows."""
    gradient = -np.einsum("bkr,br->bk", slopes, influence)
    matrix = np.matmul(slopes * curvature[:, None, :], slopes.transpose(0, 2, 1))
    if curvatures is not None:
        bend = np.einsum("bqr,br->bq", curvatures, influence)
        left, right = pairs
        matrix[:, left, right] -= bend
        off = left != right
        matrix[:, right[off], left[off]] -= bend[:, off]
    return gradient, matrix


def _in_logs(coefficient: Coefficient) -> bool:
    """Whether the coordinate is the logarithm: positive coefficients other than exponents."""
    return coefficient.lower >= 0 and coefficient.role is not Role.EXPONENT
