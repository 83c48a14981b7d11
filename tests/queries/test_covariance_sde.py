"""The covariance SDE against networks of random weights: the acceptance checks of its specification, by number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp

from isoflop.lakehouse.models.shaped_attention import covariance_root
from isoflop.queries.theory.covariance_sde import COVARIANCE_SDE
from isoflop.queries.theory.shaped_covariance import CovariancePaths, ShapedNetwork, covariance_statistics
from isoflop.workers import TrainOptions
from isoflop.workers.families import ShapedTransformer
from tests.lakes import open_here
from tests.workers.test_shaped_transformer_family import FIRST, after_one_layer, program_of, tokens_of


def measured(count: int, depth: int, **settings: Any) -> dict[str, np.ndarray]:
    """Every metric of some networks after their last layer, (count,)."""
    runs = [ShapedTransformer.parse({"depth": depth, **settings, "seed": seed}) for seed in range(count)]
    program = program_of(runs)
    program.advance(depth)
    return dict(program.measure())


def diffusion(network: ShapedNetwork, covariance: np.ndarray) -> np.ndarray:
    """The covariance (m, m) of the upper triangle of dV in a time of 1: noise is linear in its normal numbers."""
    size = len(covariance)
    units = np.eye(2 * size * size).reshape(-1, 2, size, size)
    rows, columns = np.triu_indices(size)
    moved = network.noise(covariance_root(covariance)[0], units)[:, rows, columns]
    return moved.T @ moved


def published(network: ShapedNetwork, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drift and diffusion without a mask, index by index as the specification has them."""
    size, g2, t2 = len(v), network.gamma**2, network.temperature**2
    row, total, q = v.mean(axis=1), v.mean(), np.trace(v) / len(v)
    centered = v - row[:, None] - row + total
    e = np.diag(v)[:, None] / (2 * size * t2) * (np.diag(v) - q - 2 * row + 2 * total)
    kappa = (v * centered).sum() / (size**2 * t2)
    drift, vcv = g2 * (e @ v + v @ e.T + kappa * v), v @ centered @ v
    linear = g2 * (2 - g2)
    if network.feed_forward:
        linear += 2 * g2
        scale = np.sqrt(np.outer(np.diag(v), np.diag(v)))
        rho = v / scale
        bend = (network.positive_slope - network.negative_slope) ** 2 / (2 * np.pi)
        drift = drift + g2 * bend * (np.sqrt(np.maximum(1 - rho**2, 0)) - rho * np.arccos(np.minimum(rho, 1))) * scale
    pairs = [(a, b) for a in range(size) for b in range(a, size)]
    sigma = [
        [
            linear * (v[a, d] * v[b, e_] + v[a, e_] * v[b, d])
            + g2**2 / (t2 * size**2)
            * (v[a, d] * vcv[b, e_] + v[a, e_] * vcv[b, d] + v[b, d] * vcv[a, e_] + v[b, e_] * vcv[a, d])
            for d, e_ in pairs
        ]
        for a, b in pairs
    ]  # fmt: skip
    return drift, np.array(sigma)


@pytest.mark.parametrize("feed_forward", [False, True])
def test_without_a_mask_it_is_the_published_equation(feed_forward: bool) -> None:
    network = ShapedNetwork(
        sequence_length=3, first_correlation=0.3, gamma=0.5, temperature=0.7, feed_forward=feed_forward,
        positive_slope=0.5,
    )  # fmt: skip
    drift, sigma = published(network, FIRST)
    np.testing.assert_allclose(network.drift(FIRST), drift, rtol=1e-12)
    np.testing.assert_allclose(diffusion(network, FIRST), sigma, rtol=1e-12)


@pytest.mark.parametrize(("causal", "count"), [(False, 20_000), (True, 8000)])
def test_1_one_layer_moves_by_the_drift_and_scatters_by_the_diffusion(causal: bool, count: int) -> None:
    width = 64
    after = after_one_layer(tokens_of(FIRST, width), count, gamma=0.5, causal=causal)
    network = ShapedNetwork(sequence_length=3, first_correlation=0.3, gamma=0.5, causal=causal)
    rows, columns = np.triu_indices(3)
    moved = width * (after - FIRST)[:, rows, columns]
    distance = (moved.mean(axis=0) - network.drift(FIRST)[rows, columns]) / (moved.std(axis=0) / np.sqrt(count))
    assert np.abs(distance).max() < 4, distance
    sigma = diffusion(network, FIRST)
    assert np.abs(np.cov(moved.T) / width - sigma).max() < 0.1 * sigma.max()


