"""Judging a law on rows it has not seen: cross-validation, and the forward check from small runs to large ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.lakehouse.errors import EmptySelection
from isoflop.lakehouse.sql.watch import report
from isoflop.queries.fitting.fit import fit_law
from isoflop.queries.fitting.free_scale import for_many
from isoflop.queries.fitting.intervals import predict, residual_scale
from isoflop.queries.fitting.problem import Problem, coefficients_for, solve
from isoflop.queries.fitting.record import FittedLaw, Note
from isoflop.queries.fitting.rows import usable_rows
from isoflop.queries.fitting.solver.choose import model_for
from isoflop.queries.fitting.solver.replicate import replicate
from isoflop.queries.fitting.splits import ForwardCuts, Indices, Key
from isoflop.queries.fitting.widening import widening_factor
from isoflop.queries.laws.law import Law
from isoflop.queries.laws.objectives import Objective

Array = NDArray[np.float64]

MANY_FOLDS = 12  # folds from which all are fitted in one batch and share the full fit's resamples
FORWARD_RESAMPLES = 200


@dataclass(frozen=True, eq=False)
class Fold:
    """A law fitted to some rows and judged on others.

    Parameters
    ----------
    fold : number of the fold, from 0
    train, test : positions among the given rows; unusable rows are left out
    coefficients : (K,) fitted to the training rows; nan when they are too few
    predicted, lower, upper : (T,) for the test rows, with prediction intervals
    measured : (T,) test values
    mape : mean of |predicted / measured - 1| [1]
    rmse_log : root mean square of log predicted - log measured [1]
    bias : mean of log predicted - log measured [1]; positive when the law is pessimistic about loss
    coverage : share of test rows inside their interval [1]
    status : of the fit
    """

    fold: int
    train: Indices
    test: Indices
    coefficients: Array
    predicted: Array
    lower: Array
    upper: Array
    measured: Array
    mape: float
    rmse_log: float
    bias: float
    coverage: float
    status: str

    @property
    def n_train(self) -> int:
        """Number of training rows."""
        return len(self.train)

    @property
    def n_test(self) -> int:
        """Number of test rows."""
        return len(self.test)


def cross_validate(
    law: Law,
    X: ArrayLike,
    y: ArrayLike,
    splits: Iterable[tuple[ArrayLike, ArrayLike]],
    *,
    sample_weight: ArrayLike | None = None,
    objective: Objective | None = None,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    resamples: int = FORWARD_RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
    init: Mapping[str, float] | None = None,
    fixed: Mapping[str, float] | None = None,
) -> list[Fold]:
    """Fit a law to each training part and predict the test part.

    Up to a dozen folds are fits of their own, each with its own search and resamples. More of them differ little
    from the full fit: they are solved in one batch, and their intervals carry the full fit's resamples over.

    Parameters
    ----------
    law : what to fit
    X, y, sample_weight, objective, groups, seed, level, init, fixed : as for `fit_law`
    splits : pairs of training and test positions, e.g. `KFold(5).split(X)`
    resamples : resamples behind the intervals; 0 leaves coverage nan

    Returns
    -------
    one Fold per split. A fold whose training part is too small has nan measures and says so in its status

    Raises
    ------
    EmptySelection : if no row is usable, or no split was given
    """
    parts = [(np.asarray(train, dtype=np.int64), np.asarray(test, dtype=np.int64)) for train, test in splits]
    if not parts:
        raise EmptySelection("there is no split to validate on")
    inputs, values = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64).reshape(-1)
    inputs = inputs[:, None] if inputs.ndim == 1 else inputs
    weights = np.ones(len(values)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    usable = usable_rows(law, inputs, values, weights, groups)
    kept = set(usable.kept.tolist())
    parts = [(_within(train, kept), _within(test, kept)) for train, test in parts]
    options: dict[str, Any] = {
        "objective": objective, "resamples": resamples, "seed": seed, "level": level, "init": init, "fixed": fixed,
    }  # fmt: skip
    if len(parts) > MANY_FOLDS:
        return _in_one_batch(law, inputs, values, weights, groups, parts, options)
    folds = []
    for number, (train, test) in enumerate(parts):
        report("folds", number, len(parts))
        if not len(train) or not len(test):
            folds.append(_empty_fold(law, number, train, test, values))
            continue
        own = None if groups is None else [groups[int(k)] for k in train]
        fit = fit_law(law, inputs[train], values[train], sample_weight=weights[train], groups=own, **options)
        folds.append(_judge(number, train, test, fit.fitted, fit.status, inputs, values, level))
    return folds


def _within(positions: Indices, kept: set[int]) -> Indices:
    return np.array([k for k in positions.tolist() if k in kept], dtype=np.int64)


def _in_one_batch(
    law: Law,
    inputs: Array,
    values: Array,
    weights: Array,
    groups: Any,
    parts: list[tuple[Indices, Indices]],
    options: dict[str, Any],
) -> list[Fold]:
    """All folds as weight vectors of one solver call, with the full fit's resamples carried over."""
    full = fit_law(law, inputs, values, sample_weight=weights, groups=groups, **options)
    if full.status == "too_few_rows" or np.isnan(full.coefficients).any():
        return [_empty_fold(law, number, train, test, values) for number, (train, test) in enumerate(parts)]
    coefficients = coefficients_for(law, options["init"], options["fixed"])
    rows = usable_rows(law, inputs, values, weights, groups)
    objective = for_many(full.penalty)  # with the scale the full fit gave it, where it has one
    solved = law.surrogate or law
    problem = Problem(
        solved, coefficients, rows, objective, model_for(solved, coefficients, rows.inputs, rows.values, objective)
    )
    generator = np.random.default_rng(options["seed"])
    found = solve(problem, generator, full.coefficients[None])
    if found is None:
        return [_empty_fold(law, number, train, test, values) for number, (train, test) in enumerate(parts)]
    masks = np.zeros((len(parts), len(rows)))
    for number, (train, _) in enumerate(parts):
        masks[number, np.searchsorted(rows.kept, train)] = 1.0
    replicates = replicate(problem.model, found, masks * problem.weights, problem.targets, objective, generator)
    fitted = problem.model.to_coefficients(replicates.theta)
    folds = []
    for number, (train, test) in enumerate(parts):
        if not len(train) or not len(test):
            folds.append(_empty_fold(law, number, train, test, values))
            continue
        predicted = np.asarray(law.predict(fitted[number], inputs[train]))
        spread = residual_scale(np.log(values[train] / predicted), weights[train], len(problem.free))
        with np.errstate(all="ignore"):
            moved = full.draws * np.where(full.coefficients != 0, fitted[number] / full.coefficients, 1.0)
        own = replace(full.fitted, coefficients=fitted[number], draws=moved, residual_scale=spread)
        folds.append(_judge(number, train, test, own, full.status, inputs, values, options["level"]))
    return folds


