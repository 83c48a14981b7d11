"""Several laws on the same rows, averaged: a forecast that does not bet on one form.

Every law is fitted to the same resamples of the rows, so that chance in drawing them favors none. Which law is right
is then weighed in one of two ways: by how often it predicts the rows a resample left out best, or by its criterion.

Source: Buckland, Burnham and Augustin 1997, Biometrics 53, 603.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.lakehouse.errors import EmptySelection, UsageError
from isoflop.queries.fitting.data import Data, usable_rows
from isoflop.queries.fitting.fit import fit_data
from isoflop.queries.fitting.intervals import Prediction, predict
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.options import FOLD_OPTIONS, FitOptions
from isoflop.queries.fitting.record import Fit
from isoflop.queries.fitting.resampling import GivenWeights, paired_counts
from isoflop.queries.laws.law import Law
from isoflop.queries.laws.objectives import Objective

Array = NDArray[np.float64]

WEIGHINGS = ("resamples", "aicc")
Inputs = ArrayLike | Mapping[str, ArrayLike]


@dataclass(frozen=True, eq=False)
class LawAverage:
    """Laws fitted to the same rows and resamples, each with a weight.

    Parameters
    ----------
    fits : one per law
    names : what each law is called, and its inputs go by
    weights : one per law, >= 0 and 1 together
    weighing : where they come from, one of `WEIGHINGS`
    notes : what the user should know
    """

    fits: tuple[Fit, ...]
    names: tuple[str, ...]
    weights: Array
    weighing: str
    notes: tuple[Note, ...]

    def predict(self, X: Inputs, level: float = 0.95, kind: str = "prediction") -> Prediction:
        """Return the averaged prediction, with an interval that holds the disagreement of the laws as well.

        Parameters
        ----------
        X : inputs as for `shared_data`
        level, kind : as for `predict`
        """
        own = [predict(fit, _inputs_of(X, name), level, kind) for fit, name in zip(self.fits, self.names, strict=True)]
        scatter = self.fits[0].data.scatter
        middle = self.weights @ np.array([scatter.on_scale(prediction.predicted) for prediction in own])
        lower = self._end(own, (1 - level) / 2)
        upper = self._end(own, (1 + level) / 2)
        first = own[int(np.argmax(self.weights))]
        inside = np.all([prediction.in_support for prediction in own], axis=0)
        return Prediction(scatter.off_scale(middle), lower, upper, level, kind, first.ratio, inside)

    def _end(self, own: Sequence[Prediction], share: float) -> Array:
        """The quantile (R,) of a mixture of normals on the scale of the scatter, one to each law and side."""
        from scipy.special import ndtr, ndtri

        scatter = self.fits[0].data.scatter

        sides = np.array(
            [
                [
                    scatter.between(prediction.predicted, prediction.lower),
                    scatter.between(prediction.upper, prediction.predicted),
                ]
                for prediction in own
            ]
        )
        scales = sides / ndtri((1 + own[0].level) / 2)  # (L, 2, R)
        centers = np.array([scatter.on_scale(prediction.predicted) for prediction in own])
        low, high = (
            np.min(centers, axis=0) - 12 * scales.max(axis=(0, 1)),
            np.max(centers, axis=0) + 12 * scales.max(axis=(0, 1)),
        )
        for _ in range(60):
            place = 0.5 * (low + high)
            offset = place - centers
            scale = np.where(offset < 0, scales[:, 0], scales[:, 1])
            below = self.weights @ ndtr(offset / np.maximum(scale, 1e-300))
            low, high = np.where(below < share, place, low), np.where(below < share, high, place)
        return scatter.off_scale(0.5 * (low + high))


def shared_data(
    laws: Sequence[Law],
    X: Inputs,
    y: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    sample_weight: ArrayLike | None = None,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    label: Callable[[int], str] | None = None,
    objective: Objective | None = None,
) -> list[Data]:
    """Return the rows that every law can be fitted to, as the data of each.

    Parameters
    ----------
    laws : with the same target
    X : (R, P) inputs that all of them take, or the inputs of each by its name
    y : (R,) measured values
    names : what the inputs of each law go by; their own names when None
    sample_weight : (R,) weights >= 0
    groups : (R,) labels of rows that are resampled together
    label : what notes call the row at a position; `row` and the position from 0 when None
    objective : what is minimized for all of them; that of the first law when None

    Raises
    ------
    UsageError : if there are no inputs for a law
    FitError : if shapes do not match or a weight is negative
    EmptySelection : if no row can be used by all of them
    """
    titles = [law.name for law in laws] if names is None else names
    inputs = [_inputs_of(X, name) for name in titles]
    try:
        read = [
            usable_rows(law, own, y, sample_weight, groups, label, objective or laws[0].objective)
            for law, own in zip(laws, inputs, strict=True)
        ]
    except EmptySelection as error:
        raise EmptySelection("no row can be used by every law") from error
    kept = functools.reduce(np.intersect1d, [data.kept for data in read])
    if not len(kept):
        raise EmptySelection("no row can be used by every law")
    return [data.take(np.searchsorted(data.kept, kept)) for data in read]


def average_laws(
    laws: Sequence[Law],
    data: Sequence[Data],
    options: FitOptions = FOLD_OPTIONS,
    *,
    names: Sequence[str] | None = None,
    weighing: str = WEIGHINGS[0],
) -> LawAverage:
    """Fit several laws to the same rows and resamples and weigh them.

    Parameters
    ----------
    laws : two or more, with the same target
    data : the same rows for each (`shared_data`)
    options : how they are fitted, with 200 resamples unless they say otherwise. Without an objective the first law's
        is minimized for all, because laws are compared by it
    names : what the laws are called, all different; their own names when None
    weighing : `resamples` for the share of resamples whose left-out rows a law predicts best, `aicc` for
        exp(-aicc / 2), which trusts the density of the residuals

    Raises
    ------
    UsageError : if there are fewer than two laws, two of one name, rows that differ, or no such weighing
    EmptySelection : if no law could be fitted
    """
    titles = tuple(law.name for law in laws) if names is None else tuple(names)
    _check_average(titles, data, options, weighing)
    counts = paired_counts(data[0], options.resamples, options.seed)
    penalty = options.objective or laws[0].objective
    how = replace(options, objective=penalty, resampling=GivenWeights(counts) if options.resamples else None)
    fits = [fit_data(law, own, how) for law, own in zip(laws, data, strict=True)]
    found = [k for k, fit in enumerate(fits) if not np.isnan(fit.coefficients).any()]
    if not found:
        raise EmptySelection(f"none of the laws could be fitted: {'; '.join(str(fit.reason) for fit in fits)}")
    fitted = [fits[k] for k in found]
    notes = [Note("law_left_out", f"{titles[k]}: {fits[k].reason}") for k in range(len(fits)) if k not in found]
    if weighing == "resamples":
        weights = _share_of_wins(fitted, counts, penalty)
        how_weighed = f"share of {len(counts)} paired resamples whose left-out rows each predicts best"
    else:
        weights = _by_criterion(fitted)
        how_weighed = "exp(-aicc / 2)"
    shown = ", ".join(f"{titles[k]} {share:.0%}" for k, share in zip(found, weights, strict=True))
    notes.append(Note("weighed_by", f"{shown}: {how_weighed}"))
    return LawAverage(tuple(fitted), tuple(titles[k] for k in found), weights, weighing, tuple(notes))


def _check_average(titles: Sequence[str], data: Sequence[Data], options: FitOptions, weighing: str) -> None:
    """Check that laws can be averaged."""
    if len(titles) < 2 or len(set(titles)) < len(titles):
        raise UsageError(f"cannot average {', '.join(titles) or 'no laws'}; name two or more, each once")
    if weighing not in WEIGHINGS:
        raise UsageError(f"weighing '{weighing}' does not exist; choose from {', '.join(WEIGHINGS)}")
    if weighing == "resamples" and not options.resamples:
        raise UsageError("weighing 'resamples' needs resamples, got 0", hint="weigh by 'aicc', or take 200 resamples")
    if any(not np.array_equal(own.kept, data[0].kept) for own in data):
        raise UsageError("the laws are given different rows", hint="take those of shared_data(laws, X, y)")


def _inputs_of(X: Inputs, name: str) -> Array:
    """The inputs (R, P) of one law."""
    if isinstance(X, Mapping):
        if name not in X:
            raise UsageError(f"there are no inputs for {name}; give them under its name")
        X = X[name]
    columns = np.asarray(X, dtype=np.float64)
    return columns[:, None] if columns.ndim == 1 else columns


def _by_criterion(fits: Sequence[Fit]) -> Array:
    """Weights by aicc, 1 together."""
    criterion = np.array([fit.criteria.aicc for fit in fits])
    excess = criterion - min(criterion.tolist())
    weights = np.exp(-0.5 * np.nan_to_num(excess, nan=np.inf))
    return np.asarray(weights / weights.sum() if weights.sum() > 0 else np.full(len(fits), 1 / len(fits)))


def _share_of_wins(fits: Sequence[Fit], counts: Array, penalty: Objective) -> Array:
    """How often each law predicts the rows that a resample left out best."""
    costs = np.full((len(fits), len(counts)), np.inf)
    for k, fit in enumerate(fits):
        if len(fit.draws) != len(counts):  # some resamples failed: they cannot be paired any more
            continue
        with np.errstate(all="ignore"):
            scatter = fit.data.scatter
            predicted = scatter.on_scale(np.asarray(fit.law.predict(fit.draws, fit.data.inputs)))
            left = (scatter.on_scale(fit.data.target) - predicted) / scatter.size
        cost, _, _ = penalty.weigh(left, True)
        costs[k] = np.nan_to_num(np.where(counts == 0, fit.data.weight * cost, 0.0), nan=np.inf).sum(axis=1)
    if not np.isfinite(costs).any():
        return np.full(len(fits), 1 / len(fits))
    # What ties shares the win: the same law under two names is as likely under each.
    is_best = costs == costs.min(axis=0)
    wins = (is_best / is_best.sum(axis=0)).sum(axis=1)
    return np.asarray(wins / wins.sum())
