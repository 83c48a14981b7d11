"""Bootstraps by name and by rule: which is taken, what is said about it, and whether its intervals hold the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from run_samples import Runs

from isoflop.lakehouse.errors import UsageError
from isoflop.queries.fitting import AutoBootstrap, Fit, find_bootstrap, fit_law
from isoflop.queries.fitting.data import usable_rows
from isoflop.queries.fitting.deleted import deleted_residuals, mean_slope
from isoflop.queries.laws import CHINCHILLA, POWER, Huber, Law, LeastSquares, parse_formula

Array = NDArray[np.float64]
World = tuple[Law, Array, Array, Array, "NDArray[np.int64] | None"]

TRUTH = np.array([1.8, 400.0, 2000.0, 0.34, 0.36])
POWER_TRUTH = np.array([1.5, 60.0, 0.25])


def even(seed: int) -> World:
    """60 runs with the same scatter at every size."""
    generator = np.random.default_rng(seed)
    inputs = np.exp(generator.uniform([16.5, 19.0], [24.0, 27.0], (60, 2)))
    return CHINCHILLA, TRUTH, inputs, np.full(60, 0.003) * generator.standard_normal(60), None


def growing(seed: int) -> World:
    """60 runs whose scatter grows with size."""
    generator = np.random.default_rng(seed)
    inputs = np.exp(generator.uniform([16.5, 19.0], [24.0, 27.0], (60, 2)))
    size = np.log(inputs).sum(axis=1)
    share = (size - size.min()) / np.ptp(size)
    return CHINCHILLA, TRUTH, inputs, (0.0005 + 0.008 * share**2) * generator.standard_normal(60), None


def few(seed: int) -> World:
    """9 runs for 3 coefficients."""
    inputs = np.geomspace(1e6, 1e9, 9)[:, None]
    return POWER, POWER_TRUTH, inputs, 0.005 * np.random.default_rng(seed).standard_normal(9), None


def grouped(seed: int) -> World:
    """100 points of 20 runs, most of the scatter shared by a run."""
    generator = np.random.default_rng(seed)
    inputs = np.repeat(np.geomspace(1e6, 1e9, 20), 5)[:, None]
    noise = np.repeat(generator.normal(0, 0.006, 20), 5) + generator.normal(0, 0.002, 100)
    return POWER, POWER_TRUTH, inputs, noise, np.repeat(np.arange(20), 5)


def fitted(world: World, bootstrap: str, resamples: int = 200, **options: Any) -> Fit:
    law, truth, inputs, noise, groups = world
    return fit_law(law, inputs, law.predict(truth, inputs) * np.exp(noise), groups=groups, resamples=resamples,
                   resampling=find_bootstrap(bootstrap), **options)  # fmt: skip


def coverage(world: Callable[[int], World], draws: int, **options: Any) -> Array:
    """Share of draws (K,) whose interval holds each planted coefficient."""
    found = []
    for seed in range(draws):
        truth, fit = world(seed)[1], fitted(world(seed), **options)
        found.append((fit.lower <= truth) & (truth <= fit.upper))
    return np.asarray(np.mean(found, axis=0))


@pytest.mark.parametrize(
    ("world", "bootstrap", "why"),
    [
        (even, "case", "about equally wide at every size"),
        (growing, "wild", "the spread of the residuals grows with size (rank correlation +0."),
        (few, "residual", "a resample of 9 rows would hold about 6 different ones for 3 coefficients"),
        (grouped, "cluster", "100 rows come in 20 groups"),
    ],
)
def test_the_rule_takes_what_suits_the_rows_and_says_why(
    world: Callable[[int], World], bootstrap: str, why: str
) -> None:
    fit = fitted(world(3), "auto", resamples=40)
    (note,) = [note for note in fit.notes if note.code == "bootstrap"]
    assert fit.resampled.bootstrap == bootstrap and why in note.message
    assert note.message.startswith(f"{bootstrap} bootstrap, because ")
    named = fitted(world(3), bootstrap, resamples=40)
    np.testing.assert_array_equal(named.draws, fit.draws)
    assert f"{bootstrap} bootstrap, as asked for; " in str(named.notes)


def test_few_groups_turn_together() -> None:
    law, truth, inputs, noise, _ = grouped(0)
    fit = fitted((law, truth, inputs, noise, np.repeat(np.arange(5), 20)), "auto", resamples=20)
    assert fit.resampled.bootstrap == "wild" and "5 groups, too few to draw from" in str(fit.notes)


def test_without_a_name_nothing_changes_and_the_bootstrap_is_recorded(planted_rows: Runs) -> None:
    plain = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=20)
    named = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=20, resampling=find_bootstrap("case"))
    assert plain.resampled.bootstrap == named.resampled.bootstrap == "case" and "bootstrap" not in plain.codes
    np.testing.assert_array_equal(plain.draws, named.draws)
    assert fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=0).resampled.bootstrap is None


def test_names_that_do_not_exist_are_refused(planted_rows: Runs) -> None:
    with pytest.raises(UsageError, match="bootstrap 'wld' does not exist") as caught:
        find_bootstrap("wld")
    assert "'wild'" in str(caught.value)
    with pytest.raises(UsageError, match="intervals 'profil' do not exist"):
        fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, intervals="profil")


def test_a_deleted_residual_is_that_of_the_fit_without_its_row_or_group() -> None:
    generator = np.random.default_rng(0)
    x = generator.uniform(0, 3, 24)
    law = parse_formula("exp(a + b * x)", ["a", "b"], ["x"], objective=LeastSquares())
    y = np.exp(0.7 + 0.4 * x + generator.normal(0, 0.1, 24))
    for groups in (None, np.arange(24) // 4):
        rows = usable_rows(law, x, y, None, groups)
        fit = fit_law(law, x, y, resamples=0)
        found = deleted_residuals(law, fit.coefficients, [0, 1], rows, fit.solution.residuals, LeastSquares())
        labels = np.arange(24) if groups is None else groups
        for label in (0, 3):
            out = labels == label
            slope, level = np.polyfit(x[~out], np.log(y[~out]), 1)
            np.testing.assert_allclose(found[out], np.log(y[out]) - level - slope * x[out], rtol=1e-5)


def test_rows_that_a_law_goes_through_do_not_raise_the_density_at_a_kink() -> None:
    residuals = np.concatenate([np.zeros(5), np.random.default_rng(0).normal(0, 0.01, 55)])
    found = mean_slope(residuals, np.ones(60), Huber(1e-5), num_free=5)
    fresh = mean_slope(np.random.default_rng(1).normal(0, 0.01, 60), np.ones(60), Huber(1e-5), num_free=0)
    assert found == pytest.approx(fresh, rel=0.25)
    assert mean_slope(residuals, np.ones(60), Huber(1e-5), num_free=0) > 1.1 * found


def test_intervals_of_another_kind_come_with_the_fit(planted_rows: Runs) -> None:
    def made(kind: str) -> Fit:
        return fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=30, intervals=kind)

    plain, profile, jackknife = made("percentile"), made("profile"), made("jackknife")
    for fit in (profile, jackknife):
        assert (fit.lower < fit.coefficients).all() and (fit.coefficients < fit.upper).all()
        np.testing.assert_array_equal(fit.draws, plain.draws)
        assert "intervals" in fit.codes
    assert (profile.intervals.kind, jackknife.intervals.kind, plain.intervals.kind) == (
        "profile",
        "jackknife",
        "percentile",
    )
    assert jackknife.intervals.bias is not None and profile.intervals.bias is None
    np.testing.assert_array_equal(profile.std_errors, plain.std_errors)


def test_a_coefficient_that_is_kept_has_no_interval(planted_rows: Runs) -> None:
    kept = {"E": 1.8, "A": 400.0}
    fit = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=0, fixed=kept, intervals="profile")
    assert fit.lower[0] == fit.upper[0] == 1.8 and (fit.lower[2:] < fit.upper[2:]).all()


def test_intervals_that_cannot_be_made_are_said() -> None:
    x = np.geomspace(1e6, 1e9, 3)
    fit = fit_law(POWER, x, POWER.predict(POWER_TRUTH, x[:, None]), resamples=0, intervals="profile")
    assert "no_intervals" in fit.codes and np.isnan(fit.lower).all() and fit.intervals.kind == "percentile"


@pytest.mark.parametrize("world", [growing, grouped])
def test_the_rule_covers(world: Callable[[int], World]) -> None:
    assert coverage(world, 10, bootstrap="auto", resamples=60).mean() >= 0.8


@pytest.mark.long
@pytest.mark.parametrize(
    ("world", "bootstrap"),
    [
        (even, "case"), (even, "wild"), (even, "residual"), (even, "auto"), (growing, "case"), (growing, "wild"),
        (growing, "auto"), (few, "residual"), (few, "wild"), (few, "auto"), (grouped, "cluster"), (grouped, "wild"),
        (grouped, "auto"),
    ],
)  # fmt: skip
def test_every_bootstrap_covers_where_it_is_meant_for(world: Callable[[int], World], bootstrap: str) -> None:
    found = coverage(world, 60, bootstrap=bootstrap)
    assert found.mean() >= 0.85 and found.min() >= 0.8, found


@pytest.mark.long
def test_rows_drawn_one_by_one_do_not_cover_where_groups_share_their_luck() -> None:
    assert coverage(lambda seed: (*grouped(seed)[:4], None), 60, bootstrap="case").mean() < 0.75


@pytest.mark.long
@pytest.mark.parametrize("world", [even, growing, few, grouped])
def test_profiles_cover(world: Callable[[int], World]) -> None:
    assert coverage(world, 30, bootstrap="case", resamples=0, intervals="profile").mean() >= 0.85
    assert isinstance(find_bootstrap("auto"), AutoBootstrap)
