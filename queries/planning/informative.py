"""The one run that would help most: where a fit does not know its coefficients, or its forecast is wide.

Resamples cannot say it: along a direction that the rows do not determine they do not move. So the cloud of curves is
made from the law's slopes: `J' W J / noise^2` of the rows, and a wide prior that holds where the rows are silent. The
run is looked for up to four times beyond the rows on either side, in every input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.mistakes import shares_among
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.record import Fit
from isoflop.queries.laws.derivatives import central
from isoflop.queries.laws.law import Coefficient, Law, Role, input_names
from isoflop.queries.planning.design import Choices
from isoflop.queries.planning.optimum import grid
from isoflop.queries.planning.problem import Variable

Array = NDArray[np.float64]

REACH = 4.0  # factor beyond the rows on either side within which a run is looked for
CANDIDATES, SLOW_CANDIDATES = 1500, 200  # places tried; a costly law takes milliseconds for each
SETTINGS = 3  # values of a setting tried: as many as a grid of seven inputs has for each
USUAL_NOISE = 0.01  # scatter of a run in log value [1] where the rows do not say
NO_NOISE = 1e-9  # scale of residuals [1] up to which rows are computed, not measured
WORTH_SAYING = 1.5  # times narrower from which a run is worth a note
DIFFERENCE = 1e-4  # step of differences in a coordinate
LOG_PRIOR = 2.0  # standard deviation of the logarithm of an amplitude or floor before any run: a factor of 7
EXPONENT_PRIOR = 0.3  # of an exponent [1]


@dataclass(frozen=True, eq=False)
class InformativeRun:
    """The run after which what is uncertain is narrowest.

    Parameters
    ----------
    inputs : (P,) of the run, in the law's order
    what : the coefficient that it narrows most, or `forecast`
    times : how many times narrower that is afterwards [1]
    law : whose inputs these are
    """

    inputs: Array
    what: str
    times: float
    law: Law

    def __str__(self) -> str:
        at = ", ".join(f"{name} ≈ {value:.2g}" for name, value in zip(input_names(self.law), self.inputs, strict=True))
        return f"a run at {at} would help most: the interval of {self.what} would be {self.times:.2g} times narrower"


def most_informative_run(
    fit: Fit,
    inputs: Array,
    weights: Array | None = None,
    *,
    target: Array | None = None,
    among: Sequence[str] | None = None,
) -> InformativeRun | None:
    """Return the run near the rows of a fit that would help it most, or None when nothing can be said.

    Parameters
    ----------
    fit : with finite coefficients
    inputs : (R, P) usable rows it was fitted to
    weights : (R,) of the rows, or None for ones
    target : (T, P) places whose forecast is to be narrowed; None for the coefficients instead
    among : coefficients that are to be narrowed; None for all

    Example
    -------
    >>> from isoflop.queries.fitting import fit_law
    >>> from isoflop.queries.laws import CHINCHILLA
    >>> tokens = np.geomspace(1e9, 1e11, 12)
    >>> rows = np.stack([np.full(12, 1e8), tokens], axis=1)  # one size: what depends on it is unknown
    >>> fit = fit_law(CHINCHILLA, rows, 1.7 + 400 / 1e8**0.34 + 410 / tokens**0.28, resamples=0)
    >>> found = most_informative_run(fit, rows, among=("alpha",))
    >>> found.inputs[0] != 1e8, found.what
    (np.True_, 'alpha')
    """
    law, free = (
        fit.law,
        [k for k, coefficient in enumerate(fit.law.coefficients) if _is_free(coefficient, fit.coefficients[k])],
    )
    if not free or not np.isfinite(fit.coefficients).all():
        return None
    is_log, prior = _coordinates(law, fit.coefficients, free)
    scale = fit.solution.residual_scale / fit.data.scatter.size
    noise = scale if scale > NO_NOISE else USUAL_NOISE
    weight = np.ones(len(inputs)) if weights is None else weights
    slopes = _slopes(fit, free, is_log, inputs) * prior  # (R, F), in units of the prior
    if not np.isfinite(slopes).all():
        return None
    scaled = slopes * np.sqrt(weight / weight.mean())[:, None] / noise
    sizes, turned = np.linalg.eigh(np.eye(len(free)) + scaled.T @ scaled)
    root = turned / np.sqrt(np.maximum(sizes, 1.0))  # (F, F), a square root of the covariance in units of the prior
    variables = _ranges(law, inputs)
    points = _possible(law, inputs, grid(variables, SLOW_CANDIDATES if law.is_costly else CANDIDATES))
    if not len(points):
        return None
    features = _slopes(fit, free, is_log, points) * prior @ root
    usable = np.isfinite(features).all(axis=1)
    names = [law.coefficients[k].name for k in free]
    if target is not None:
        targets = _slopes(fit, free, is_log, target) * prior @ root
    else:
        targets = root[[names.index(name) for name in among if name in names]] if among is not None else root
    if not usable.any() or not len(targets) or not np.isfinite(targets).all():
        return None
    choices = Choices(features[usable], targets, noise, np.empty((0, int(usable.sum()))), np.empty(0))
    best = choices.best((), np.empty(0))
    if best is None:
        return None
    times = np.sqrt(choices.variances(()) / choices.variances([best]))
    if target is not None:
        return InformativeRun(points[usable][best], "the forecast", float(times.mean()), law)
    chosen = [name for name in among if name in names] if among is not None else names
    return InformativeRun(points[usable][best], chosen[int(np.argmax(times))], float(times.max()), law)


def notes_on_informative_run(fit: Fit) -> list[Note]:
    """Return a note on the run that would help, for a fit whose rows do not determine all its coefficients."""
    if "not_identified" not in fit.codes or fit.reason is None:
        return []
    among = [name for name in fit.names if name in fit.reason.replace(",", " ").split()]
    found = most_informative_run(fit, fit.data.inputs, fit.data.weight, among=among or None)
    if found is None or found.times < WORTH_SAYING:
        return []
    return [Note("what_would_help", str(found))]


def _is_free(coefficient: Coefficient, value: float) -> bool:
    """Whether a coefficient has a slope to speak of: an amplitude of zero has none in logarithms."""
    return coefficient.fixed is None and not (coefficient.role in (Role.AMPLITUDE, Role.FLOOR) and value <= 0)


def _coordinates(law: Law, coefficients: Array, free: Sequence[int]) -> tuple[NDArray[np.bool_], Array]:
    """(F,) which free coefficients are taken by their logarithm, and the prior's standard deviation of each."""
    chosen = [law.coefficients[k] for k in free]
    is_log = np.array([coefficient.role in (Role.AMPLITUDE, Role.FLOOR) for coefficient in chosen])
    size = np.maximum(np.abs(coefficients[list(free)]), 1e-3)
    linear = np.where([coefficient.role is Role.EXPONENT for coefficient in chosen], EXPONENT_PRIOR, size)
    return is_log, np.where(is_log, LOG_PRIOR, linear)