def _judge(
    number: int,
    train: Indices,
    test: Indices,
    fitted: FittedLaw,
    status: str,
    inputs: Array,
    values: Array,
    level: float,
) -> Fold:
    """The measures of one fold."""
    found = predict(fitted, inputs[test], level=level)
    measured = values[test]
    with np.errstate(all="ignore"):
        error = np.log(found.predicted / measured)
        inside = (found.lower <= measured) & (measured <= found.upper)
        has_interval = np.isfinite(found.lower).all()
        return Fold(
            fold=number,
            train=train,
            test=test,
            coefficients=fitted.coefficients,
            predicted=found.predicted,
            lower=found.lower,
            upper=found.upper,
            measured=measured,
            mape=float(np.mean(np.abs(found.predicted / measured - 1))),
            rmse_log=float(np.sqrt(np.mean(error**2))),
            bias=float(np.mean(error)),
            coverage=float(np.mean(inside)) if has_interval else float("nan"),
            status=status,
        )


def _empty_fold(law: Law, number: int, train: Indices, test: Indices, values: Array) -> Fold:
    """A fold without training rows or without test rows."""
    nan, nothing = float("nan"), np.full(len(test), np.nan)
    coefficients = np.full(len(law.coefficients), np.nan)
    return Fold(
        number, train, test, coefficients, nothing, nothing, nothing, values[test], nan, nan, nan, nan, "too_few_rows"
    )


