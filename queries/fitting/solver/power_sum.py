"""Laws that are sums of powers, fitted on log residuals: the fast path.

With u_j = log of term j, linear in theta (log amplitudes and exponents), the log prediction is a log-sum-exp, its
gradient is the shares p_j of the terms times their regressors, and its Hessian follows from the shares alone.
Sums over rows are products with small matrices of regressors computed once, so a batch of problems costs a few
passes over (B, R) arrays that stay in cache.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.solver.compiled import term_tables
from isoflop.queries.fitting.solver.log_term import LogTerm
from isoflop.queries.fitting.solver.model import DEAD, HUGE, SCREENED_ROWS, Array
from isoflop.queries.fitting.solver.projection import amplitudes_at, amplitudes_on_points, exponent_points
from isoflop.queries.laws.algebra.terms import Term
from isoflop.queries.laws.law import Coefficient

STEEPEST = 50.0  # exponent [1] beyond which a power is a step function on any data
SAFE = 600.0  # |log| up to which exp neither overflows nor vanishes


class PowerSumModel:
    """A sum of powers on a set of rows; implements `Model`.

    Parameters
    ----------
    terms : of the law, with non-negative amplitudes
    coefficients : of the law, fixed ones included
    input_names : in the order of the columns of `inputs`
    inputs : (R, P) positive array
    values : (R,) positive measured values, whose geometric mean is the unit of the amplitudes
    """

    has_curvature = True
    is_difference = True
    screened_rows = SCREENED_ROWS
    is_costly = False
    is_compiled = True
    proposes_starts = False
    is_unitless = True

    def __init__(
        self,
        terms: Sequence[Term],
        coefficients: Sequence[Coefficient],
        input_names: Sequence[str],
        inputs: Array,
        values: Array,
    ) -> None:
        self.coefficients = tuple(coefficients)
        self.free = tuple(k for k, coefficient in enumerate(self.coefficients) if coefficient.fixed is None)
        self.names = tuple(self.coefficients[k].name for k in self.free)
        self.position = {name: k for k, name in enumerate(self.names)}
        self.log_inputs = dict(zip(input_names, np.log(inputs).T, strict=True))
        self.log_unit = float(np.mean(np.log(values)))
        self.num_rows = len(inputs)
        self.amplitudes = {term.amplitude for term in terms if term.amplitude}
        self.lower = np.array([self._bound(self.coefficients[k], upper=False) for k in self.free])
        self.upper = np.array([self._bound(self.coefficients[k], upper=True) for k in self.free])
        # (K, K) and (K,): log amplitude = theta + shift @ theta + origin, which undoes the centring
        self.shift = np.zeros((len(self.free), len(self.free)))
        self.origin = np.zeros(len(self.free))
        self.terms = tuple(built for term in terms if (built := self._build(term)) is not None)
        self.exponents = tuple(k for k, name in enumerate(self.names) if name not in self.amplitudes)
        self._limit_exponents()
        self.is_log = np.array([name in self.amplitudes for name in self.names])
        self.has_zero_face = np.array(
            [
                name in self.amplitudes and self.coefficients[k].lower <= 0
                for k, name in zip(self.free, self.names, strict=True)
            ],
            dtype=bool,
        )
        self._tables = [self._products(term, term) for term in self.terms]
        self._rows = [np.array(term.indices, dtype=int)[:, None] for term in self.terms]
        self._columns = [np.array(term.indices, dtype=int) for term in self.terms]
        self._cross = {
            (j, k): self._products(self.terms[j], self.terms[k])
            for j in range(len(self.terms))
            for k in range(j + 1, len(self.terms))
        }

    @functools.cached_property
    def tables(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Array]:
        """The terms as the compiled descent reads them."""
        return term_tables(self.terms, self.num_rows)

    def _bound(self, coefficient: Coefficient, *, upper: bool) -> float:
        """A bound in theta; for an amplitude before centring, in units of the target."""
        value = coefficient.upper if upper else coefficient.lower
        if coefficient.name not in self.amplitudes:
            return float(np.clip(value, -STEEPEST, STEEPEST))
        if upper:
            return math.log(value) - self.log_unit if 0 < value < math.inf else HUGE
        return math.log(value) - self.log_unit if value > 0 else DEAD

    def _build(self, term: Term) -> LogTerm | None:
        """The term on the rows; None when its amplitude is fixed at zero."""
        fixed = {
            coefficient.name: coefficient.fixed for coefficient in self.coefficients if coefficient.fixed is not None
        }
        own = self.position.get(term.amplitude) if term.amplitude else None
        offset = np.full(self.num_rows, math.log(term.number))
        columns: dict[int, Array] = {}
        for name, exponent in term.exponents.items():
            known = exponent.constant + sum(fixed[c] * w for c, w in exponent.weights.items() if c in fixed)
            offset = offset + known * self.log_inputs[name]
            for power, weight in exponent.weights.items():
                if power not in fixed:
                    k = self.position[power]
                    columns[k] = columns.get(k, np.zeros(self.num_rows)) + weight * self.log_inputs[name]
        indices = tuple(columns)
        regressors = np.array([columns[k] for k in indices]).reshape(len(indices), self.num_rows)
        if own is None:
            value = fixed.get(term.amplitude, 1.0) if term.amplitude else 1.0
            if value <= 0:
                return None
            return LogTerm(indices, regressors, offset + math.log(value) - self.log_unit, False)
        coefficient = self.coefficients[self.free[own]]
        if coefficient.lower <= 0 and coefficient.upper == math.inf:  # a bounded amplitude cannot absorb the centring
            center, level = regressors.mean(axis=1), float(offset.mean())
            regressors = regressors - center[:, None]
            offset = offset - level
            self.shift[own, list(indices)] = -center
            self.origin[own] = self.log_unit - level
        else:
            self.origin[own] = self.log_unit
        regressors = np.concatenate([np.ones((1, self.num_rows)), regressors])
        return LogTerm((own, *indices), regressors, offset if np.any(np.abs(offset) > 1e-13) else None, True)

    def _limit_exponents(self) -> None:
        """Narrow exponents whose domain would overflow on these rows."""
        for k in self.exponents:
            spans = [
                float(np.max(np.abs(term.regressors[term.indices.index(k)])))
                for term in self.terms
                if k in term.indices
            ]
            limit = (SAFE - 100.0) / max(2.0 * len(self.exponents) * max(spans, default=1.0), 1.0)
            self.lower[k], self.upper[k] = max(self.lower[k], -limit), min(self.upper[k], limit)

    def _products(self, left: LogTerm, right: LogTerm) -> Array:
        """(R, d_left * d_right) products of the regressors of two terms."""
        both = left.regressors[:, None, :] * right.regressors[None, :, :]
        return np.ascontiguousarray(both.reshape(-1, self.num_rows).T)

    def targets(self, values: Array) -> Array:
        """Return log values in units of the geometric mean of the rows."""
        return np.log(values) - self.log_unit

    def residuals(self, theta: Array, targets: Array, order: int) -> tuple[Array, list[Array]]:
        """Return log residuals (B, R) and the terms' shares of the prediction."""
        shares: list[Array] = []
        total: Array | None = None
        for term in self.terms:
            if term.is_flat:
                part = np.exp(theta[:, term.indices])
            else:
                part = theta[:, term.indices] @ term.regressors
                if term.offset is not None:
                    part += term.offset
                np.exp(part, out=part)
            total = part.copy() if total is None else total + part
            shares.append(part)
        assert total is not None
        total = np.broadcast_to(total, (len(theta), self.num_rows))
        residuals = targets - np.log(total)
        if order:
            inverse = 1.0 / total
            shares = [
                share * inverse if share.shape[1] == 1 else np.multiply(share, inverse, out=share) for share in shares
            ]
        return residuals, shares

    def expand(self, state: list[Array], influence: Array, curvature: Array, exact: bool) -> tuple[Array, Array]:
        """Return gradient and curvature of the weighted objective."""
        count, size = len(influence), len(self.free)
        gradient = np.zeros((count, size))
        matrix = np.zeros((count, size, size))
        both = curvature + influence if exact else curvature
        for j, term in enumerate(self.terms):
            if not term.indices:
                continue
            width = len(term.indices)
            pull = influence * state[j]
            weighted = both * state[j]
            for k in range(j + 1, len(self.terms)):
                other = self.terms[k]
                if other.indices:
                    block = ((weighted * state[k]) @ self._cross[j, k]).reshape(count, width, len(other.indices))
                    matrix[:, self._rows[j], self._columns[k]] += block
                    matrix[:, self._rows[k], self._columns[j]] += block.transpose(0, 2, 1)
            weighted *= state[j]
            if exact:
                weighted -= pull
            matrix[:, self._rows[j], self._columns[j]] += (weighted @ self._tables[j]).reshape(count, width, width)
            gradient[:, self._columns[j]] -= pull @ term.regressors.T
        return gradient, matrix

    def slopes(self, theta: Array, targets: Array) -> Array:
        """Return the derivatives (B, K, R) of the log predictions."""
        shares = self.residuals(theta, targets, 1)[1]
        found = np.zeros((len(theta), len(self.free), self.num_rows))
        for term, share in zip(self.terms, shares, strict=True):
            found[:, term.indices, :] += share[:, None, :] * term.regressors
        return found

    def seeds(self, weights: Array, targets: Array, count: int, generator: np.random.Generator) -> Array:
        """Return points from a grid of exponents with the amplitudes solved for, best first."""
        points = exponent_points(self, generator, dense=len(weights) == 1)
        return amplitudes_on_points(self, points, weights, targets, count)

    def projected(self, theta: Array, weights: Array, targets: Array) -> Array:
        """Return theta with the amplitudes solved for at its exponents."""
        return amplitudes_at(self, theta[:, list(self.exponents)], weights, targets)

    def closed_form(self, weights: Array, targets: Array) -> Array | None:
        """Return None: log residuals have no closed form."""
        return None

    def to_coefficients(self, theta: Array) -> Array:
        """Return the law's coefficients."""
        theta = np.asarray(theta, dtype=np.float64)
        raw = theta + theta @ self.shift.T + self.origin
        found = np.empty((*theta.shape[:-1], len(self.coefficients)))
        for k, coefficient in enumerate(self.coefficients):
            if coefficient.fixed is not None:
                found[..., k] = coefficient.fixed
        for k, position in enumerate(self.free):
            is_amplitude = self.names[k] in self.amplitudes
            found[..., position] = np.exp(raw[..., k]) if is_amplitude else theta[..., k]
        return found

    def from_coefficients(self, coefficients: Array) -> Array:
        """Return coordinates for the law's coefficients, moved into the box."""
        raw = np.array(np.asarray(coefficients, dtype=np.float64)[..., self.free])
        for k, name in enumerate(self.names):
            if name in self.amplitudes:
                raw[..., k] = np.log(np.maximum(raw[..., k], 1e-300)) - self.origin[k]
        theta = raw - raw @ self.shift.T  # the shift reads exponents only, which it does not move
        return np.clip(theta, self.lower, self.upper)
