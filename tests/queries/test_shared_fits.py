"""One fit of several groups with coefficients in common: the joint optimum, its derivatives, draws and criteria."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import least_squares

from isoflop.lakehouse.errors import UsageError
from isoflop.queries.fitting.data import Data
from isoflop.queries.fitting.fit import fit_law
from isoflop.queries.fitting.options import FitOptions
from isoflop.queries.fitting.shared import SharedFit, StratifiedBootstrap, fit_shared
from isoflop.queries.fitting.shared_law import SharedLaw
from isoflop.queries.fitting.solver.general import GeneralModel
from isoflop.queries.fitting.solver.stacked import StackedModel
from isoflop.queries.laws import CHINCHILLA, NQS, Law, LeastSquares, RelativeSquares
from isoflop.queries.laws.objectives import Link
from isoflop.queries.planning.gain import Recipe, compute_gain

BASE = np.array([1.7, 400.0, 410.0, 0.34, 0.28])  # E, A, B, alpha, beta
OTHER = np.array([1.7, 400.0 * 2**0.34, 410.0 * 1.5**0.28, 0.34, 0.28])
SHARED = ("E", "alpha", "beta")


def rows(groups: list[np.ndarray], noise: float = 0.005, seed: int = 0, each: int = 6) -> Data:
    params, tokens = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, each), np.geomspace(1e9, 1e12, 5)))
    generator = np.random.default_rng(seed)
    inputs, loss = [], []
    for number, values in enumerate(groups):
        at = np.column_stack([params, tokens])
        inputs.append(np.column_stack([at, np.full(len(at), float(number))]))
        loss.append(CHINCHILLA.predict(values, at) * np.exp(noise * generator.standard_normal(len(at))))
    target = np.concatenate(loss)
    return Data(np.concatenate(inputs), target, np.ones(len(target)), None, None, np.arange(len(target)), {})


def fitted(
    groups: list[np.ndarray], shared: tuple[str, ...] = SHARED, *, resamples: int = 0, **how: float
) -> SharedFit:
    labels = [str(number) for number in range(len(groups))]
    options = FitOptions(objective=LeastSquares(), resamples=resamples)
    return fit_shared(CHINCHILLA, rows(groups, **how), labels, shared, options)


@pytest.mark.parametrize("shared", [(), ("A",), ("beta", "E"), ("E", "A", "B", "alpha", "beta")])
def test_derivatives_are_those_of_differences(shared: tuple[str, ...]) -> None:
    law = SharedLaw(CHINCHILLA, shared, ("a", "b"))
    inputs = rows([BASE, OTHER]).inputs[::7]
    names = [one.name for one in CHINCHILLA.coefficients]
    base = np.array([BASE[names.index(one.name.partition("[")[0])] for one in law.coefficients])
    values = base * (1 + 0.01 * np.arange(len(base)))  # of two groups none has the other's
    plain = Law.jacobian(law, values, inputs)
    np.testing.assert_allclose(law.jacobian(values, inputs), plain, rtol=1e-5, atol=1e-9 * np.abs(plain).max())
    value, slopes, bends = law.curvatures(values[None], inputs)
    np.testing.assert_allclose(value[0], law.predict(values, inputs))
    np.testing.assert_allclose(slopes[0], law.jacobian(values, inputs))
    assert bends is not None
    second = np.empty((len(values), len(values), len(inputs)))
    for k, step in enumerate(1e-5 * values):
        moved = step * np.eye(len(values))[k]
        second[k] = (law.jacobian(values + moved, inputs) - law.jacobian(values - moved, inputs)) / (2 * step)
    for position, (j, k) in enumerate(zip(*np.triu_indices(len(values)), strict=True)):
        np.testing.assert_allclose(bends[0, position], second[j, k], rtol=1e-4, atol=1e-9 * np.abs(second).max())


def test_the_optimum_is_that_of_another_solver() -> None:
    data = rows([BASE, OTHER])
    found = fitted([BASE, OTHER])
    law = found.joint.law

    def residuals(theta: np.ndarray) -> np.ndarray:
        values = np.concatenate([theta[:3], np.exp(theta[3:])])
        return np.log(data.target / law.predict(values, data.inputs))

    start = np.concatenate([[1.6, 0.3, 0.3], np.log([300.0, 300.0, 300.0, 300.0])])
    peer = least_squares(residuals, start, x_scale="jac", xtol=1e-15, ftol=1e-15, gtol=1e-15)
    expected = np.concatenate([peer.x[:3], np.exp(peer.x[3:])])
    np.testing.assert_allclose(found.joint.coefficients, expected, rtol=1e-5)
    assert found.joint.is_converged and found.joint.solution.search.share > 0.5


@pytest.mark.parametrize("groups", [3, 6])
def test_many_groups_are_searched_from_many_starts_that_agree(groups: int) -> None:
    worlds = [BASE * [1, 1 + 0.2 * number, 1 - 0.05 * number, 1, 1] for number in range(groups)]
    found = fitted(worlds)
    assert found.joint.solution.search.share > 0.2 and found.joint.is_converged
    exact = fitted(worlds, noise=0.0)  # where every start ends in rounding, so that none of them agree
    for part, values in zip(exact.parts, worlds, strict=True):
        np.testing.assert_allclose(part.coefficients, values, rtol=1e-5)


def test_everything_in_common_is_one_fit_and_nothing_is_a_fit_each() -> None:
    data = rows([BASE, OTHER])
    whole = fit_law(CHINCHILLA, data.inputs[:, :2], data.target, objective=LeastSquares(), resamples=0)
    pooled = fitted([BASE, OTHER], tuple(one.name for one in CHINCHILLA.coefficients))
    np.testing.assert_allclose(pooled.joint.coefficients, whole.coefficients, rtol=1e-5)
    assert pooled.joint.criteria.aicc == pytest.approx(whole.criteria.aicc, rel=1e-9)
    apart = fitted([BASE, OTHER], ())
    for number, part in enumerate(apart.parts):
        own = data.inputs[:, 2] == number
        alone = fit_law(CHINCHILLA, data.inputs[own, :2], data.target[own], objective=LeastSquares(), resamples=0)
        np.testing.assert_allclose(part.coefficients, alone.coefficients, rtol=1e-4)
    assert apart.apart.aicc == pytest.approx(apart.joint.criteria.aicc, rel=1e-7)


def test_aicc_speaks_for_sharing_what_is_common_and_against_what_differs() -> None:
    same = fitted([BASE, OTHER])
    assert same.note is not None and "rows speak for sharing" in same.note.message
    steeper = BASE * [1, 1, 1, 1.15, 1]
    different = fitted([BASE, steeper])
    assert different.note is not None and "rows speak against sharing" in different.note.message


def test_parts_have_their_own_rows_and_joint_draws() -> None:
    found = fitted([BASE, OTHER], resamples=30)
    first, second = found.parts
    assert len(first.data) == len(second.data) == 30 and first.law is CHINCHILLA
    np.testing.assert_array_equal(first.draws[:, [0, 3, 4]], second.draws[:, [0, 3, 4]])
    assert (first.draws[:, 1] != second.draws[:, 1]).all() and first.coefficients[0] == second.coefficients[0]
    assert first.fitted.support.tolist() == [[1e7, 1e10], [1e9, 1e12]]
    assert first.lower[0] == second.lower[0] < first.coefficients[0] < first.upper[0]


def test_resamples_keep_as_many_rows_of_each_group() -> None:
    data = rows([BASE, OTHER, BASE])
    strata = data.inputs[:, 2].astype(int)
    drawn = StratifiedBootstrap(strata).draw(data, data.target, 9, 50, np.random.default_rng(0))
    for number in range(3):
        assert (drawn.weights[:, strata == number].sum(axis=1) == 30).all()
    few = fitted([BASE, OTHER], resamples=20, each=2)  # 10 rows a group
    assert few.joint.resampled.bootstrap == "residual"


def test_what_cannot_be_shared_is_refused() -> None:
    with pytest.raises(UsageError, match="has no coefficient 'gamma'"):
        fit_shared(CHINCHILLA, rows([BASE]), ["a"], ("gamma",), FitOptions())
    with pytest.raises(UsageError, match="slow to compute"):
        fit_shared(NQS, rows([BASE]), ["a"], ("p",), FitOptions())


def test_another_objective_is_fitted_as_well() -> None:
    data = rows([BASE, OTHER], noise=0.0)
    options = FitOptions(objective=RelativeSquares(), resamples=0)
    found = fit_shared(CHINCHILLA, data, ["a", "b"], SHARED, options)
    np.testing.assert_allclose(found.parts[1].coefficients, OTHER, rtol=1e-4)


@pytest.mark.long
def test_joint_intervals_hold_the_gain_and_are_narrower_than_those_of_fits_apart() -> None:
    """200 planted worlds of two recipes with a gain of 3, beyond the rows."""
    held, narrower = coverage(200)
    assert 0.90 <= held <= 0.99
    assert narrower > 0.95


def coverage(worlds: int) -> tuple[float, float]:
    """Share of worlds whose joint 95 % interval holds the gain, and in which it is narrower than with fits apart."""
    held, narrower = [], []
    for world in range(worlds):
        widths = []
        for shared in (SHARED, ()):
            found = fitted([BASE, OTHER], shared, resamples=200, seed=world)
            first, second = (Recipe(part.fitted) for part in found.parts)
            pairs = (found.parts[0].draws, found.parts[1].draws)
            gain = compute_gain(first, second, 1e24, pairs=pairs)
            widths.append(np.log(gain.upper / gain.lower))
            if shared:
                held.append(gain.lower <= 3.0 <= gain.upper)
        narrower.append(widths[0] < widths[1])
    return float(np.mean(held)), float(np.mean(narrower))


@pytest.mark.parametrize("scatter", ["multiplicative", "additive"])
def test_derivatives_group_by_group_are_those_of_the_whole(scatter: str) -> None:
    law = SharedLaw(CHINCHILLA, ("alpha", "E"), ("a", "b", "c"))
    generator = np.random.default_rng(3)
    inputs = np.column_stack([10 ** generator.uniform(7, 10, (30, 2)), np.arange(30) % 3])
    values = 1.7 + 400 / inputs[:, 0] ** 0.34 + 410 / inputs[:, 1] ** 0.28
    fixed = replace(law.coefficients[3], fixed=410.0)  # B[a]
    coefficients = (*law.coefficients[:3], fixed, *law.coefficients[4:])
    options = {"unit": 0.1} if scatter == "additive" else {}
    stacked = StackedModel(law, coefficients, inputs, values, Link.LOG, **options)
    whole = GeneralModel(law, coefficients, inputs, values, Link.LOG, **options)
    theta = stacked.from_coefficients(generator.uniform(0.2, 0.4, (4, len(coefficients))))
    targets = stacked.targets(values)[None]
    influence, curvature = generator.normal(size=(2, 4, 30))
    parts = []
    for model in (stacked, whole):
        residuals, state = model.residuals(theta, targets, 2)
        parts.append([residuals, *model.expand(state, influence, curvature, True)])
        parts[-1] += model.expand(state, influence, curvature, False)
    for own, other in zip(*parts, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-9, atol=1e-9 * np.abs(other).max())
