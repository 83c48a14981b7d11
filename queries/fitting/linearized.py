"""Resamples of a law that is costly to evaluate: along its slopes at the fit, without another prediction.

A resample moves the coefficients by about a standard error, over which most laws are straight. So the law is replaced
by its tangent at the fit, and every resample is solved on that: one step from the solution, with the same objective,
weights and domains. How far the law itself lies from its tangent is looked up at a few of the resamples; where that
is far, the tangent says nothing and the resamples are refitted.
"""

from __future__ import annotations

import numpy as np

from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.solver.model import Array, Model
from isoflop.queries.fitting.solver.newton import descend
from isoflop.queries.fitting.solver.replicate import Replicates
from isoflop.queries.fitting.solver.search import Found
from isoflop.queries.laws.objectives import Objective

STEPS, TOLERANCE = 100, 1e-9  # of a descent on the tangent, which costs no prediction
CHECKED = 8  # resamples at which the law is compared with its tangent
BENT = 0.25  # departure as a share of what a resample moves [1] up to which the tangent stands for the law


class Tangent:
    """A law's tangent at one point of the solver's coordinates; implements `Curve`.

    Parameters
    ----------
    model : the law on R rows
    theta : (K,) coordinates at which it touches
    targets : (1, R) in the model's units; only their number matters
    """

    has_curvature = False

    def __init__(self, model: Model, theta: Array, targets: Array) -> None:
        self.lower, self.upper = model.lower, model.upper
        self._theta = theta
        self._is_difference = model.is_difference
        unit = (
            np.zeros_like(targets) if self._is_difference else np.ones_like(targets)
        )  # what is left is the prediction
        self._unit = unit
        self._value = self.of_the_law(model, theta[None])[0]  # (R,)
        self._slopes = model.slopes(theta[None], unit)[0]  # (K, R)

    def of_the_law(self, model: Model, theta: Array) -> Array:
        """Return what the law itself predicts (B, R), in the units of the tangent."""
        found: Array = self._unit - model.residuals(theta, self._unit, 0)[0]
        return found

    def value(self, theta: Array) -> Array:
        """Return the predictions (B, R): logarithms, or values in the model's unit."""
        found: Array = self._value + (theta - self._theta) @ self._slopes
        return found

    def residuals(self, theta: Array, targets: Array, order: int) -> tuple[Array, Array]:
        """Return residuals (B, R), and the slopes (1 or B, K, R) of the predictions in their units."""
        value = self.value(theta)
        if self._is_difference:
            return targets - value, self._slopes[None]
        return 1.0 - value / targets, self._slopes[None] / targets[:, None, :]

    def expand(self, state: Array, influence: Array, curvature: Array, exact: bool) -> tuple[Array, Array]:
        """Return gradient (B, K) and curvature (B, K, K) of the weighted objective."""
        slopes = np.broadcast_to(state, (len(influence), *state.shape[1:]))
        gradient = -np.einsum("bkr,br->bk", slopes, influence)
        return gradient, np.matmul(slopes * curvature[:, None, :], slopes.transpose(0, 2, 1))


def linearized(
    model: Model, found: Found, weights: Array, targets: Array, objective: Objective
) -> tuple[Replicates, float]:
    """Fit a law's tangent at the solution to many versions of the same rows.

    Parameters
    ----------
    model : law on R rows
    found : the fit to the rows as they are
    weights : (1 or B, R) row weights of each version
    targets : (1 or B, R) targets of each version
    objective : penalty on residuals

    Returns
    -------
    the fits, and how far the law departs from its tangent as a share of what a resample moves it [1]
    """
    tangent = Tangent(model, found.theta, targets[:1])
    start = np.repeat(found.theta[None], max(len(weights), len(targets)), axis=0)
    ended = descend(tangent, start, weights, targets, objective, exact=True, max_steps=STEPS, tolerance=TOLERANCE)
    some = ended.theta[np.linspace(0, len(start) - 1, min(CHECKED, len(start))).astype(int)]
    with np.errstate(all="ignore"):
        moved = tangent.value(some) - tangent.value(found.theta[None])
        departed = tangent.value(some) - tangent.of_the_law(model, some)
        share = np.linalg.norm(departed, axis=1) / np.linalg.norm(moved, axis=1)
    bent = float(np.median(np.where(np.isfinite(share), share, np.inf)))
    return Replicates(ended.theta, np.isfinite(ended.objective), 0.0), bent


def note_on_tangent(num_draws: int, bent: float) -> Note:
    """Return the note on how the resamples of a costly law were made.

    Parameters
    ----------
    num_draws : resamples
    bent : departure of the law from its tangent [1]
    """
    if bent > BENT:
        return Note(
            "refitted", f"the law bends too much to be followed along its slopes; {num_draws} resamples refit it"
        )
    message = (
        f"the {num_draws} resamples are one step from the solution along the law's slopes, from which the law departs "
        f"by {bent:.1%} of the way; intervals = 'profile' follows the law itself"
    )
    return Note("linearized", message)


def note_on_cost(predictions: int) -> Note:
    """Return the note on how many predictions of all rows a fit of a costly law asked for."""
    return Note("predictions", f"the law is costly; the fit asked for {predictions:,} predictions of its rows")
