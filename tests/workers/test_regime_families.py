"""Runs of the four regimes: least squares and nearest neighbors by the book, what seeds share, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isoflop.lakehouse.errors import UsageError
from isoflop.queries.theory.four_regimes import FOUR_REGIMES, ridgeless_loss
from isoflop.queries.theory.regimes import power_law_modes
from isoflop.workers import TrainOptions
from isoflop.workers.families import ConfigError, NearestNeighbours, Ridgeless

SMALL: dict[str, Any] = {"dimension": 60, "spectrum_exponent": 0.75, "draws": 3}


def measured(run: Ridgeless | NearestNeighbours, marks: list[int]) -> dict[str, np.ndarray]:
    """Every metric of a run at some places of its axis, (marks,)."""
    program = type(run).program([run], type(run).device(TrainOptions()))  # type: ignore[list-item]
    rows, done = [], 0
    for mark in marks:
        program.advance(mark - done)
        rows.append(program.measure())
        done = mark
    return {name: np.array([row[name][0] for row in rows]) for name in rows[0]}


def by_the_book(samples: int, width: int, seed: int, draw: int) -> float:
    """One draw by the pseudoinverse, in the coordinates of the modes."""
    spread = np.arange(1, 61) ** -0.75
    teacher, features, inputs = (
        np.random.default_rng([seed, draw, stream]).standard_normal(shape)
        for stream, shape in enumerate((60, (width, 60), (samples, 60)))
    )
    psi = inputs * spread
    theta = np.linalg.pinv(psi @ features.T, rcond=1e-13) @ (psi @ teacher)
    return float(np.sum((spread * (teacher - features.T @ theta)) ** 2))


@pytest.mark.parametrize(("samples", "width"), [(12, 30), (30, 12), (300, 20), (12, 500)])
def test_a_draw_is_least_squares_of_least_norm(samples: int, width: int) -> None:
    run = Ridgeless.parse({**SMALL, "samples": samples, "width": width, "seed": 5})
    losses = [by_the_book(samples, width, 5, draw) for draw in range(3)]
    found = measured(run, [1, 3])
    np.testing.assert_allclose(found["loss"], [losses[0], np.mean(losses)], rtol=1e-8)
    np.testing.assert_allclose(found["scatter"], [0.0, np.std(losses, ddof=1)], rtol=1e-6)


@pytest.mark.parametrize("scarce", ["samples", "width"])
def test_without_end_it_is_what_much_of_it_tends_to(scarce: str) -> None:
    """Of 12, 20,000 of the other leave 12 / 20,000 of the loss; runs of one seed share their samples."""
    other = "width" if scarce == "samples" else "samples"
    end, without = (
        measured(Ridgeless.parse({**SMALL, scarce: 12, "draws": 1, **more}), [1])["loss"][0]
        for more in ({other: 20_000}, {})
    )
    assert (
        0 < abs(end - without) < 0.05 * without
    )  # with features the difference has either sign, of order sqrt(12 / P)
    if scarce == "width":
        assert end > without, "no sample is better than the population"


def test_runs_of_one_seed_share_what_they_can() -> None:
    """The first samples and features of a larger run are those of a smaller one, so their differences are smooth."""
    for seed in range(5):
        runs = [Ridgeless.parse({**SMALL, "samples": size, "width": 10, "seed": seed}) for size in (1000, 1001)]
        losses = [measured(run, [3])["loss"][0] for run in runs]
        assert abs(losses[1] / losses[0] - 1) < 1e-3
    best = [measured(Ridgeless.parse({**SMALL, "width": width}), [3])["loss"][0] for width in (10, 11, 12)]
    assert best[0] > best[1] > best[2], "features that are added make the best student better"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, "'samples' and width are both without end, and nothing is left to learn; give one"),
        ({"samples": 60}, "'samples' is 60: as many as the 60 modes leave nothing to learn"),
        ({"samples": 80, "width": 70}, "'width' is 70: as many as the 60 modes leave nothing to learn"),
        ({"samples": 10**7, "width": 50}, "'width' needs a matrix of 50 x 10000000, 3.73 GiB; at most 2"),
        ({"samples": 10, "width": 0}, "'width' is 0; it should be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Ridgeless.parse({**SMALL, **settings})


def test_a_neighbor_is_the_nearest_on_the_torus() -> None:
    run = NearestNeighbours.parse({"dimension": 2, "samples": 300, "tested": 40, "seed": 3})
    points = np.random.default_rng([3, 0]).uniform(size=(40, 2))
    samples = np.concatenate([np.random.default_rng([3, 1, chunk]).uniform(size=(256, 2)) for chunk in range(2)])
    for count, loss, distance in zip((1, 7, 300), *measured(run, [1, 7, 300]).values(), strict=True):
        shifts = np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
        images = (samples[:count, None] + shifts).reshape(-1, 2)
        apart = np.linalg.norm(points[:, None] - images, axis=2)
        nearest = images[np.argmin(apart, axis=1)]
        error = np.sin(2 * np.pi * points).sum(axis=1) - np.sin(2 * np.pi * nearest).sum(axis=1)
        assert loss == pytest.approx(np.mean(error**2), rel=1e-9)
        assert distance == pytest.approx(apart.min(axis=1).mean(), rel=1e-9)


@pytest.mark.parametrize(("dimension", "most"), [(2, 2000), (3, 4000), (4, 8000)])
def test_check_4_the_error_of_neighbors_falls_as_two_over_the_dimension(dimension: int, most: int) -> None:
    at = np.unique(np.geomspace(most / 32, most, 8).astype(int))
    losses = np.mean(
        [
            measured(NearestNeighbours.parse({"dimension": dimension, "samples": most, "seed": seed}), at.tolist())[
                "loss"
            ]
            for seed in range(3)
        ],
        axis=0,
    )
    assert np.polyfit(np.log(at), np.log(losses), 1)[0] == pytest.approx(-2 / dimension, abs=0.05)


def losses_of(samples: int | None, width: int | None, draws: int, **settings: Any) -> tuple[float, float, float]:
    """Mean loss, its standard error, and what the theory says it is."""
    task = {"dimension": 2000, "spectrum_exponent": 0.75, "samples": samples, "width": width, "draws": draws}
    run = Ridgeless.parse({**task, **settings})
    found = measured(run, [draws])
    said = FOUR_REGIMES.predict({**run.config(), "seed": run.seed}, np.array([draws])).mean["loss"][0]
    return found["loss"][0], found["scatter"][0] / np.sqrt(draws), float(said)


@pytest.mark.parametrize(("one", "other"), [(40, 160), (80, 400)])
def test_checks_2_and_3_simulated_cells_are_dual_and_those_of_the_theory(one: int, other: int) -> None:
    cells = [losses_of(samples, width, 60) for samples, width in ((one, other), (other, one))]
    for loss, error, said in cells:
        assert abs(loss - said) < 3 * error and error < 0.1 * said
    (first, error, said), (second, another, also) = cells
    assert abs(first - second) < 3 * np.hypot(error, another)
    assert said == pytest.approx(also, rel=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(("samples", "width"), [(20, 40), (40, 20), (20, None), (None, 20), (24, 200), (200, 24)])
def test_many_draws_have_mean_and_scatter_of_the_theory(samples: int | None, width: int | None) -> None:
    """Within 4 per cent, which is what the limit of many directions leaves out at 20 of them; scatter within 10."""
    size = {"dimension": 400, "spectrum_exponent": 0.9}
    loss, error, said = losses_of(samples, width, 4000, **size)
    assert abs(loss / said - 1) < 0.04 and error < 0.02 * said
    deviation = ridgeless_loss(samples or np.inf, width or np.inf, power_law_modes(400, 1.8, 1.8))[1]
    assert error * np.sqrt(4000) == pytest.approx(deviation, rel=0.15)


def test_near_the_peak_nothing_is_predicted() -> None:
    run = Ridgeless.parse({**SMALL, "samples": 20, "width": 23})
    with pytest.raises(ArithmeticError, match="20 samples and 23 features are 3 or less apart, at the peak"):
        FOUR_REGIMES.predict({**run.config(), "seed": 0}, np.array([0, 1]))


def test_a_family_is_found_in_american_and_british_letters() -> None:
    from isoflop.workers.families import find_family

    with pytest.raises(UsageError, match="did you mean 'nearest_neighbours'"):
        find_family("nearest_neighbors")
