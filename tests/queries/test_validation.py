"""Splits, folds and the forward check."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from run_samples import Runs

from isoflop.lakehouse.errors import EmptySelection, UsageError
from isoflop.queries.fitting import (
    FitOptions,
    ForwardCuts,
    KFold,
    LargestHoldout,
    LeaveOneOut,
    cross_validate,
    fit_law,
    forward_check,
    predict,
    usable_rows,
)
from isoflop.queries.laws import CHINCHILLA, POWER

X = np.array([[1.0, 9.0], [2.0, 8.0], [3.0, 7.0], [3.0, 6.0], [4.0, 5.0]])


def _tests(splits: object) -> list[list[int]]:
    return [test.tolist() for _, test in splits]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("splitter", "expected"),
    [
        (LargestHoldout(1, by=0), [[4]]),
        (LargestHoldout(2, by=0), [[2, 3, 4]]),
        (LargestHoldout(percent=30, by=0), [[2, 3, 4]]),
        (LargestHoldout(percent=20, by=0), [[4]]),
        (LargestHoldout(1, by=1), [[0]]),
        (LargestHoldout(1, by=[5, 4, 3, 2, 1]), [[0]]),
        (LargestHoldout(2), [[2, 4]]),
        (LeaveOneOut(), [[0], [1], [2], [3], [4]]),
        (ForwardCuts((0.2, 0.8), by=0), [[1, 2, 3, 4], [4]]),
        (ForwardCuts((0.5, 0.6), by=0), [[2, 3, 4], [4]]),
    ],
)
def test_splits_hold_out_what_they_say(splitter: object, expected: list[list[int]]) -> None:
    splits = list(splitter.split(X))  # type: ignore[attr-defined]
    assert _tests(splits) == expected
    for train, test in splits:
        assert sorted([*train, *test]) == list(range(5))


def test_a_column_of_a_data_frame_can_be_the_key() -> None:
    frame = pd.DataFrame(X, columns=["params", "tokens"])
    assert _tests(LargestHoldout(1, by="params").split(frame)) == [[4]]


def test_folds_cover_every_row_once_and_keep_groups_together() -> None:
    groups = ["a", "a", "b", "c", "c"]
    assert sorted(row for test in _tests(KFold(3).split(X, groups=groups)) for row in test) == list(range(5))
    assert all(set(test) in ({0, 1}, {2}, {3, 4}) for test in _tests(KFold(3).split(X, groups=groups)))
    assert _tests(LeaveOneOut().split(X, groups=groups)) == [[0, 1], [2], [3, 4]]
    assert LeaveOneOut().get_n_splits(X, groups=groups) == 3
    assert _tests(KFold(2, seed=1).split(X)) == _tests(KFold(2, seed=1).split(X))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LargestHoldout(), "how many of the largest"),
        (lambda: LargestHoldout(1, percent=3), "how many of the largest"),
        (lambda: LargestHoldout(0), "cannot hold out the largest 0"),
        (lambda: LargestHoldout(percent=100), "cannot hold out 100"),
        (lambda: list(LargestHoldout(4, by=0).split(X)), "leaves none"),
        (lambda: list(LargestHoldout(percent=50, by=[1, 1, 1, 1, 1]).split(X)), "leaves none to learn from"),
        (lambda: list(LargestHoldout(1, by=[1, 2]).split(X)), "2 values for 5 rows"),
        (lambda: list(LargestHoldout(1, by=[1, 2, 3, 4, np.nan]).split(X)), "missing in 1 rows"),
        (lambda: KFold(1), "cannot make 1 folds"),
        (lambda: list(KFold(6).split(X)), "6 folds of 5 rows"),
        (lambda: list(KFold(3).split(X, groups=[1, 1, 1, 2, 2])), "3 folds of 2 groups"),
        (lambda: list(LeaveOneOut().split(X[:1])), "needs two"),
        (lambda: ForwardCuts((0.5, 1.5)), "not all between"),
    ],
)
def test_impossible_splits_say_why(make: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()  # type: ignore[operator]


def test_folds_report_error_bias_and_coverage_of_rows_they_have_not_seen(planted_rows: Runs) -> None:
    data = usable_rows(CHINCHILLA, planted_rows.inputs, planted_rows.loss)
    folds = cross_validate(CHINCHILLA, data, KFold(4).split(planted_rows.inputs), FitOptions(resamples=100))
    assert [fold.n_test for fold in folds] == [15, 15, 15, 15] and all(fold.n_train == 45 for fold in folds)
    assert all(fold.status == "converged" and fold.mape < 0.01 and abs(fold.bias) < 0.005 for fold in folds)
    assert np.mean([fold.coverage for fold in folds]) > 0.8
    first = folds[0]
    np.testing.assert_array_equal(first.measured, planted_rows.loss[first.test])
    assert first.rmse_log == pytest.approx(np.sqrt(np.mean(np.log(first.predicted / first.measured) ** 2)))
    np.testing.assert_allclose(first.predicted, CHINCHILLA.predict(first.coefficients, planted_rows.inputs[first.test]))


def test_many_folds_in_one_batch_are_the_fits_one_by_one(planted_rows: Runs) -> None:
    data = usable_rows(CHINCHILLA, planted_rows.inputs, planted_rows.loss)
    folds = cross_validate(CHINCHILLA, data, LeaveOneOut().split(planted_rows.inputs), FitOptions(resamples=60))
    assert len(folds) == 60
    for fold in folds[::15]:
        alone = fit_law(CHINCHILLA, planted_rows.inputs[fold.train], planted_rows.loss[fold.train], resamples=0)
        np.testing.assert_allclose(fold.predicted, predict(alone, planted_rows.inputs[fold.test]).predicted, rtol=1e-4)
    assert np.mean([fold.coverage for fold in folds]) > 0.85


def test_unusable_rows_are_left_out_of_every_fold(planted_rows: Runs) -> None:
    loss = planted_rows.loss.copy()
    loss[[0, 1]] = np.nan
    for splitter in (KFold(3), LeaveOneOut()):
        data = usable_rows(CHINCHILLA, planted_rows.inputs, loss)
        folds = cross_validate(CHINCHILLA, data, splitter.split(planted_rows.inputs), FitOptions(resamples=0))
        assert sum(fold.n_test for fold in folds) == 58
        assert all(0 not in fold.train and 1 not in fold.train for fold in folds)
        assert all(np.isnan(fold.coverage) for fold in folds)


def test_a_fold_without_enough_rows_says_so(planted_rows: Runs) -> None:
    data = usable_rows(CHINCHILLA, planted_rows.inputs, planted_rows.loss)
    folds = cross_validate(CHINCHILLA, data, [(np.arange(3), np.arange(3, 60)), ([], [1])])
    assert [fold.status for fold in folds] == ["too_few_rows", "too_few_rows"]
    assert all(np.isnan(fold.mape) for fold in folds)


def test_validation_needs_a_split(planted_rows: Runs) -> None:
    with pytest.raises(EmptySelection, match="no split"):
        cross_validate(CHINCHILLA, usable_rows(CHINCHILLA, planted_rows.inputs, planted_rows.loss), [])


def test_the_forward_check_widens_intervals_that_are_too_narrow(published: Runs) -> None:
    checked = forward_check(CHINCHILLA, usable_rows(CHINCHILLA, published.inputs, published.loss))
    assert len(checked.folds) == 3 and checked.coverage < 0.9
    assert checked.widening.freedom == 7 and 0.0005 < checked.widening.drift < 0.02
    assert 0.002 < checked.median_error < 0.02 < 10 * checked.p90_error
    assert [note.code for note in checked.notes] == ["intervals_widened"]
    size = np.prod(published.inputs, axis=1)
    assert all(size[fold.train].max() <= size[fold.test].min() for fold in checked.folds)


def test_the_forward_check_can_order_by_anything(published: Runs) -> None:
    data = usable_rows(CHINCHILLA, published.inputs, published.loss)
    checked = forward_check(CHINCHILLA, data, FitOptions(resamples=50), by=0, shares=(0.6,))
    fold = checked.folds[0]
    assert published.inputs[fold.train, 0].max() <= published.inputs[fold.test, 0].min()


def test_the_forward_check_says_when_there_are_not_enough_rows() -> None:
    x = np.logspace(5, 8, 4)
    checked = forward_check(POWER, usable_rows(POWER, x, 1 + 30 / x**0.3))
    assert checked.folds == () and checked.widening.freedom == 3 and np.isnan(checked.coverage)
    assert [note.code for note in checked.notes] == ["no_forward_check"]


def test_a_fit_carries_its_forward_check(published: Runs) -> None:
    fit = fit_law(CHINCHILLA, published.inputs, published.loss, resamples=60, forward=True)
    assert fit.forward is not None and fit.widening == fit.forward.widening == fit.fitted.widening
    assert fit.widening is not None and fit.widening.freedom > 3
    assert "intervals_widened" in fit.codes
