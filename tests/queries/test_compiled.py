"""The compiled descent gives what NumPy gives; without numba these tests are skipped and NumPy does all."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from run_samples import Runs

from isoflop.queries.fitting import fit_law
from isoflop.queries.fitting.solver import compiled
from isoflop.queries.fitting.solver.choose import model_for
from isoflop.queries.laws import (
    CHINCHILLA,
    AsymmetricHuber,
    Huber,
    HuberLikelihood,
    LeastAbsolute,
    LeastSquares,
    Objective,
)

numba = pytest.importorskip("numba")

OBJECTIVES = [Huber(1e-3), Huber(0.1), LeastSquares(), LeastAbsolute(1e-3), HuberLikelihood(1e-3, 4.7e-6)]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@pytest.mark.parametrize("exact", [True, False])
def test_objective_gradient_and_curvature_agree(published: Runs, objective: Objective, exact: bool) -> None:
    from isoflop.queries.fitting.solver.kernels import _evaluate, _room

    model = model_for(CHINCHILLA, CHINCHILLA.coefficients, published.inputs, published.loss, objective)
    targets, generator = model.targets(published.loss)[None], np.random.default_rng(0)
    weights = generator.uniform(0, 2, (1, 240))
    best = model.from_coefficients(np.array([1.8, 480.0, 2000.0, 0.35, 0.36]))
    for theta in best + generator.normal(0, 0.3, (6, 5)):
        residuals, state = model.residuals(theta[None], targets, 2)
        penalty, influence, curvature = objective.weigh(residuals, exact)
        gradient, matrix = model.expand(state, influence * weights, curvature * weights, exact)
        slopes, bends, rows = np.empty(5), np.empty((5, 5)), (weights[0], targets[0])
        room, wanted = _room(3, 240), compiled.penalty_of(objective)
        value = _evaluate(theta, rows, model.tables, wanted, exact, room, slopes, bends)  # type: ignore[attr-defined]
        assert value == pytest.approx(float((penalty * weights).sum()), rel=1e-10)
        np.testing.assert_allclose(slopes, gradient[0], rtol=1e-10, atol=1e-10 * np.abs(gradient).max())
        np.testing.assert_allclose(bends, matrix[0], rtol=1e-10, atol=1e-10 * np.abs(matrix).max())


def test_exponential_and_logarithm_are_exact_to_rounding() -> None:
    from isoflop.queries.fitting.solver.kernels import _exp_in_place, _log_into

    x = np.concatenate([np.linspace(-690, 690, 4001), np.linspace(-1, 1, 4001)])
    found, bits, logs = x.copy(), np.empty(len(x), dtype=np.int64), np.empty(len(x))
    _exp_in_place(found, bits)
    np.testing.assert_allclose(found, np.exp(x), rtol=1e-14)
    _log_into(found, logs, bits)
    np.testing.assert_allclose(logs, np.log(found), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("objective", [Huber(1e-3), LeastSquares()], ids=repr)
def test_whole_fits_agree(published: Runs, objective: Objective) -> None:
    with compiled.switched(True):
        fast = fit_law(CHINCHILLA, published.inputs, published.loss, objective=objective, resamples=200)
    with compiled.switched(False):
        plain = fit_law(CHINCHILLA, published.inputs, published.loss, objective=objective, resamples=200)
    assert fast.objective == pytest.approx(plain.objective, rel=1e-10)
    assert fast.status == plain.status and fast.solution.search.starts == plain.solution.search.starts
    np.testing.assert_allclose(fast.coefficients, plain.coefficients, rtol=1e-7)
    np.testing.assert_allclose(fast.std_errors, plain.std_errors, rtol=1e-5)


def test_bounds_and_starts_without_a_value_are_handled(published: Runs) -> None:
    model = model_for(CHINCHILLA, CHINCHILLA.coefficients, published.inputs, published.loss, Huber())
    targets, weights = model.targets(published.loss)[None], np.ones((1, 240))
    theta = np.tile(model.from_coefficients(np.array([1.8, 480.0, 2000.0, 0.35, 0.36])), (40, 1))
    theta[0] = np.nan
    theta[1] = model.upper
    found = compiled.descend_compiled(model, theta, weights, targets, Huber(), exact=True, max_steps=80, tolerance=1e-9)
    assert found is not None
    ends, values, settled = found
    assert np.isinf(values[0]) and not settled[0] and settled[2:].all()
    assert ((ends[1:] >= model.lower) & (ends[1:] <= model.upper)).all()
    np.testing.assert_allclose(values[2:], values[2], rtol=1e-9)


def test_other_objectives_and_small_jobs_stay_with_numpy(published: Runs) -> None:
    model = model_for(CHINCHILLA, CHINCHILLA.coefficients, published.inputs, published.loss, Huber())
    targets, weights, theta = model.targets(published.loss)[None], np.ones((1, 240)), np.zeros((40, 5))
    options = {"exact": True, "max_steps": 3, "tolerance": 1e-9}
    assert compiled.descend_compiled(model, theta, weights, targets, AsymmetricHuber(), **options) is None  # type: ignore[arg-type]
    assert compiled.descend_compiled(model, theta[:1], weights, targets, Huber(), **options) is None  # type: ignore[arg-type]
    with compiled.switched(False):
        assert compiled.descend_compiled(model, theta, weights, targets, Huber(), **options) is None  # type: ignore[arg-type]


def test_it_can_be_switched_off_and_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys, isoflop.queries.fitting as f; assert 'numba' not in sys.modules\n"
        "from isoflop.queries.fitting.solver.compiled import is_available; print(is_available())"
    )
    for value, expected in (("", "True"), ("1", "False")):
        done = subprocess.run(
            [sys.executable, "-c", code], env={"ISOFLOP_NO_COMPILED": value}, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected
