"""The line of a fit: data that is checked once, options, and steps that anyone can take one by one."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path

import numpy as np
import pytest

import isoflop.queries.fitting
from isoflop.lakehouse.errors import UsageError
from isoflop.queries.fitting import FitOptions, fit_data, fit_law, forward_check, usable_rows
from isoflop.queries.fitting.draws import percentiles, resample
from isoflop.queries.fitting.fit import CUT_RESAMPLES
from isoflop.queries.fitting.judge import judge
from isoflop.queries.fitting.options import FORWARD_RESAMPLES, FitKeywords
from isoflop.queries.fitting.problem import Problem
from isoflop.queries.fitting.solution import solve
from isoflop.queries.laws import CHINCHILLA, Huber
from tests.queries.run_samples import Runs

MOST_PARAMETERS = 8  # of a function: more of them want to be a record


def test_rows_taken_keep_their_places_and_number_their_groups_anew(planted_rows: Runs) -> None:
    loss = planted_rows.loss.copy()
    loss[3] = np.nan
    data = usable_rows(CHINCHILLA, planted_rows.inputs, loss, np.arange(1, 61), [k // 10 for k in range(60)])
    assert len(data) == 59 and data.num_groups == 6 and data.num_dropped == 1
    some = data.take(np.array([58, 57, 2, 3]))
    assert some.kept.tolist() == [59, 58, 2, 4] and some.weight.tolist() == [60, 59, 3, 5]
    assert some.group is not None and some.group.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(some.inputs, planted_rows.inputs[[59, 58, 2, 4]])
    assert some.num_dropped == 0 and data.take(np.arange(59)).data_hash == data.data_hash


def test_the_steps_taken_one_by_one_are_the_fit(planted_rows: Runs) -> None:
    options = FitOptions(resamples=40, seed=7, level=0.9)
    data = usable_rows(CHINCHILLA, planted_rows.inputs, planted_rows.loss)
    generator = np.random.default_rng(7)
    problem = Problem.of(CHINCHILLA, data, options)
    solution = solve(problem, options, generator)
    resampled = resample(problem, solution, options, generator)
    verdict = judge(problem, solution, resampled, percentiles(resampled))
    whole = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=40, seed=7, level=0.9)
    np.testing.assert_array_equal(solution.coefficients, whole.coefficients)
    np.testing.assert_array_equal(resampled.draws, whole.draws)
    np.testing.assert_array_equal(percentiles(resampled).lower, whole.lower)
    assert verdict == whole.verdict and verdict.status == "converged"


@pytest.mark.slow
@pytest.mark.parametrize(("resamples", "taken"), [(0, FORWARD_RESAMPLES), (30, 30), (1000, FORWARD_RESAMPLES)])
def test_a_fit_with_few_resamples_has_a_quick_forward_check(planted_rows: Runs, resamples: int, taken: int) -> None:
    options = FitOptions(resamples=resamples, forward=True, seed=2)
    assert options.of_cuts == FitOptions(resamples=taken, seed=2)
    if resamples < 1000:
        data = usable_rows(CHINCHILLA, planted_rows.inputs, planted_rows.loss)
        found = fit_data(CHINCHILLA, data, options)
        assert found.forward is not None and found.widening is not None
        assert found.notes[-1] == found.forward.notes[0] and found.notes[-1] not in found.verdict.notes
        # from where the whole fit ended a cut comes to the same coefficients as by a search of its own
        alone = forward_check(CHINCHILLA, data, FitOptions(resamples=min(taken, CUT_RESAMPLES), seed=2))
        assert found.widening.drift == pytest.approx(alone.widening.drift, rel=0.01)
        for fold, own in zip(found.forward.folds, alone.folds, strict=True):
            np.testing.assert_allclose(fold.predicted, own.predicted, rtol=1e-5)


def test_without_coefficients_there_is_nothing_to_check_forward(planted_rows: Runs) -> None:
    few = fit_law(CHINCHILLA, planted_rows.inputs[:3], planted_rows.loss[:3], forward=True)
    assert few.status == "too_few_rows" and few.forward is None and few.codes[-1] == "too_few_rows"
    assert not len(few.draws) and np.isnan(few.lower).all() and np.isnan(few.criteria.aicc)


def test_a_forward_cut_names_the_rows_as_they_were_given(planted_rows: Runs) -> None:
    loss = planted_rows.loss.copy()
    smallest = int(np.argmin(planted_rows.inputs.prod(axis=1)))
    loss[smallest] = np.nan
    checked = forward_check(CHINCHILLA, usable_rows(CHINCHILLA, planted_rows.inputs, loss), FitOptions(resamples=20))
    for fold in checked.folds:
        assert smallest not in fold.train.tolist() + fold.test.tolist()
        np.testing.assert_array_equal(fold.measured, loss[fold.test])


def test_a_fit_comes_back_from_a_pickle(planted_rows: Runs) -> None:
    fit = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=20, objective=Huber(1e-2))
    again = pickle.loads(pickle.dumps(fit))
    assert repr(again) == repr(fit) and again.data.data_hash == fit.data.data_hash


def test_options_are_checked_where_they_are_made() -> None:
    for wrong, what in (({"resamples": -1}, "resamples"), ({"level": 1.0}, "level"), ({"seed": -1}, "seed")):
        with pytest.raises(UsageError, match=f"^{what} is "):
            FitOptions(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="intervals 'profiles' do not exist"):
        FitOptions(intervals="profiles")


def test_every_option_is_a_keyword_of_the_thin_front() -> None:
    assert set(FitKeywords.__annotations__) == set(FitOptions.__dataclass_fields__)


def test_no_function_of_fitting_takes_more_than_eight_parameters() -> None:
    wide = []
    for path in sorted(Path(isoflop.queries.fitting.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                taken = node.args
                count = len([*taken.posonlyargs, *taken.args, *taken.kwonlyargs])
                count += (taken.vararg is not None) + (taken.kwarg is not None)
                if count > MOST_PARAMETERS:
                    wide.append(f"{path.name}:{node.lineno} {node.name} takes {count}")
    assert not wide
