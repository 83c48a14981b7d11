"""Judging a law on rows it has not seen: cross-validation, and the forward check from small runs to large ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.lakehouse.errors import EmptySelection
from isoflop.lakehouse.sql.cancellation import report
from isoflop.queries.fitting import line, mixing
from isoflop.queries.fitting.data import Data
from isoflop.queries.fitting.folds import Fold, ForwardCheck, mean_error
from isoflop.queries.fitting.hull import hull_of
from isoflop.queries.fitting.intervals import predict
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.options import FOLD_OPTIONS, FitOptions
from isoflop.queries.fitting.problem import Problem, optimum
from isoflop.queries.fitting.record import FittedLaw
from isoflop.queries.fitting.scale import residual_scale
from isoflop.queries.fitting.solver.replicate import replicate
from isoflop.queries.fitting.splits import ForwardCuts, Indices, Key
from isoflop.queries.fitting.widening import Cut, growth, learnt
from isoflop.queries.laws.form_mixture import FormMixture
from isoflop.queries.laws.law import Law

Array = NDArray[np.float64]

MANY_FOLDS = 12  # folds from which all are fitted in one batch and share the full fit's resamples
SHARES = (0.5, 0.65, 0.8)  # of rows that the forward cuts learn from [1]: each predicts some that are much larger


@np.errstate(all="ignore")  # what is not finite is looked at where it counts
def cross_validate(
    law: Law,
    data: Data,
    splits: Iterable[tuple[ArrayLike, ArrayLike]],
    options: FitOptions = FOLD_OPTIONS,
) -> list[Fold]:
    """Fit a law to each training part and predict the test part.

    Up to a dozen folds are fits of their own, each with its own search and resamples. More of them differ little
    from the full fit: they are solved in one batch, and their intervals carry the full fit's resamples over.

    Parameters
    ----------
    law : what to fit
    data : usable rows
    splits : pairs of training and test positions among the rows as they were given, e.g. `KFold(5).split(X)`; those
        of unusable rows are left out
    options : how each fold is fitted, 200 resamples unless they say otherwise; without any coverage is nan

    Returns
    -------
    one Fold per split. A fold whose training part is too small has nan measures and says so in its status

    Raises
    ------
    EmptySelection : if no split was given
    """
    place = {position: row for row, position in enumerate(data.kept.tolist())}
    parts = [(_rows_at(train, place), _rows_at(test, place)) for train, test in splits]
    if not parts:
        raise EmptySelection("there is no split to validate on")
    options = replace(options, intervals="percentile")  # those of coefficients are not shown
    if len(parts) > MANY_FOLDS and not isinstance(law, FormMixture):
        return _in_one_batch(law, data, parts, options)
    folds = []
    for number, (train, test) in enumerate(_halves(data, parts)):
        report("folds", number, len(parts))
        if not len(train) or not len(test):
            folds.append(_empty_fold(law, number, train, test))
            continue
        fit = mixing.run(law, train, options)
        fold = _judge(number, train, test, fit.fitted, fit.status, options.level)
        folds.append(replace(fold, coefficients=mixing.in_order_of(law, fit)))
    return folds


def _rows_at(positions: ArrayLike, place: Mapping[int, int]) -> Indices:
    """Usable rows at positions among those given."""
    wanted = np.asarray(positions, dtype=np.int64).tolist()
    return np.array([place[position] for position in wanted if position in place], dtype=np.int64)


def _halves(data: Data, parts: list[tuple[Indices, Indices]]) -> Iterator[tuple[Data, Data]]:
    """The rows to learn from and those to predict, of one fold at a time."""
    for train, test in parts:
        yield data.take(train), data.take(test)


def _in_one_batch(law: Law, data: Data, parts: list[tuple[Indices, Indices]], options: FitOptions) -> list[Fold]:
    """All folds as weight vectors of one solver call, with the full fit's resamples carried over."""
    full = line.run(law, data, options)
    found = None
    if not np.isnan(full.coefficients).any():
        # with the scale the full fit gave the objective, where it has one
        problem = Problem.of(law, data, replace(options, objective=full.solution.penalty.smoothed()))
        generator = np.random.default_rng(options.seed)
        found = optimum(problem, generator, full.coefficients[None])
    if found is None:
        return [_empty_fold(law, number, train, test) for number, (train, test) in enumerate(_halves(data, parts))]
    masks = np.zeros((len(parts), len(data)))
    for number, (rows, _) in enumerate(parts):
        masks[number, rows] = 1.0
    objective, weights = problem.objective, masks * problem.weights
    replicates = replicate(problem.model, found, weights, problem.targets, objective, generator)
    fitted = problem.model.to_coefficients(replicates.theta)
    folds = []
    for number, (train, test) in enumerate(_halves(data, parts)):
        if not len(train) or not len(test):
            folds.append(_empty_fold(law, number, train, test))
            continue
        predicted = np.asarray(law.predict(fitted[number], train.inputs))
        spread = residual_scale(data.scatter.between(train.target, predicted), train.weight, len(problem.free))
        with np.errstate(all="ignore"):
            moved = full.draws * np.where(full.coefficients != 0, fitted[number] / full.coefficients, 1.0)
        own = replace(full.fitted, coefficients=fitted[number], draws=moved, residual_scale=spread)
        folds.append(_judge(number, train, test, own, full.status, options.level))
    return folds


