"""The solver: derivatives, projections, and the certificate that the best basin was reached."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from run_samples import Runs

from isoflop.queries.fitting import fit_law
from isoflop.queries.fitting.solver.choose import model_for
from isoflop.queries.fitting.solver.general import GeneralModel
from isoflop.queries.fitting.solver.linear import LinearModel
from isoflop.queries.fitting.solver.model import Model
from isoflop.queries.fitting.solver.newton import descend, evaluate
from isoflop.queries.fitting.solver.nonnegative import solve_nonnegative
from isoflop.queries.fitting.solver.power_sum import PowerSumModel
from isoflop.queries.fitting.solver.replicate import replicate
from isoflop.queries.fitting.solver.search import descend_all, search
from isoflop.queries.laws import (
    CHINCHILLA,
    KAPLAN,
    POWER,
    STEP_TIME,
    Coefficient,
    Formula,
    Huber,
    Input,
    Law,
    LeastAbsolute,
    LeastSquares,
    Objective,
    RelativeSquares,
    Role,
    amplitude,
    exponent,
    floor,
    parse_formula,
)
from isoflop.queries.laws.law import coefficient_names, input_names

Array = NDArray[np.float64]
BEST = 1.018274018e-3  # sum of Huber(1e-3), the lowest known on the 240 published rows


class Computed(Law):
    """The Chinchilla law without its formula, as an outside package might write one."""

    name, formula, target, unit, source = "computed", "E + A/N^a + B/D^b", "loss", "nat/token", "a test"
    inputs = CHINCHILLA.inputs
    coefficients = CHINCHILLA.coefficients
    objective = CHINCHILLA.objective

    def predict(self, coefficients: Array, inputs: Array) -> Array:
        """Return E + A / N^alpha + B / D^beta."""
        e, a, b, alpha, beta = (coefficients[..., k, None] for k in range(5))
        return np.asarray(e + a * inputs[:, 0] ** -alpha + b * inputs[:, 1] ** -beta)


TIED = parse_formula(
    "E + A / params ^ a + B / tokens ^ a + 1e-3", [floor("E"), amplitude("A"), amplitude("B"), exponent("a")]
)
BOUNDED = parse_formula(
    "E + A / params ^ a + B / tokens ^ b",
    [floor("E"), Coefficient("A", lower=1.0, upper=1e4), Coefficient("B", fixed=2000.0), exponent("a"), exponent("b")],
)
OFFSET = parse_formula(
    "E + A / (params + N) ^ a + B * exp(-tokens / T)",
    [floor("E"), amplitude("A"), exponent("a"), amplitude("B"), Coefficient("N", lower=0), Coefficient("T", lower=0)],
)
SIGNED = parse_formula("a + b * ln(params) + c * ln(tokens)", ["a", "b", "c"])
CASES: list[tuple[Law, Objective, type]] = [
    (CHINCHILLA, Huber(0.03), PowerSumModel),
    (TIED, LeastSquares(), PowerSumModel),
    (BOUNDED, Huber(0.03), PowerSumModel),
    (KAPLAN, Huber(0.03), GeneralModel),
    (OFFSET, LeastSquares(), GeneralModel),
    (SIGNED, Huber(0.03), GeneralModel),
    (CHINCHILLA, RelativeSquares(), GeneralModel),
    (SIGNED, RelativeSquares(), LinearModel),
    (Computed(), Huber(0.03), GeneralModel),
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].name}-{case[1].name}")
def case(request: pytest.FixtureRequest, planted_rows: Runs) -> tuple[Model, Objective, Array, Array]:
    """A model, its objective, and eight points with weights to take derivatives at."""
    law, objective, expected = request.param
    model = model_for(law, law.coefficients, planted_rows.inputs, planted_rows.loss, objective)
    assert isinstance(model, expected)
    generator = np.random.default_rng(2)
    targets = model.targets(planted_rows.loss)[None]
    weights = generator.uniform(0.5, 2.0, (8, 60))
    theta = model.seeds(weights[:1], targets, 1, generator)[0].repeat(8, axis=0)
    theta = np.clip(theta + 0.002 * generator.standard_normal(theta.shape), model.lower, model.upper)
    return model, objective, theta, weights


def _value(model: Model, objective: Objective, theta: Array, weights: Array, targets: Array) -> Array:
    penalty = objective.weigh(model.residuals(theta, targets, 0)[0], True)[0]
    return np.asarray((penalty * weights).sum(axis=1))


def test_gradient_and_curvature_agree_with_differences(
    case: tuple[Model, Objective, Array, Array], planted_rows: Runs
) -> None:
    model, objective, theta, weights = case
    targets = model.targets(planted_rows.loss)[None]

    def derivatives(at: Array) -> tuple[Array, Array]:
        residuals, state = model.residuals(at, targets, 2)
        _, influence, curvature = objective.weigh(residuals, True)
        return model.expand(state, influence * weights, curvature * weights, model.has_curvature)

    gradient, matrix = derivatives(theta)
    np.testing.assert_allclose(matrix, matrix.transpose(0, 2, 1), rtol=1e-9, atol=1e-12 * np.abs(matrix).max())
    step = 1e-6
    for k in range(theta.shape[1]):
        move = np.zeros(theta.shape[1])
        move[k] = step
        above = _value(model, objective, theta + move, weights, targets)
        below = _value(model, objective, theta - move, weights, targets)
        scale = np.abs(gradient).max() + 1e-12
        np.testing.assert_allclose(gradient[:, k], (above - below) / (2 * step), rtol=2e-4, atol=1e-6 * scale)
        if model.has_curvature and not isinstance(objective, Huber):  # Huber's second derivative jumps at its knees
            slope = (derivatives(theta + move)[0] - derivatives(theta - move)[0]) / (2 * step)
            np.testing.assert_allclose(matrix[:, k], slope, rtol=1e-4, atol=1e-6 * np.abs(matrix).max())


def test_the_exact_curvature_of_huber_holds_between_its_knees(planted_rows: Runs) -> None:
    model = model_for(CHINCHILLA, CHINCHILLA.coefficients, planted_rows.inputs, planted_rows.loss, Huber())
    targets, objective = model.targets(planted_rows.loss)[None], Huber(10.0)
    theta = model.seeds(np.ones((1, 60)), targets, 4, np.random.default_rng(0))[0] + 0.1

    def derivatives(at: Array) -> tuple[Array, Array]:
        residuals, state = model.residuals(at, targets, 2)
        _, influence, curvature = objective.weigh(residuals, True)
        return model.expand(state, influence, curvature, True)

    _, matrix = derivatives(theta)
    for k in range(5):
        move = 1e-6 * np.eye(5)[k]
        slope = (derivatives(theta + move)[0] - derivatives(theta - move)[0]) / 2e-6
        np.testing.assert_allclose(matrix[:, k], slope, rtol=1e-5, atol=1e-7 * np.abs(matrix).max())


def test_coordinates_go_to_coefficients_and_back(case: tuple[Model, Objective, Array, Array]) -> None:
    model, _, theta, _ = case
    inside = np.clip(theta, model.lower + 1e-3, model.upper - 1e-3)
    np.testing.assert_allclose(model.from_coefficients(model.to_coefficients(inside)), inside, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("law", [CHINCHILLA, TIED, BOUNDED, KAPLAN, OFFSET, SIGNED], ids=lambda law: law.name)
def test_residuals_are_those_of_the_law_itself(law: Formula, planted_rows: Runs) -> None:
    model = model_for(law, law.coefficients, planted_rows.inputs, planted_rows.loss, Huber())
    targets = model.targets(planted_rows.loss)[None]
    theta = model.seeds(np.ones((1, 60)), targets, 5, np.random.default_rng(0))[0]
    predicted = law.predict(model.to_coefficients(theta), planted_rows.inputs)
    found = model.residuals(theta, targets, 0)[0]
    np.testing.assert_allclose(found, np.log(planted_rows.loss / predicted), rtol=1e-8, atol=1e-10)


def test_every_path_finds_the_same_optimum(published: Runs) -> None:
    typed = parse_formula("E + A / params ^ alpha + B / tokens ^ beta", ["E", "A", "B", "alpha", "beta"])
    fast = fit_law(CHINCHILLA, published.inputs, published.loss, resamples=0)
    for law in (typed, Computed()):
        general = fit_law(law, published.inputs, published.loss, resamples=0)
        assert general.objective == pytest.approx(fast.objective, rel=1e-6)
        np.testing.assert_allclose(general.coefficients, fast.coefficients, rtol=2e-3)


def test_default_seeds_reach_the_best_known_objective_whatever_the_seed(published: Runs) -> None:
    for seed in range(5):
        fit = fit_law(CHINCHILLA, published.inputs, published.loss, resamples=0, seed=seed)
        assert fit.objective <= BEST * (1 + 1e-8)
        assert fit.solution.search.share > 0.5 and fit.is_converged


def _hoffmann_grid() -> Array:
    """The 4,500 starts of Hoffmann et al. 2022, appendix D.3, as coefficients."""
    small, large = np.arange(0, 2.5, 0.5), np.arange(0.0, 30, 5)
    a, b, e, alpha, beta = (m.ravel() for m in np.meshgrid(large, large, np.arange(-1, 1.5, 0.5), small, small))
    return np.column_stack([np.exp(e), np.exp(a), np.exp(b), alpha, beta])


def test_a_tenth_of_the_hoffmann_grid_reaches_the_best_known_objective(published: Runs) -> None:
    starts = _hoffmann_grid()[np.random.default_rng(0).choice(4500, 450, replace=False)]
    fit = fit_law(CHINCHILLA, published.inputs, published.loss, resamples=0, starts=starts)
    assert fit.objective <= BEST * (1 + 1e-8)
    assert fit.solution.search.starts == 450 + 64 and 0.3 < fit.solution.search.share < 1
    assert fit.solution.search.second_best is not None and fit.solution.search.second_best > 1.5 * fit.objective


@pytest.mark.long
def test_the_whole_hoffmann_grid_reaches_the_best_known_objective(published: Runs) -> None:
    fit = fit_law(CHINCHILLA, published.inputs, published.loss, resamples=0, starts=_hoffmann_grid())
    assert fit.objective <= BEST * (1 + 1e-8) and fit.solution.search.starts == 4500 + 64


def test_every_one_of_a_hundred_random_boxes_reaches_the_best_known_objective(published: Runs) -> None:
    generator = np.random.default_rng(3)
    for _ in range(100):
        center = generator.uniform([0.5, 1.0, 1.0, 0.1, 0.1], [3.0, 15.0, 15.0, 1.2, 1.2])
        starts = center * np.exp(generator.uniform(0.1, 0.8) * generator.standard_normal((6, 5)))
        starts[:, 1:3] = np.exp(starts[:, 1:3])
        fit = fit_law(CHINCHILLA, published.inputs, published.loss, resamples=0, starts=starts)
        assert fit.objective <= BEST * (1 + 1e-8), center


def test_most_starts_of_a_wide_box_reach_it_by_themselves(published: Runs) -> None:
    generator = np.random.default_rng(4)
    starts = np.column_stack(
        [generator.uniform(0.5, 3, 60), np.exp(generator.uniform(0, 25, (60, 2))), generator.uniform(0, 2, (60, 2))]
    )
    model = model_for(CHINCHILLA, CHINCHILLA.coefficients, published.inputs, published.loss, Huber())
    targets = model.targets(published.loss)[None]
    found = search(model, model.from_coefficients(starts), np.ones((1, 240)), targets, Huber())
    assert found is not None and found.objective <= BEST * (1 + 1e-8) and found.share > 0.4


def test_predictions_do_not_depend_on_the_units_of_the_inputs(published: Runs) -> None:
    plain = fit_law(CHINCHILLA, published.inputs, published.loss, resamples=0)
    reference = CHINCHILLA.predict(plain.coefficients, published.inputs)
    for factor in (1e15, 1e-15):
        scaled = fit_law(CHINCHILLA, published.inputs * factor, published.loss, resamples=0)
        found = CHINCHILLA.predict(scaled.coefficients, published.inputs * factor)
        np.testing.assert_allclose(found, reference, rtol=1e-8)


@pytest.mark.parametrize("law", [KAPLAN, OFFSET], ids=lambda law: law.name)
def test_general_laws_do_not_depend_on_units_either(law: Formula, planted_rows: Runs) -> None:
    plain = fit_law(law, planted_rows.inputs, planted_rows.loss, resamples=0)
    scaled = fit_law(law, planted_rows.inputs * 1e9, planted_rows.loss * 1e-3, resamples=0)
    assert scaled.objective == pytest.approx(plain.objective, rel=1e-8)
    found = law.predict(scaled.coefficients, planted_rows.inputs * 1e9) * 1e3
    np.testing.assert_allclose(found, law.predict(plain.coefficients, planted_rows.inputs), rtol=1e-6)


def test_a_broken_power_law_comes_back() -> None:
    law = parse_formula(
        "E + A * n ^ (-b) * (1 + (n / d) ^ (1 / f)) ^ (-c * f)",
        [floor("E"), amplitude("A"), exponent("b"), Coefficient("d", lower=0), exponent("f"), exponent("c")],
    )
    n = np.logspace(3, 9, 80)[:, None]
    planted = np.array([0.5, 30.0, 0.1, 3e6, 0.4, 0.5])
    fit = fit_law(law, n, law.predict(planted, n), resamples=0)
    np.testing.assert_allclose(fit.coefficients, planted, rtol=1e-4)


def test_a_law_with_signed_coefficients_finds_negative_ones(planted_rows: Runs) -> None:
    planted = np.array([7.0, -0.1, -0.07])
    values = SIGNED.predict(planted, planted_rows.inputs)
    np.testing.assert_allclose(
        fit_law(SIGNED, planted_rows.inputs, values, resamples=0).coefficients, planted, rtol=1e-7
    )


def test_step_times_are_the_nonnegative_solution_that_scipy_finds() -> None:
    from scipy.optimize import nnls

    generator = np.random.default_rng(0)
    inputs = np.exp(generator.uniform([14, 14, 0], [23, 20, 2.5], (40, 3)))
    times = STEP_TIME.predict(np.array([0.0, 1e-11, 1e-10, 8e-4]), inputs) * np.exp(generator.normal(0, 0.1, 40))
    fit = fit_law(STEP_TIME, inputs, times, resamples=0)
    design = np.column_stack([np.ones(40), inputs]) / times[:, None]
    scale = design.max(axis=0)
    expected, _ = nnls(design / scale, np.ones(40))
    np.testing.assert_allclose(fit.coefficients, expected / scale, rtol=1e-8, atol=1e-20)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_nonnegative_least_squares_agrees_with_scipy(count: int) -> None:
    from scipy.optimize import nnls

    generator = np.random.default_rng(count)
    designs = generator.standard_normal((50, 12, count))
    values = generator.standard_normal((50, 12))
    found = solve_nonnegative(np.einsum("bij,bik->bjk", designs, designs), np.einsum("bij,bi->bj", designs, values))
    expected = np.array([nnls(design, value)[0] for design, value in zip(designs, values, strict=True)])
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_nonnegative_least_squares_takes_proportional_columns_and_refuses_too_many() -> None:
    column = np.linspace(1, 2, 6)
    design = np.column_stack([column, 2 * column])
    found = solve_nonnegative(design.T @ design, design.T @ column)
    np.testing.assert_allclose(design @ found, column, rtol=1e-6)
    with pytest.raises(ValueError, match="at most 10"):
        solve_nonnegative(np.eye(11), np.ones(11))


def test_weights_and_repeated_rows_are_the_same_thing(planted_rows: Runs) -> None:
    counts = np.random.default_rng(1).integers(1, 4, 60)
    weighted = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, sample_weight=counts, resamples=0)
    repeated = fit_law(
        CHINCHILLA, np.repeat(planted_rows.inputs, counts, axis=0), np.repeat(planted_rows.loss, counts), resamples=0
    )
    assert weighted.objective == pytest.approx(repeated.objective, rel=1e-8)
    np.testing.assert_allclose(weighted.coefficients, repeated.coefficients, rtol=1e-4)


def test_a_start_without_a_finite_value_is_left_out() -> None:
    law = parse_formula("a + b * ln(n)", ["a", "b"])
    n = np.logspace(1, 4, 12)[:, None]
    model = model_for(law, law.coefficients, n, np.full(12, 2.0), Huber())
    targets, weights = model.targets(np.full(12, 2.0))[None], np.ones((1, 12))
    bad = np.array([[-5.0, -1.0]])
    assert np.isinf(evaluate(model, bad, weights, targets, Huber()))
    assert search(model, bad, weights, targets, Huber()) is None
    found = search(model, np.array([[-5.0, -1.0], [1.0, 0.1]]), weights, targets, Huber())
    assert found is not None and found.objective < 1e-6


def test_descents_of_a_batch_do_not_depend_on_each_other(planted_rows: Runs) -> None:
    model = model_for(CHINCHILLA, CHINCHILLA.coefficients, planted_rows.inputs, planted_rows.loss, Huber())
    targets, weights = model.targets(planted_rows.loss)[None], np.ones((1, 60))
    theta = model.seeds(weights, targets, 6, np.random.default_rng(0))[0]
    options = {"exact": True, "max_steps": 80, "tolerance": 1e-9}
    together = descend(model, theta, weights, targets, Huber(), **options)
    for k in range(6):
        alone = descend(model, theta[k : k + 1], weights, targets, Huber(), **options)
        assert alone.objective[0] == pytest.approx(together.objective[k], rel=1e-7)


@pytest.mark.parametrize(("count", "wanted"), [(16, 0.85), (30, 0.97), (60, 1.0), (140, 1.0)])
def test_resamples_reach_the_basin_that_many_starts_find(published: Runs, count: int, wanted: float) -> None:
    runs = published.some(count)
    model = model_for(CHINCHILLA, CHINCHILLA.coefficients, runs.inputs, runs.loss, Huber())
    targets, ones = model.targets(runs.loss)[None], np.ones((1, count))
    generator = np.random.default_rng(0)
    found = search(model, model.seeds(ones, targets, 32, generator)[0], ones, targets, Huber())
    assert found is not None
    weights = generator.multinomial(count, np.full(count, 1 / count), 40).astype(float)
    replicates = replicate(model, found, weights, targets, Huber(), generator)
    reached = evaluate(model, replicates.theta, weights, targets, Huber())
    seeds = model.seeds(weights, targets, 24, generator).reshape(-1, 5)
    many = descend_all(model, seeds, np.repeat(weights, 24, axis=0), targets, Huber()).objective.reshape(40, 24)
    best = np.minimum(many.min(axis=1), reached)
    assert np.mean(reached <= best * (1 + 1e-4) + 1e-15) >= wanted


def test_least_absolute_deviation_gives_the_published_headline_row(published: Runs) -> None:
    fit = fit_law(CHINCHILLA, published.inputs, published.loss, objective=LeastAbsolute(), resamples=0)
    np.testing.assert_allclose(fit.coefficients, [1.81686, 482.006, 2085.43, 0.34781, 0.36585], rtol=1e-3)
    total = np.abs(np.log(published.loss / CHINCHILLA.predict(fit.coefficients, published.inputs))).sum()
    assert total <= 1.12950


def test_domains_hold(published: Runs) -> None:
    narrow = replace(
        CHINCHILLA,
        coefficients=(Coefficient("E", Role.FLOOR, 0.0, 1.7), *CHINCHILLA.coefficients[1:3],
                      Coefficient("alpha", Role.EXPONENT, 0.0, 0.3), exponent("beta")),
    )  # fmt: skip
    fit = fit_law(narrow, published.inputs, published.loss, resamples=50)
    assert fit.coefficients[0] <= 1.7 + 1e-9 and fit.coefficients[3] <= 0.3 + 1e-12
    assert (fit.draws[:, 0] <= 1.7 + 1e-9).all() and (fit.draws[:, 3] <= 0.3 + 1e-12).all()
    assert "coefficient_at_bound" in fit.codes and fit.solution.at_bound[0]


def test_a_bounded_law_prefers_the_inner_optimum_when_there_is_one(planted_rows: Runs) -> None:
    fit = fit_law(BOUNDED, planted_rows.inputs, planted_rows.loss, resamples=0)
    assert fit.coefficients[2] == 2000.0 and 1.0 < fit.coefficients[1] < 1e4 and not fit.solution.at_bound.any()


def test_the_chart_of_kaplan_is_used_only_when_its_domains_allow(published: Runs) -> None:
    free = model_for(KAPLAN, KAPLAN.coefficients, published.inputs, published.loss, Huber())
    assert isinstance(free, GeneralModel) and free.chart_of is KAPLAN and free.names == coefficient_names(KAPLAN)
    pinned = (replace(KAPLAN.coefficients[0], fixed=9e12), *KAPLAN.coefficients[1:])
    fit = fit_law(KAPLAN, published.inputs, published.loss, resamples=0, fixed={"N_c": 9e12})
    model = model_for(KAPLAN, pinned, published.inputs, published.loss, Huber())
    assert isinstance(model, GeneralModel) and model.chart_of is None
    assert fit.coefficients[0] == 9e12
    whole = fit_law(KAPLAN, published.inputs, published.loss, resamples=0)
    assert whole.objective <= fit.objective <= whole.objective * 1.01


def test_inputs_with_zeros_are_allowed_where_the_law_has_no_power_of_them() -> None:
    law = Formula(
        name="line", law="a + b * x", inputs=(Input("x", "", False),), coefficients=(floor("a"), amplitude("b"))
    )
    x = np.arange(10.0)[:, None]
    fit = fit_law(law, x, 2 + 0.5 * x[:, 0], resamples=0)
    np.testing.assert_allclose(fit.coefficients, [2, 0.5], rtol=1e-8)
    assert fit.data.num_dropped == 0 and input_names(law) == ("x",)


def test_a_power_law_without_a_floor_is_a_straight_line_in_logs() -> None:
    x = np.logspace(3, 8, 20)
    y = 50 * x**-0.2
    fit = fit_law(POWER, x[:, None], y, resamples=0, fixed={"E": 0.0})
    np.testing.assert_allclose(fit.coefficients, [0, 50, 0.2], rtol=1e-9)