def _slopes(fit: Fit, free: Sequence[int], is_log: NDArray[np.bool_], inputs: Array) -> Array:
    """(M, F) derivatives of the prediction, on the scale of the scatter, by the coordinates, by differences."""
    law, coefficients, scatter = fit.law, fit.coefficients, fit.data.scatter
    steps = np.where(is_log, DIFFERENCE, DIFFERENCE * np.maximum(np.abs(coefficients[list(free)]), 1e-2))
    chosen = coefficients[list(free)]

    def predicted(coordinates: Array) -> Array:
        """Predictions (F, M) where the coordinates (F, F) are logs of a factor, or values."""
        moved = np.repeat(coefficients[None], len(coordinates), axis=0)
        factors = np.exp(np.where(is_log, coordinates, 0.0))
        moved[:, list(free)] = np.where(is_log, chosen * factors, coordinates)
        return scatter.on_scale(np.asarray(law.predict(moved, inputs), dtype=np.float64)) / scatter.size

    with np.errstate(all="ignore"):
        return central(predicted, np.where(is_log, 0.0, chosen), steps).T


def _ranges(law: Law, inputs: Array) -> list[Variable]:
    """Return where a run is looked for, by input: within reach of the rows, and nowhere that no run can be."""
    shares = shares_among(inputs)
    found = []
    for p, input_ in enumerate(law.inputs):
        if input_.is_setting:  # another value of it than the rows have may be no setting at all
            known = np.unique(inputs[:, p])
            some = known[np.unique(np.linspace(0, len(known) - 1, SETTINGS).round().astype(int))]
            found.append(Variable(input_.name, float(known[0]), float(known[-1]), values=tuple(some.tolist())))
            continue
        least, most = (0.0, 1.0) if p in shares else (input_.least, input_.most)
        low, high = float(inputs[:, p].min()), float(inputs[:, p].max())
        if low > 0:
            lower, upper = low / REACH, high * REACH
        else:
            lower, upper = low, high + max(high - low, abs(high), 1.0)
        lower, upper = max(lower, min(low, least)), min(upper, max(high, most))
        found.append(Variable(input_.name, lower, upper, is_log=low > 0))
    return found


def _possible(law: Law, inputs: Array, points: Array) -> Array:
    """Return the points (M, P) at which a run can be made, proportions scaled to a whole where they are none.

    Proportions of all domains make a whole in the rows (R, P), and so they do in a run; where one domain is left out,
    the others may make less.
    """
    shares = shares_among(inputs)
    declared = np.array([p for p, input_ in enumerate(law.inputs) if input_.most == 1.0], dtype=np.intp)
    positions = shares if len(shares) else declared
    if len(positions):
        most = max(1.0, float(inputs[:, positions].sum(axis=1).max()))
        total = points[:, positions].sum(axis=1, keepdims=True)
        scale = total if len(shares) else np.maximum(total / most, 1.0)
        points[:, positions] /= np.where(total > 0, scale, np.nan)
        points = points[np.isfinite(points).all(axis=1)] if len(shares) else np.nan_to_num(points)
    faults = law.faults(points)
    return points if faults is None else points[np.array([not fault for fault in faults], dtype=bool)]
