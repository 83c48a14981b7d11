"""The best setting of a cell: recovered, covered by its interval, and refused where the rows do not say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from isoflop.queries.planning.cells import (
    LOWER_EDGE,
    NO_MINIMUM,
    OPTIMAL,
    TOO_FEW,
    UNSURE,
    UPPER_EDGE,
    cell_optimum,
    cell_weights,
    power_of,
)

TRIED = np.geomspace(1e-4, 1e-2, 9)
NOISE = 0.01  # of the values, a third of what two settings next to each other differ by at the ends


def valley(settings: NDArray[np.float64], best: float, bend: float = 0.03) -> NDArray[np.float64]:
    """A parabola in log settings with its minimum of 2 at `best`."""
    return 2 + bend * np.log(settings / best) ** 2


@pytest.mark.parametrize("best", [2e-4, 1e-3, 7e-3])
def test_a_parabola_without_noise_is_recovered(best: float) -> None:
    found = cell_optimum(TRIED, valley(TRIED, best))
    assert found.status == OPTIMAL and not found.is_off
    assert (found.optimum, found.value) == pytest.approx((best, 2.0), rel=1e-9)
    assert found.lower == pytest.approx(best, rel=1e-6) == found.upper
    assert (found.rows, found.lowest, found.largest) == (9, 1e-4, pytest.approx(1e-2))


@pytest.mark.parametrize("count", [4, 5, 6, 9, 14])
def test_the_interval_covers(count: int) -> None:
    settings = np.geomspace(1e-4, 1e-2, count)
    covered, within = 0, 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        best = float(np.exp(generator.uniform(np.log(4e-4), np.log(2.5e-3))))
        values = valley(settings, best) + NOISE * generator.standard_normal(count)
        found = cell_optimum(settings, values, generator=generator)
        assert found.status == OPTIMAL or (count == 4 and found.status == UNSURE)
        covered += bool(np.nan_to_num(found.lower) <= best <= np.nan_to_num(found.upper, nan=np.inf))
        within += bool(0.5 < found.optimum / best < 2)
    assert covered >= 90 and within >= 95


def test_intervals_narrow_with_rows_and_widen_with_the_level() -> None:
    values = valley(np.tile(TRIED, 4), 1e-3) + NOISE * np.random.default_rng(0).standard_normal(36)
    few, many = cell_optimum(TRIED, values[:9]), cell_optimum(np.tile(TRIED, 4), values)
    assert np.log(many.upper / many.lower) < 0.7 * np.log(few.upper / few.lower)
    assert cell_optimum(TRIED, values[:9], level=0.5).lower > few.lower
    assert many.spread < few.spread


@pytest.mark.parametrize(
    ("values", "status"),
    [
        (valley(TRIED, 2e-2), UPPER_EDGE),
        (valley(TRIED, 5e-5), LOWER_EDGE),
        (valley(TRIED, 1e-3, bend=-0.03), NO_MINIMUM),
        (2 + 0 * TRIED, NO_MINIMUM),
    ],
)
def test_what_says_nothing_is_named(values: NDArray[np.float64], status: str) -> None:
    found = cell_optimum(TRIED, values)
    assert found.status == status and found.rows == 9
    assert np.isnan([found.optimum, found.lower, found.upper, found.value]).all()


def test_few_different_settings_say_nothing_however_many_rows() -> None:
    thrice = np.tile(TRIED[:3], 5)
    assert cell_optimum(thrice, valley(thrice, 2e-4)).status == TOO_FEW
    nearly = TRIED[0] * np.array([1, 1 + 1e-12, 2, 2 + 1e-12, 4])
    assert cell_optimum(nearly, valley(nearly, 2e-4)).status == TOO_FEW
    assert cell_optimum(TRIED[:1], np.array([2.0])).status == TOO_FEW


def test_noise_without_a_valley_is_unsure_or_has_no_minimum() -> None:
    cells = [cell_optimum(TRIED[:6], 2 + NOISE * np.random.default_rng(seed).standard_normal(6)) for seed in range(100)]
    statuses = [found.status for found in cells]
    assert statuses.count(OPTIMAL) <= 10 and UNSURE in statuses and NO_MINIMUM in statuses
    for found in cells:
        if found.status == UNSURE:
            assert np.isnan(found.lower) or np.isnan(found.upper)


def test_rows_far_above_the_lowest_are_left_out() -> None:
    values = valley(TRIED, 1e-3)
    values[-2:] = 8.0  # diverged
    whole, near = cell_optimum(TRIED, values), cell_optimum(TRIED, values, within=0.2)
    assert whole.is_off and whole.optimum < 5e-4
    assert near.optimum == pytest.approx(1e-3) and near.rows == 7 and not near.is_off and near.largest == TRIED[6]


def test_cells_are_weighed_by_their_own_and_their_common_scatter() -> None:
    inputs = np.geomspace(1, 1e4, 12)[:, None]
    spreads = np.where(np.arange(12) % 2, 0.02, 0.2)
    generator = np.random.default_rng(0)
    close = inputs[:, 0] ** 0.5 * np.exp(spreads * generator.standard_normal(12))
    sure = cell_weights(inputs, close, spreads)
    assert sure.mean() == pytest.approx(1) and sure[1] > 50 * sure[0]
    apart = inputs[:, 0] ** 0.5 * np.exp(0.5 * generator.standard_normal(12))
    assert cell_weights(inputs, apart, spreads)[1] < 1.5 * cell_weights(inputs, apart, spreads)[0]
    assert (cell_weights(inputs, close, np.full(12, np.nan)) == 1).all()
    assert np.isfinite(cell_weights(inputs, close, np.zeros(12))).all()


def test_a_power_needs_cells_that_differ() -> None:
    sizes = np.geomspace(1e7, 1e10, 5)
    plane = np.column_stack([np.repeat(sizes, 5), np.tile(sizes, 5)])
    optima = 3 * plane[:, 0] ** -0.7 * plane[:, 1] ** 0.3
    assert power_of(plane, optima, np.ones(25)) == pytest.approx([np.log(3), -0.7, 0.3])
    line = np.column_stack([sizes, 20 * sizes])
    assert power_of(line, sizes, np.ones(5)) is None
    assert power_of(plane[:2], optima[:2], np.ones(2)) is None and power_of(plane[:0], optima[:0], np.ones(0)) is None


def test_the_lowest_of_noisy_parabolas_is_off_by_chance_only() -> None:
    off = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        values = valley(TRIED[:7], float(np.exp(generator.uniform(-8, -6))))
        found = cell_optimum(TRIED[:7], values + NOISE * generator.standard_normal(7))
        off += found.status == OPTIMAL and found.is_off
    assert off <= 2