def test_1_a_layer_with_a_feed_forward_part_does_too_where_it_is_wide() -> None:
    """Two parts of a layer meet at order 1 / width, so it is 8 times as wide."""
    width, count = 512, 1500
    after = after_one_layer(tokens_of(FIRST, width), count, gamma=0.5, feed_forward=True)
    network = ShapedNetwork(sequence_length=3, first_correlation=0.3, gamma=0.5, feed_forward=True)
    rows, columns = np.triu_indices(3)
    moved = width * (after - FIRST)[:, rows, columns]
    distance = (moved.mean(axis=0) - network.drift(FIRST)[rows, columns]) / (moved.std(axis=0) / np.sqrt(count))
    assert np.abs(distance).max() < 4, distance
    sigma = diffusion(network, FIRST)
    assert np.abs(np.cov(moved.T) / width - sigma).max() < 0.1 * sigma.max()


def test_2_networks_of_64_layers_have_the_correlations_of_paths() -> None:
    shape = {"sequence_length": 3, "first_correlation": 0.2, "gamma": 0.5}
    found = measured(200, 64, width=64, **shape)["correlation"]
    paths = CovariancePaths(ShapedNetwork(**shape), 1000, seed=1, step=0.01)
    for _ in range(100):
        paths.advance()
    variances = np.diagonal(paths.covariance, axis1=1, axis2=2)
    drawn = paths.covariance / np.sqrt(variances[:, :, None] * variances[:, None, :])
    said = drawn[:, [0, 0, 1], [1, 2, 2]].mean(axis=1)
    assert abs(found.mean() - said.mean()) < 0.05
    assert abs(found.std() - said.std()) < 0.05
    assert ks_2samp(found, said).statistic < 0.15


def test_3_unshaped_attention_collapses_and_shaped_does_not() -> None:
    shape = {"width": 64, "sequence_length": 4, "gamma": 0.5, "first_correlation": 0.3}
    assert measured(50, 64, attention="unshaped", **shape)["correlation"].mean() > 0.95
    assert measured(50, 64, **shape)["correlation"].mean() < 0.5


def test_3_a_branch_of_one_over_the_root_of_depth_collapses_by_as_much_at_any_depth() -> None:
    """Unshaped attention then mixes for a time of 1 in all, (1 - rho) of a share, and no more with depth."""
    shape = {"width": 64, "sequence_length": 4, "first_correlation": 0.3, "attention": "unshaped"}
    shallow, deep = (measured(60, depth, gamma=depth**-0.5, **shape)["correlation"] for depth in (32, 128))
    assert 0.5 < deep.mean() < 0.7
    error = np.sqrt((shallow.var() + deep.var()) / 60)
    assert abs(shallow.mean() - deep.mean()) < 4 * error + 0.02


@pytest.mark.parametrize("gamma", [1e-4, 1e-7])
def test_4_small_branches_move_the_covariance_by_as_little_as_themselves(gamma: float) -> None:
    """The noise is of order gamma, 2 gamma on the diagonal in a time of 1: below 1e-6 for 1e-7, not for 1e-4."""
    paths = CovariancePaths(ShapedNetwork(sequence_length=4, first_correlation=0.2, gamma=gamma), 200, step=0.01)
    before = paths.covariance.copy()
    for _ in range(100):
        paths.advance()
    assert gamma < np.abs(paths.covariance - before).max() < 10 * gamma
    drawn = measured(50, 64, width=64, gamma=gamma)
    assert np.abs(drawn["variance"] - 1).max() < 10 * gamma


def test_4_one_token_is_a_geometric_brownian_motion() -> None:
    rate = 0.5**2 * (2 - 0.5**2)
    logs = np.log(measured(400, 64, width=64, sequence_length=1, gamma=0.5)["variance"])
    assert abs(logs.mean() + rate) < 4 * logs.std() / np.sqrt(400)
    assert logs.std() == pytest.approx(np.sqrt(2 * rate), rel=0.15)
    paths = CovariancePaths(ShapedNetwork(sequence_length=1, first_correlation=0.0, gamma=0.5), 2000)
    for _ in range(200):
        paths.advance()
    drawn = np.log(paths.covariance[:, 0, 0])
    assert abs(drawn.mean() + rate) < 4 * drawn.std() / np.sqrt(2000)
    assert drawn.std() == pytest.approx(np.sqrt(2 * rate), rel=0.1)