@dataclass(frozen=True, eq=False, repr=False)
class ForwardCheck:
    """How well the small runs foretold the large ones.

    Parameters
    ----------
    folds : one per cut, from little to learn from to much
    median_error, p90_error : quantiles of |log predicted - log measured| over all held-out rows [1]
    coverage : share of them inside their intervals [1]
    level : what it should be [1]
    widening : factor >= 1 on intervals far beyond the rows (`widening_factor`)
    notes : what a person should know
    """

    folds: tuple[Fold, ...]
    median_error: float
    p90_error: float
    coverage: float
    level: float
    widening: float
    notes: tuple[Note, ...]

    def __repr__(self) -> str:
        if not self.folds:
            return "forward check: not enough rows"
        return (
            f"forward check over {len(self.folds)} cuts: median error {self.median_error:.2%}, "
            f"p90 {self.p90_error:.2%}, {self.coverage:.0%} inside the {self.level:.0%} interval, "
            f"widened up to {self.widening:.2f} times beyond the rows"
        )


def forward_check(
    law: Law,
    X: ArrayLike,
    y: ArrayLike,
    *,
    by: Key = None,
    shares: tuple[float, ...] = (0.5, 0.65, 0.8),
    sample_weight: ArrayLike | None = None,
    objective: Objective | None = None,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    resamples: int = FORWARD_RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
    init: Mapping[str, float] | None = None,
    fixed: Mapping[str, float] | None = None,
) -> ForwardCheck:
    """Train on the smallest rows, predict the larger ones, and measure error and coverage.

    Parameters
    ----------
    law, X, y, sample_weight, objective, groups, seed, level, init, fixed : as for `fit_law`
    by : what is large: a column, R numbers, or None for the product of all inputs
    shares : shares of rows to learn from [1]
    resamples : per cut

    Returns
    -------
    ForwardCheck; without folds when there are not enough rows for any cut
    """
    usable = usable_rows(law, X, y, sample_weight, groups)
    key = by if by is None or isinstance(by, int | str) else np.asarray(by, dtype=np.float64)[usable.kept]
    num_free = len(law.coefficients) - len(fixed or {})
    parts = [
        (train, test)
        for train, test in ForwardCuts(shares, key).split(usable.inputs)
        if len(np.unique(usable.inputs[train], axis=0)) > num_free
    ]
    nan = float("nan")
    short = Note("no_forward_check", "not enough rows to train on the small ones and predict the large ones")
    if not parts:
        return ForwardCheck((), nan, nan, nan, level, 1.0, (short,))
    folds = [
        fold
        for fold in cross_validate(
            law, usable.inputs, usable.values, parts, sample_weight=usable.weights, groups=usable.groups,
            objective=objective, resamples=resamples, seed=seed, level=level, init=init, fixed=fixed,
        )
        if np.isfinite(fold.predicted).all() and np.isfinite(fold.lower).all() and (fold.predicted > 0).all()
    ]  # fmt: skip
    if not folds:
        return ForwardCheck((), nan, nan, nan, level, 1.0, (short,))
    predicted, lower, upper, measured = (
        np.concatenate([getattr(fold, name) for fold in folds]) for name in ("predicted", "lower", "upper", "measured")
    )
    error = np.log(measured / predicted)
    coverage = float(np.mean((lower <= measured) & (measured <= upper)))
    widening = widening_factor(folds, len(usable), num_free, level)
    held = f"trained on the small runs, the {level:.0%} interval held {coverage:.0%} of the large ones"
    notes = (
        Note("intervals_widened", f"{held}; beyond the rows it is widened up to {widening:.2f} times")
        if widening > 1.0
        else Note("intervals_hold", held),
    )
    return ForwardCheck(
        tuple(folds),
        float(np.median(np.abs(error))),
        float(np.quantile(np.abs(error), 0.9)),
        coverage,
        level,
        widening,
        notes,
    )
