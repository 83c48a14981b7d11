"""Losses of random features over time, width and data: against known limits, against training, and their exponents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.optimize import least_squares

from isoflop.lakehouse.models.linear_descent import LinearDescent
from isoflop.queries.theory.dmft_random_features import DMFT_RANDOM_FEATURES
from isoflop.queries.theory.equivalents import Array, Modes, power_law_modes, renormalized
from isoflop.queries.theory.student_losses import StudentTheory
from isoflop.queries.theory.student_pairs import Student
from isoflop.workers import TrainOptions
from isoflop.workers.families import RandomFeatures

INFINITE = float("inf")


def flow(modes: Modes, samples: float, features: float, times: Sequence[float] | Array, **changes: Any) -> Array:
    """Test losses of the flow at some times."""
    at = np.asarray(times, dtype=np.float64)
    flowing = LinearDescent(float(at.min()), is_flow=True)
    student = Student(modes=modes, samples=samples, features=features, noise=0.0, descent=flowing, **changes)
    return StudentTheory(student, int(np.ceil(at.max() / at.min()))).means(at / at.min())[0]


def floor(modes: Modes, samples: float, features: float) -> float:
    """The loss without end of training."""
    return float(flow(modes, samples, features, [1e8])[0])


def slope(x: Sequence[float] | Array, y: Sequence[float] | Array) -> float:
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


@pytest.mark.parametrize(("samples", "features"), [(INFINITE, 128), (200, INFINITE), (100, 100)])
def test_the_renormalized_ridge_solves_its_equation(samples: float, features: float) -> None:
    modes = power_law_modes(400, 1.25, 1.5)
    ridge = -np.geomspace(1e-6, 10, 300) * np.exp(0.5j)
    kappa = renormalized(ridge, modes, samples, features)
    degrees = modes.degrees(kappa)
    np.testing.assert_allclose(kappa * (1 - degrees / samples) * (1 - degrees / features) / ridge, 1, atol=1e-12)


def test_without_a_ridge_a_mode_is_free_for_each_feature() -> None:
    modes = power_law_modes(400, 1.25, 1.5)
    kappa = renormalized(np.array([1e-10 + 0j]), modes, features=128)
    assert modes.degrees(kappa)[0].real == pytest.approx(128, rel=1e-6)


def test_infinitely_many_features_and_samples_leave_each_mode_alone() -> None:
    modes, times = power_law_modes(100, 1.25, 1.5), np.array([0.01, 0.1, 1, 10, 100, 1000])
    number = np.arange(1, 101)
    expected = [(number**-1.5 * np.exp(-2 * number**-1.25 * time)).sum() for time in times]
    np.testing.assert_allclose(flow(modes, INFINITE, INFINITE, times), expected, rtol=1e-7)


@pytest.mark.parametrize(("samples", "features"), [(INFINITE, 128), (256, 128), (100, INFINITE)])
def test_before_training_the_integral_is_the_loss_of_the_target(samples: float, features: float) -> None:
    modes = power_law_modes(400, 1.25, 1.5)
    found = flow(modes, samples, features, [0.01, 1e5])[0]
    kept = modes.power * np.exp(-2 * 0.01 * modes.variance)  # to first order in time each mode is alone
    assert found == pytest.approx(float(modes.count @ kept), rel=1e-4)


CASES: dict[str, dict[str, Any]] = {
    "width": {"dimension": 400, "width": 128, "spectrum_exponent": 0.625, "target_exponent": 0.125},
    "data": {"dimension": 400, "width": 128, "samples": 256, "spectrum_exponent": 0.625, "target_exponent": 0.125},
    "train": {"dimension": 400, "width": 128, "samples": 400, "spectrum_exponent": 0.75, "target_exponent": 0.125},
    "noise": {
        "dimension": 400, "width": 100, "samples": 100, "noise": 0.25, "spectrum_exponent": 0.75,
        "target_exponent": 0.125,
    },
    "ensemble": {
        "dimension": 400, "width": 64, "samples": 150, "students": 4, "spectrum_exponent": 0.625,
        "target_exponent": 0.125,
    },
    "bagging": {
        "dimension": 300, "width": 64, "samples": 150, "students": 3, "students_draw": "both", "noise": 0.1,
        "spectrum_exponent": 0.625, "target_exponent": 0.125,
    },
    "heavy ball": {
        "dimension": 300, "width": 64, "samples": 150, "noise": 0.1, "optimizer": "momentum", "momentum": 0.8,
        "learning_rate": 0.1, "spectrum_exponent": 0.625, "target_exponent": 0.125,
    },
    "heavy ball, large steps": {
        "dimension": 300, "width": 256, "samples": 1200, "noise": 0.1, "optimizer": "momentum", "momentum": 0.9,
        "learning_rate": 0.5, "spectrum_exponent": 0.625, "target_exponent": 0.125,
    },
    "large steps": {
        "dimension": 300, "width": 64, "samples": 150, "noise": 0.1, "optimizer": "gradient_descent",
        "learning_rate": 0.45, "spectrum_exponent": 0.625, "target_exponent": 0.125,
    },
    "batches": {
        "dimension": 300, "width": 64, "samples": 150, "noise": 0.1, "optimizer": "momentum", "momentum": 0.5,
        "learning_rate": 0.1, "batch_size": 4, "spectrum_exponent": 0.625, "target_exponent": 0.125,
    },
    "fresh batches": {
        "dimension": 300, "width": 64, "noise": 0.1, "optimizer": "momentum", "momentum": 0.5,
        "learning_rate": 0.05, "batch_size": 2, "spectrum_exponent": 0.625, "target_exponent": 0.125,
    },
}  # fmt: skip
TOLERANCES = {"width": 0.03, "data": 0.04}  # of 100 runs; for the others their standard errors decide


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_mean_of_many_runs_lies_where_it_says(case: str) -> None:
    """60 runs, 100 where a tolerance is given: their means, and how far they scatter."""
    num_runs = 100 if case in TOLERANCES else 60
    at = np.array([0, 1, 3, 10, 30, 100, 300, 1000])
    settings = {"learning_rate": 1.0, "steps": 1000, **CASES[case]}
    runs = [RandomFeatures.parse({**settings, "seed": seed}) for seed in range(num_runs)]
    program = RandomFeatures.program(runs, RandomFeatures.device(TrainOptions()))
    found = DMFT_RANDOM_FEATURES.predict({**runs[0].config(), "steps": 1000, "seed": 0}, at)
    for t in range(1, len(at)):
        program.advance(int(at[t] - at[t - 1]))
        for metric, losses in program.measure().items():
            mean, deviation = found.mean[metric][t], found.deviation[metric][t]
            distance = (losses.mean() - mean) / (losses.std() / np.sqrt(num_runs))
            assert abs(distance) < 3.5, (at[t], metric, distance)
            assert abs(losses.mean() / mean - 1) < (TOLERANCES.get(case, 0.1) if metric == "loss" else 0.1)
            low, high = (0.6, 1.5) if metric == "loss" else (0.45, 1.7)
            assert low < deviation / losses.std() < high, (at[t], metric)


def test_an_ensemble_is_no_substitute_for_width() -> None:
    modes, times = power_law_modes(400, 1.25, 1.5), [10, 100, 1000]
    four, wide = flow(modes, 150, 64, times, students=4), flow(modes, 150, 256, times)
    assert (four > wide).all() and (four < flow(modes, 150, 64, times)).all()


@pytest.mark.slow
def test_a_surface_has_a_number_everywhere() -> None:
    modes = power_law_modes(10**6, 1.5, 1.75)
    surface = [flow(modes, 500, width, np.geomspace(1, 1e5, 50)) for width in np.geomspace(8, 1000, 50).round()]
    assert np.isfinite(surface).all() and np.shape(surface) == (50, 50)


EXPONENTS = {(1.5, 1.75): (-0.5, -0.75, -0.75), (2.0, 1.5): (-0.25, -0.5, -0.5)}


@pytest.mark.slow
@pytest.mark.parametrize(("spectrum", "task"), EXPONENTS)
def test_long_curves_have_the_exponents(spectrum: float, task: float) -> None:
    modes, sizes = power_law_modes(3 * 10**6, spectrum, task), [64, 128, 256, 512]
    settings = {"spectrum_exponent": spectrum / 2, "target_exponent": (task - spectrum) / 2}
    said = DMFT_RANDOM_FEATURES.exponents(settings)
    times = np.geomspace(100, 10_000, 9)
    found = (
        slope(times, flow(modes, INFINITE, INFINITE, times)),
        slope(sizes, [floor(modes, INFINITE, size) for size in sizes]),
        slope(sizes, [floor(modes, size, INFINITE) for size in sizes]),
    )
    assert EXPONENTS[spectrum, task] == pytest.approx([said["time"], said["width"], said["samples"]])
    np.testing.assert_allclose(found, EXPONENTS[spectrum, task], atol=0.02)


@pytest.mark.slow
def test_easy_tasks_gain_no_more_than_the_spectrum_from_width() -> None:
    """The floor of width falls as N^-b where a - 1 > b, not as N^-(a - 1)."""
    modes, sizes = power_law_modes(3 * 10**6, 1.2, 3.0), [64, 128, 256, 512]
    assert -1.26 < slope(sizes, [floor(modes, INFINITE, size) for size in sizes]) < -1.15
    samples = [512, 1024, 2048, 4096]  # local slopes are -1.85, -1.91 and -1.96 on the way there from 64
    assert -2.05 < slope(samples, [floor(modes, size, INFINITE) for size in samples]) < -1.95
    said = DMFT_RANDOM_FEATURES.exponents({"spectrum_exponent": 0.6, "target_exponent": 0.9})
    assert (said["width"], said["samples"]) == pytest.approx((-1.2, -2.0))


def test_finite_width_costs_1_over_width_early_and_its_exponent_late() -> None:
    modes, sizes = power_law_modes(3 * 10**6, 1.5, 1.75), [64, 128, 256, 512]
    early = flow(modes, INFINITE, INFINITE, [3])[0]
    assert slope(sizes, [flow(modes, INFINITE, size, [3])[0] - early for size in sizes]) == pytest.approx(-1, abs=0.03)
    late = flow(modes, INFINITE, INFINITE, [1e6])[0]
    excess = [flow(modes, INFINITE, size, [1e6])[0] - late for size in sizes]
    assert slope(sizes, excess) == pytest.approx(-0.75, abs=0.03)


@pytest.mark.slow
def test_a_smooth_maximum_fits_the_surface_and_a_sum_of_powers_is_biased() -> None:
    """Width against time, P infinite: what the forms of `smooth_max` and `additive` make of 25 by 25 points."""
    modes, widths, times = power_law_modes(10**6, 1.5, 1.75), np.geomspace(16, 512, 25), np.geomspace(10, 1e5, 25)
    losses = np.log([flow(modes, INFINITE, width, times) for width in widths])
    width, time = np.log(widths)[:, None], np.log(times)

    def smooth_max(a: float, time_power: float, b: float, width_power: float, sharpness: float) -> Array:
        return np.logaddexp(sharpness * (a - time_power * time), sharpness * (b - width_power * width)) / sharpness

    def additive(a: float, time_power: float, b: float, width_power: float, floor: float) -> Array:
        sum_of_powers = np.logaddexp(a - time_power * time, b - width_power * width)
        return np.logaddexp(sum_of_powers, floor)

    found = {}
    for form, start in ((smooth_max, (0.0, 0.5, 0.0, 0.7, 2.0)), (additive, (0.0, 0.5, 0.0, 0.7, -8.0))):
        fitted = least_squares(lambda values, form=form: (form(*values) - losses).ravel(), start)
        found[form] = fitted.x, float(np.sqrt(np.mean(fitted.fun**2)))
    (_, time_power, _, width_power, sharpness), error = found[smooth_max]
    assert (time_power, width_power) == (pytest.approx(0.5, abs=0.03), pytest.approx(0.75, abs=0.04))
    assert sharpness == pytest.approx(2.2, abs=0.3) and error < 0.03
    (_, biased_power, *_), biased_error = found[additive]
    assert biased_power > 0.6 and biased_error > 2 * error


@pytest.mark.slow
def test_the_frontier_of_compute_has_its_exponents() -> None:
    modes, sizes = power_law_modes(10**6, 1.5, 1.75), np.geomspace(16, 6000, 25)
    compute = np.geomspace(3e3, 3e6, 9)
    best, chosen = [], []
    for budget in compute:
        losses = [flow(modes, INFINITE, size, [max(budget / size, 1)])[0] for size in sizes]
        place = int(np.argmin(losses))
        assert 2 <= place < len(sizes) - 2
        part = slice(place - 2, place + 3)
        curve = np.polyfit(np.log(sizes[part]), np.log(losses[part]), 2)
        chosen.append(np.exp(-curve[1] / (2 * curve[0])))
        best.append(np.exp(np.polyval(curve, np.log(chosen[-1]))))
    said = DMFT_RANDOM_FEATURES.exponents({"spectrum_exponent": 0.75, "target_exponent": 0.125})
    assert (said["compute"], said["best_width"]) == pytest.approx((-0.3, 0.4))
    assert slope(compute, best) == pytest.approx(-0.3, abs=0.015)
    assert slope(compute, chosen) == pytest.approx(0.4, abs=0.03)