def test_5_correlations_depend_on_depth_over_width_alone() -> None:
    found = {
        width: measured(200 if width < 128 else 120, width, width=width, sequence_length=3, gamma=0.5)["correlation"]
        for width in (32, 64, 128)
    }
    for narrow, wide in ((32, 64), (64, 128), (32, 128)):
        error = np.sqrt(sum(found[width].var() / len(found[width]) for width in (narrow, wide)))
        assert abs(found[narrow].mean() - found[wide].mean()) < 4 * error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "depth"),
    [
        ({"gamma": 0.5}, 100),
        ({"gamma": 0.3, "temperature": 0.5}, 100),
        ({"gamma": 0.5, "feed_forward": True}, 50),
        ({"gamma": 0.7071}, 50),
        ({"gamma": 0.5, "causal": True}, 100),
    ],
    ids=["attention", "cold", "feed forward", "large branch", "causal"],
)
def test_2_the_whole_form_at_width_100(settings: dict[str, Any], depth: int) -> None:
    """The table of the specification: 400 networks of 4 tokens; the mask is an addition."""
    found = measured(400, depth, width=100, first_correlation=0.3, **settings)
    network = ShapedNetwork(sequence_length=4, first_correlation=0.3, **settings)
    said = covariance_statistics(network, depth / 100, paths=4000)
    error = found["correlation"].std() / np.sqrt(400)
    assert abs(found["correlation"].mean() - said.mean["correlation"][-1]) < 4 * error
    assert found["correlation"].std() == pytest.approx(said.deviation["correlation"][-1], rel=0.15)
    low, _, _, _, high = said.quantiles["correlation"][-1]
    assert np.quantile(found["correlation"], [0.1, 0.9]) == pytest.approx([low, high], abs=0.06)
    assert np.median(found["variance"]) == pytest.approx(said.quantiles["variance"][-1][2], rel=0.15)


def test_predictions_of_runs_are_those_of_the_paths_at_every_layer() -> None:
    run = ShapedTransformer.parse({"width": 40, "depth": 40, "sequence_length": 3, "gamma": 0.5, "causal": True})
    at = np.array([0, 1, 5, 20, 40])
    said = COVARIANCE_SDE.predict({**run.config(), "seed": 0, "steps": None}, at)
    seeds = [ShapedTransformer.parse({**run.config(), "seed": seed}) for seed in range(200)]
    program, done = ShapedTransformer.program(seeds, ShapedTransformer.device(TrainOptions())), 0
    for place, layer in enumerate(at.tolist()):
        program.advance(layer - done)
        done, found = layer, program.measure()
        for metric in ("correlation", "rank"):
            error = found[metric].std() / np.sqrt(200)
            assert abs(found[metric].mean() - said.mean[metric][place]) < 4 * error + 1 / 40  # of order 1 / width
            assert found[metric].std() == pytest.approx(said.deviation[metric][place], rel=0.3, abs=1e-9)
        assert np.median(found["variance"]) == pytest.approx(said.mean["variance"][place], rel=0.15)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attention": "unshaped"}, "its attention is not shaped"),
        ({"identity": 0.5}, "its identity has the weight 0.5; only 1 has a limit"),
        ({"sequence_length": 17}, "it has 17 tokens; at most 16"),
        ({"depth": 500}, "15.6 times as many layers as dimensions; at most 10"),
        ({"gamma": 1.0, "temperature": 0.1, "sequence_length": 2}, "of its paths grow without bound by layer 16"),
    ],
)
def test_what_has_no_limit_is_not_predicted(changes: dict[str, Any], said: str) -> None:
    run = ShapedTransformer.parse({"width": 32, "depth": 16, "gamma": 0.5, **changes})
    with pytest.raises(ArithmeticError, match=said):
        COVARIANCE_SDE.predict({**run.config(), "seed": 0, "steps": None}, np.array([0, 1]))


def test_the_table_function_answers_with_the_same_paths(tmp_path: Path) -> None:
    with open_here(tmp_path / "lake.duckdb") as lake:
        rows = lake.sql(
            "SELECT depth, correlation_mean, correlation_q10, variance_q50, exploded "
            "FROM covariance_sde([0, 4, 8], 64, 0.5, sequence_length := 3)"
        ).rows()
    network = ShapedNetwork(sequence_length=3, first_correlation=0.2, gamma=0.5, positive_slope=0.0, negative_slope=0.0)
    said = covariance_statistics(network, 0.125, paths=4000)
    assert rows[0][1:] == pytest.approx((0.2, 0.2, 1.0, 0.0))
    assert [rows[0][1], rows[2][1]] == pytest.approx(said.mean["correlation"][[0, 25]])
    assert rows[1][2] == pytest.approx(said.quantiles["correlation"][12:14, 0].mean())
    assert rows[2][3] == pytest.approx(said.quantiles["variance"][25, 2])