def _judge(number: int, train: Data, test: Data, fitted: FittedLaw, status: str, level: float) -> Fold:
    """The measures of one fold."""
    found = predict(fitted, test.inputs, level=level)
    with np.errstate(all="ignore"):
        error = test.scatter.between(found.predicted, test.target)
        inside = (found.lower <= test.target) & (test.target <= found.upper)
        has_interval = np.isfinite(found.lower).all()
        return Fold(
            fold=number,
            train=train.kept,
            test=test.kept,
            coefficients=fitted.coefficients,
            predicted=found.predicted,
            lower=found.lower,
            upper=found.upper,
            measured=test.target,
            mape=mean_error(test.scatter, test.target, found.predicted),
            rmse_log=float("nan") if test.scatter.is_additive else float(np.sqrt(np.mean(error**2))),
            bias=float(np.mean(error)),
            coverage=float(np.mean(inside)) if has_interval else float("nan"),
            status=status,
        )


def _empty_fold(law: Law, number: int, train: Data, test: Data) -> Fold:
    """A fold without training rows or without test rows."""
    nan, nothing = float("nan"), np.full(len(test), np.nan)
    coefficients = np.full(len(law.coefficients), np.nan)
    return Fold(
        fold=number, train=train.kept, test=test.kept, coefficients=coefficients, predicted=nothing, lower=nothing,
        upper=nothing, measured=test.target, mape=nan, rmse_log=nan, bias=nan, coverage=nan, status="too_few_rows",
    )  # fmt: skip


def forward_check(
    law: Law,
    data: Data,
    options: FitOptions = FOLD_OPTIONS,
    *,
    by: Key = None,
    shares: tuple[float, ...] = SHARES,
) -> ForwardCheck:
    """Train on the smallest rows, predict the larger ones, and measure error and coverage.

    Parameters
    ----------
    law : what to fit
    data : usable rows
    options : how each cut is fitted, 200 resamples unless they say otherwise
    by : what is large: a column, a number for each row that was given, or None for the product of all inputs
    shares : shares of rows to learn from [1]

    Returns
    -------
    ForwardCheck; without folds when there are not enough rows for any cut
    """
    key = by if by is None or isinstance(by, int | str) else np.asarray(by, dtype=np.float64)[data.kept]
    count = law.num_free if isinstance(law, FormMixture) else len(law.coefficients)
    num_free = count - len(options.fixed or {})
    parts = [
        (data.kept[train], data.kept[test])
        for train, test in ForwardCuts(shares, key).split(data.inputs)
        if len(np.unique(data.inputs[train], axis=0)) > num_free
    ]
    folds = [fold for fold in (cross_validate(law, data, parts, options) if parts else []) if _is_whole(fold, data)]
    return _checked(law, folds, data, num_free, options.level)


def _is_whole(fold: Fold, data: Data) -> bool:
    """Whether every row of a fold has a prediction with an interval."""
    is_known = np.isfinite(fold.predicted).all() and np.isfinite(fold.lower).all()
    return bool(is_known and (data.scatter.is_additive or (fold.predicted > 0).all()))


def _cuts(law: Law, folds: list[Fold], data: Data) -> list[Cut]:
    """The forward cuts with how far their larger rows lie beyond those trained on."""
    place = {position: row for row, position in enumerate(data.kept.tolist())}
    found = []
    for fold in folds:
        train, test = (data.inputs[_rows_at(rows, place)] for rows in (fold.train, fold.test))
        distance = hull_of(law, train).distance(test)
        found.append(Cut(fold.predicted, fold.lower, fold.upper, fold.measured, distance, fold.n_train))
    return found


def _checked(law: Law, folds: list[Fold], data: Data, num_free: int, level: float) -> ForwardCheck:
    """What the cuts say together."""
    hull = hull_of(law, data.inputs)
    cuts = _cuts(law, folds, data)
    widening = learnt(hull, data.target, cuts, num_free, level, data.scatter)
    grows = growth(widening, level, data.scatter)
    if not folds:
        nan = float("nan")
        message = "not enough rows to train on the small ones and predict the large ones"
        short = Note("no_forward_check", f"{message}; beyond the rows {grows}, as planted worlds call for")
        return ForwardCheck((), nan, nan, nan, level, widening, (short,))
    predicted = np.concatenate([fold.predicted for fold in folds])
    measured = np.concatenate([fold.measured for fold in folds])
    lower = np.concatenate([fold.lower for fold in folds])
    upper = np.concatenate([fold.upper for fold in folds])
    error = np.abs(data.scatter.between(measured, predicted))
    coverage = float(np.mean((lower <= measured) & (measured <= upper)))
    held = f"trained on the small runs, the {level:.0%} interval held {coverage:.0%} of the large ones"
    note = Note("intervals_widened", f"{held}; beyond the rows {grows}")
    middle, ninth = float(np.median(error)), float(np.quantile(error, 0.9))
    return ForwardCheck(tuple(folds), middle, ninth, coverage, level, widening, (note,), data.scatter)
