"""Variable projection: at given exponents the best amplitudes of a sum of powers follow from a linear solve.

So a search over (E, A, B, alpha, beta) is a search over (alpha, beta). Normal equations for every point of a grid
of exponents and every weight vector are matrix products; residuals are relative, which is the log residual to
first order, and one robust reweighting keeps a few wild losses from choosing the grid point.

Source: Golub and Pereyra 1973, SIAM J. Numer. Anal. 10, 413.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.solver.log_term import LogTerm
from isoflop.queries.fitting.solver.model import Array
from isoflop.queries.fitting.solver.nonnegative import solve_nonnegative

Indices = NDArray[np.int64]

DENSE = np.concatenate([np.linspace(0.05, 1.25, 25), [1.5, 1.8, 2.2, 2.8, 3.6]])
COARSE = np.array([0.03, 0.08, 0.15, 0.23, 0.32, 0.42, 0.54, 0.7, 0.9, 1.2, 1.7, 2.6])
MOST_POINTS = 1024  # exponent points when a full grid would have more
FAINTEST = 1e-6  # share [1] at which a term starts that the solve left out: a dead one has no slope to come back by
MOST_ROWS = 2000  # rows that choose the seeds; the descent uses all of them


class PowerSum(Protocol):
    """What is needed of a sum of powers on R rows, with J terms and Q free exponents among K coordinates."""

    names: tuple[str, ...]
    """the K free coefficients"""
    lower: Array
    """(K,) lowest coordinates"""
    upper: Array
    """(K,) highest coordinates"""
    terms: tuple[LogTerm, ...]
    """the J terms"""
    exponents: tuple[int, ...]
    """the Q positions of the exponents in theta"""
    num_rows: int
    """R"""


def exponent_points(model: PowerSum, generator: np.random.Generator, *, dense: bool) -> Array:
    """Return (G, Q) exponents to solve the amplitudes at: a grid for Q <= 2, else a Latin hypercube."""
    axes = []
    for k in model.exponents:
        grid = DENSE if dense else COARSE
        grid = np.concatenate([-grid[::-1], grid]) if model.lower[k] < 0 else grid
        inside = grid[(grid >= model.lower[k]) & (grid <= model.upper[k])]
        ends = np.linspace(model.lower[k], model.upper[k], 9)[1:-1]
        axes.append(inside if len(inside) >= 5 else np.unique(np.concatenate([inside, ends])))
    if not axes:
        return np.zeros((1, 0))
    if np.prod([len(axis) for axis in axes]) <= MOST_POINTS * (4 if len(axes) <= 2 else 1):
        return np.stack([mesh.ravel() for mesh in np.meshgrid(*axes, indexing="ij")], axis=1)
    ranks = np.stack([generator.permutation(MOST_POINTS) for _ in axes], axis=1)
    spread = (ranks + generator.random(ranks.shape)) / MOST_POINTS
    return np.stack([np.quantile(axis, spread[:, q]) for q, axis in enumerate(axes)], axis=1)


def amplitudes_on_points(model: PowerSum, points: Array, weights: Array, targets: Array, count: int) -> Array:
    """Return the best (B, count, K) coordinates over exponent points (G, Q), amplitudes solved for.

    Parameters
    ----------
    model : sum of powers
    points : (G, Q) exponents, in the order of `model.exponents`
    weights : (B, R) row weights
    targets : (1 or B, R) log targets
    """
    keep = _representative_rows(model.num_rows)
    projection = _Projection(model, points, keep)
    values = np.exp(targets[:, keep])
    weights = weights[:, keep]
    solved, misfit = projection.solve(weights, values)
    if len(weights) == 1:  # one robust pass: weigh rows down that the best point misses by far
        best = solved[0, np.argmin(misfit[0])]
        off = np.abs(1.0 - projection.predict(best, int(np.argmin(misfit[0]))) / values[0])
        scale = 3.0 * np.median(off) + 1e-12
        solved, misfit = projection.solve(weights * np.minimum(1.0, scale / np.maximum(off, 1e-300)), values)
    return _pick(model, points, solved, misfit, count)


def amplitudes_at(model: PowerSum, points: Array, weights: Array, targets: Array) -> Array:
    """Return coordinates (G, K) at exponent points (G, Q) with the amplitudes solved for, in the order given."""
    keep = _representative_rows(model.num_rows)
    solved, _ = _Projection(model, points, keep).solve(weights[:, keep], np.exp(targets[:, keep]))
    return np.asarray(_coordinates(model, points[None], solved)[0])


def _representative_rows(num_rows: int) -> Indices | slice:
    """All rows, or an evenly spaced selection of many."""
    if num_rows <= MOST_ROWS:
        return slice(None)
    return np.linspace(0, num_rows - 1, MOST_ROWS).astype(int)


class _Projection:
    """The terms of the law at every point, and the normal equations of their amplitudes."""

    def __init__(self, model: PowerSum, points: Array, keep: Indices | slice) -> None:
        self.model = model
        self.with_amplitude = [term for term in model.terms if term.has_amplitude]
        self.features: list[Array] = []
        self.lookup: list[Indices] = []
        for term in self.with_amplitude:
            feature, lookup = self._on_own_grid(term, points, keep)
            self.features.append(feature)
            self.lookup.append(lookup)
        self.known = self._without_amplitude(points, keep)

    def _on_own_grid(self, term: LogTerm, points: Array, keep: Indices | slice) -> tuple[Array, Indices]:
        """The term at amplitude one: (g, r) over the distinct values of its own exponents, and (G,) which of them."""
        own = [self.model.exponents.index(k) for k in term.indices[1:]]
        grid, lookup = np.unique(points[:, own], axis=0, return_inverse=True)
        logs = grid @ term.regressors[1:, keep]
        if term.offset is not None:
            logs = logs + term.offset[keep]
        return np.exp(np.clip(logs, -300, 300)), np.asarray(lookup).reshape(-1)

    def _without_amplitude(self, points: Array, keep: Indices | slice) -> Array | None:
        """The sum of the terms whose amplitude is fixed, (G, r), or None."""
        total: Array | None = None
        for term in self.model.terms:
            if not term.has_amplitude:
                own = [self.model.exponents.index(k) for k in term.indices]
                logs = points[:, own] @ term.regressors[:, keep]
                part = np.exp(np.clip(logs + (0.0 if term.offset is None else term.offset[keep]), -300, 300))
                total = part if total is None else total + part
        return total

    def solve(self, weights: Array, values: Array) -> tuple[Array, Array]:
        """Amplitudes (B, G, J) and the misfit (B, G) they leave, for weights (B, r) and values (1 or B, r)."""
        num_terms, num_points = len(self.features), len(self.lookup[0]) if self.lookup else 1
        count = len(weights)
        gram = np.empty((count, num_points, num_terms, num_terms))
        moment = np.empty((count, num_points, num_terms))
        relative = weights / values**2  # (B, r): weight of a squared error in the target's unit
        level = np.einsum("br->b", weights)[:, None]
        for j in range(num_terms):
            for k in range(j, num_terms):
                gram[:, :, j, k] = gram[:, :, k, j] = self._pair(j, k, relative)
            moment[:, :, j] = ((relative * values) @ self.features[j].T)[:, self.lookup[j]]
        if self.known is not None:
            for j in range(num_terms):
                moment[:, :, j] -= relative @ (self.known * self.features[j][self.lookup[j]]).T
            level = level - 2 * (relative * values) @ self.known.T + relative @ (self.known**2).T
        if not num_terms:
            return np.zeros((count, len(self.known) if self.known is not None else 1, 0)), level
        solved = solve_nonnegative(gram, moment)
        misfit = level - np.einsum("bgj,bgj->bg", solved, moment)
        return solved, np.where(np.isfinite(misfit), misfit, np.inf)

    def _pair(self, j: int, k: int, relative: Array) -> Array:
        """Weighted products of two terms at every point, (B, G)."""
        left, right = self.features[j], self.features[k]
        if j == k:
            return np.asarray((relative @ (left * left).T)[:, self.lookup[j]])
        if len(relative) == 1:
            return np.asarray(((left * relative[0]) @ right.T)[self.lookup[j], self.lookup[k]][None, :])
        if len(left) == 1 or len(right) == 1:
            own = self.lookup[k] if len(left) == 1 else self.lookup[j]
            return np.asarray((relative @ (left * right).T)[:, own])
        return np.asarray(relative @ (left[self.lookup[j]] * right[self.lookup[k]]).T)

    def predict(self, amplitudes: Array, point: int) -> Array:
        """The prediction (r,) at one point with amplitudes (J,)."""
        parts = [a * f[lookup[point]] for a, f, lookup in zip(amplitudes, self.features, self.lookup, strict=True)]
        total = np.sum(parts, axis=0) if parts else 0.0
        return np.asarray(total if self.known is None else total + self.known[point])


def _pick(model: PowerSum, points: Array, solved: Array, misfit: Array, count: int) -> Array:
    """The best points per problem that are not neighbors of a better one, as coordinates (B, count, K)."""
    order = np.argsort(misfit, axis=1, kind="stable")
    chosen = np.empty((len(solved), count), dtype=int)
    for b in range(len(solved)):
        chosen[b] = _spread(points, order[b], count)
    rows = np.arange(len(solved))[:, None]
    return _coordinates(model, points[chosen], solved[rows, chosen])


def _coordinates(model: PowerSum, points: Array, solved: Array) -> Array:
    """Coordinates (B, G, K) of exponents (B, G, Q) and amplitudes (B, G, J)."""
    theta = np.zeros((*solved.shape[:2], len(model.names)))
    theta[:, :, list(model.exponents)] = points
    with_amplitude = [term.indices[0] for term in model.terms if term.has_amplitude]
    theta[:, :, with_amplitude] = np.log(np.maximum(solved, FAINTEST))
    clipped: Array = np.clip(theta, model.lower, model.upper)
    return clipped


def _spread(points: Array, order: Array, count: int) -> Array:
    """The first `count` of `order`, leaving out those within 15 % of one already taken while others are left."""
    taken: list[int] = []
    passed: list[int] = []
    for point in order[: 8 * count]:
        near = (
            taken
            and points.shape[1]
            and np.min(np.max(np.abs(np.log((np.abs(points[taken]) + 0.05) / (np.abs(points[point]) + 0.05))), axis=1))
            < 0.15
        )
        (passed if near else taken).append(int(point))
        if len(taken) == count:
            break
    filled = [*taken, *passed, *(int(p) for p in order[8 * count :])]
    return np.resize(np.array(filled), count)
