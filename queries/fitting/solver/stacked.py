"""A law on groups of rows with some coefficients in common: derivatives group by group.

With G groups of Q coefficients the second derivatives of a row are about (G Q)^2 / 2, all but Q^2 / 2 of them zero:
each group's are computed among its own coefficients and added where they belong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.shared_law import SharedLaw
from isoflop.queries.fitting.solver.asked import ask
from isoflop.queries.fitting.solver.general import (
    GeneralModel,
    Pairs,
    State,
    by_coordinates,
    expanded,
    pairs_among,
)
from isoflop.queries.fitting.solver.model import Array
from isoflop.queries.laws.law import Coefficient


@dataclass(frozen=True)
class _Group:
    """The rows of one group and its free coefficients, q of the stacked law's Q."""

    rows: NDArray[np.intp]
    """its rows among all"""
    inputs: Array
    """those rows' inputs, without the group's number"""
    places: NDArray[np.intp]
    """(Q,) its coefficients among all"""
    own: list[int]
    """(q,) the free ones among the Q"""
    coordinates: NDArray[np.intp]
    """(q,) their coordinates"""
    pairs: Pairs
    """of the q, upper triangle by rows"""
    pair_of_all: list[int]
    """where those stand among the pairs of the Q"""


class StackedModel(GeneralModel):
    """A law on several groups of rows; see `GeneralModel` for the parameters."""

    law: SharedLaw

    def __init__(self, law: SharedLaw, coefficients: tuple[Coefficient, ...], *args: Any, **options: Any) -> None:
        super().__init__(law, coefficients, *args, **options)
        coordinate = {position: k for k, position in enumerate(self.free)}
        self._groups: list[_Group] = []
        for places, rows in zip(law.places, law.groups(self.inputs), strict=True):
            own = [q for q, position in enumerate(places.tolist()) if position in coordinate]
            at = np.array([coordinate[int(places[q])] for q in own], dtype=np.intp)
            pairs = np.triu_indices(len(own))
            inside = pairs_among(len(places), own)
            self._groups.append(_Group(rows, self.inputs[rows, :-1], places, own, at, pairs, inside))

    def residuals(self, theta: Array, targets: Array, order: int) -> tuple[Array, Any]:
        """Return residuals and the derivatives of the predictions, of order two a state a group."""
        if order < 2 or not self.has_curvature:
            return super().residuals(theta, targets, order)
        natural, chain = self._natural(theta)
        ask(len(natural) * self.law.predictions_per_slope)
        found = np.empty((len(theta), len(self.inputs)))
        states = []
        for group in self._groups:
            value, first, second = self.law.base.curvatures(natural[:, group.places], group.inputs)
            assert second is not None
            moved = chain[:, group.coordinates]
            slopes = first[:, group.own] * moved[:, :, None]
            is_log = self.is_log[group.coordinates]
            bends = by_coordinates(slopes, second[:, group.pair_of_all], moved, group.pairs, is_log)
            found[:, group.rows], state = self._in_residuals(value, slopes, bends, targets[:, group.rows], group.pairs)
            states.append(state)
        return found, states

    def expand(
        self, state: State | list[State], influence: Array, curvature: Array, exact: bool
    ) -> tuple[Array, Array]:
        """Return gradient and curvature of the weighted objective."""
        if isinstance(state, State):
            return super().expand(state, influence, curvature, exact)
        size = len(self.free)
        gradient, matrix = np.zeros((len(influence), size)), np.zeros((len(influence), size, size))
        for group, own in zip(self._groups, state, strict=True):
            assert own.slopes is not None
            rows, at = group.rows, group.coordinates
            parts = expanded(
                own.slopes, own.curvatures if exact else None, influence[:, rows], curvature[:, rows], group.pairs
            )
            gradient[:, at] += parts[0]
            matrix[:, at[:, None], at] += parts[1]
        return gradient, matrix
