"""Rows that are not independent are found by what a law leaves of them, and independent ones are left alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from isoflop.queries.fitting import fit_law
from isoflop.queries.fitting.block_bootstrap import BlockBootstrap
from isoflop.queries.fitting.data import usable_rows
from isoflop.queries.fitting.dependence import FEWEST_TIMES, Serial, alike_groups, blocks, serial_curves
from isoflop.queries.fitting.quantiles import fisher_tail
from isoflop.queries.laws import POWER

Array = NDArray[np.float64]


def remembering(share: float, count: int, generator: np.random.Generator) -> Array:
    found = generator.standard_normal(count)
    for point in range(1, count):
        found[point] = share * found[point - 1] + np.sqrt(1 - share**2) * found[point]
    return found


@pytest.mark.parametrize("draw", ["normal", "heavy", "growing"])
def test_independent_residuals_are_never_alike(draw: str) -> None:
    for seed in range(150):
        generator = np.random.default_rng(seed)
        count = int(generator.integers(8, 80))
        noise = generator.standard_normal(count) if draw == "normal" else generator.standard_t(2, count)
        noise *= np.linspace(1, 5, count) if draw == "growing" else 1.0
        labels = {str(groups): (np.arange(count) % groups).tolist() for groups in (4, 6, 10, 20)}
        assert alike_groups(noise, labels, 3) is None
        assert serial_curves(noise, np.arange(count)[:, None], [0] * count, 3) is None


def test_groups_are_found_and_the_widest_that_explain_them_are_taken() -> None:
    generator = np.random.default_rng(0)
    size = np.repeat(np.arange(12), 6)
    noise = generator.standard_normal(12)[size] + 0.3 * generator.standard_normal(72)
    labels = {"half": (np.arange(72) // 3).tolist(), "size": size.tolist(), "seed": (np.arange(72) % 6).tolist()}
    found = alike_groups(noise, labels, 3)
    assert found is not None and found.name == "size" and found.num_groups == 12
    assert found.correlation == pytest.approx(1 / 1.09, abs=0.15)
    first = alike_groups(noise, labels, 3, first="half")
    assert first is not None and first.name == "half"


def test_what_only_rounding_leaves_says_nothing() -> None:
    labels = {"group": np.repeat(np.arange(8), 5).tolist()}
    assert alike_groups(1e-12 * np.repeat(np.arange(8.0), 5), labels, 3) is None


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_the_autocorrelation_time_is_that_of_the_noise(share: float) -> None:
    found = []
    x = np.geomspace(1e7, 1e10, 300)[:, None]
    for seed in range(12):
        noise = remembering(share, 300, np.random.default_rng(seed))
        fit = fit_law(POWER, x, (1.7 + 400 / x[:, 0] ** 0.34) * np.exp(0.005 * noise), resamples=0)
        serial = serial_curves(fit.solution.residuals, x, ["a"] * 300, 3)
        assert serial is not None
        found.append(serial.time)
    assert np.median(found) == pytest.approx((1 + share) / (1 - share), rel=0.25)
    assert max(found) <= 300 / FEWEST_TIMES


def test_points_of_several_curves_are_put_in_order_one_curve_after_another() -> None:
    noise = np.concatenate([remembering(0.9, 60, np.random.default_rng(seed)) for seed in (0, 1)])
    x = np.tile(np.arange(60.0), 2)[:, None]
    shuffled = np.random.default_rng(2).permutation(120)
    curves = np.repeat(["a", "b"], 60)
    serial = serial_curves(noise[shuffled], x[shuffled], curves[shuffled].tolist(), 3)
    assert serial is not None
    ordered = curves[shuffled][serial.along]
    assert (ordered[:60] == ordered[0]).all() and (ordered[60:] == ordered[60]).all()
    assert (np.diff(x[shuffled][serial.along][:60, 0]) == 1).all()


def test_blocks_of_neighbors_are_drawn_whole() -> None:
    along = np.random.default_rng(0).permutation(50)
    bootstrap = BlockBootstrap(along, 10, 12.0)
    data = usable_rows(POWER, np.arange(1.0, 51)[:, None], np.arange(1.0, 51))
    drawn = bootstrap.draw(data, data.target, 3, 40, np.random.default_rng(1)).weights
    assert drawn.shape == (40, 50) and (drawn.sum(axis=1) == 50).all()
    changes = np.count_nonzero(np.diff(drawn[:, along], axis=1), axis=1)
    assert changes.max() <= 10  # each of 5 blocks begins and ends once
    assert bootstrap.tail(data, 3, 0.95) < 0.025
    numbered = blocks(Serial(along, 0.8, 5.0), 10)
    assert np.bincount(numbered).tolist() == [10] * 5 and (np.diff(numbered[along]) >= 0).all()


def test_the_tail_of_fishers_ratio_agrees_with_scipy() -> None:
    from scipy.stats import f

    for between in (1, 3, 40, 400):
        for within in (1, 4, 100, 20_000):
            for ratio in (0.1, 1.1, 3.0, 20.0):
                wanted = float(f.sf(ratio, between, within))
                assert fisher_tail(ratio, between, within) == pytest.approx(wanted, rel=1e-8, abs=1e-14)
