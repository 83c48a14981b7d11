"""Shaped transformers of random weights: one layer against the weights written out, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isoflop.lakehouse.models.shaped_attention import covariance_metrics, covariance_root, first_covariance
from isoflop.workers import TrainOptions
from isoflop.workers.families import ConfigError, ShapedTransformer
from isoflop.workers.families.packed import Program

FIRST = np.array([[1.0, 0.3, 0.1], [0.3, 1.2, 0.2], [0.1, 0.2, 0.8]])


def program_of(runs: list[ShapedTransformer]) -> Program:
    return ShapedTransformer.program(runs, ShapedTransformer.device(TrainOptions()))


def tokens_of(covariance: np.ndarray, width: int) -> np.ndarray:
    """Tokens (T, width) whose covariance is exactly this one."""
    directions = np.linalg.qr(np.random.default_rng(9).standard_normal((width, len(covariance))))[0]
    return np.sqrt(width) * np.linalg.cholesky(covariance) @ directions.T


def after_one_layer(tokens: np.ndarray, count: int, **settings: Any) -> np.ndarray:
    """Covariances (count, T, T) of the family after a layer, from tokens of the caller's."""
    length, width = tokens.shape
    known = {"depth": 1, "width": width, "sequence_length": length, **settings}
    runs = [ShapedTransformer.parse({**known, "seed": seed}) for seed in range(count)]
    program = program_of(runs)
    program.restore(0, [{"tokens": tokens}] * count)
    program.advance(1)
    after = np.stack([program.state(run)["tokens"] for run in range(count)])
    return after @ after.transpose(0, 2, 1) / width


def written_out(tokens: np.ndarray, count: int, run: ShapedTransformer) -> np.ndarray:
    """The same by the paper's equations, every weight drawn."""
    random, (length, n), gamma = np.random.default_rng(4), tokens.shape, run.gamma
    sees = np.tril(np.ones((length, length))) if run.causal else np.ones((length, length))
    above, below = (1 + slope / np.sqrt(n) for slope in (run.positive_slope, run.negative_slope))
    found = []
    for _ in range(count):
        x = tokens
        queries, keys = (x @ random.standard_normal((n, run.key_width)) for _ in range(2))
        if run.attention == "shaped":
            logits = queries @ keys.T / n / (run.temperature * np.sqrt(n * run.key_width))
        else:
            logits = (queries / np.sqrt(n)) @ (keys / np.sqrt(n)).T / np.sqrt(run.key_width) / run.temperature
        weights = np.exp(logits) * sees
        weights /= weights.sum(axis=1, keepdims=True)
        if run.attention == "shaped":
            weights = run.identity * np.eye(length) + weights - sees / sees.sum(axis=1, keepdims=True)
        x = np.sqrt(1 - gamma**2) * x + gamma * weights @ x @ random.standard_normal((n, n)) / np.sqrt(n)
        if run.feed_forward:
            hidden = x @ random.standard_normal((n, n)) / np.sqrt(n)
            hidden = above * np.maximum(hidden, 0) + below * np.minimum(hidden, 0)
            normal = np.sqrt(2 / (above**2 + below**2) / n)
            x = np.sqrt(1 - gamma**2) * x + gamma * normal * hidden @ random.standard_normal((n, n))
        found.append(x @ x.T / n)
    return np.array(found)


@pytest.mark.parametrize(
    "settings",
    [
        {"gamma": 0.5, "key_width": 5},
        {"gamma": 0.7, "temperature": 0.4, "causal": True, "identity": 0.5},
        {"gamma": 0.5, "attention": "unshaped", "causal": True},
        {"gamma": 0.6, "feed_forward": True, "positive_slope": 0.5, "negative_slope": -2.0},
        {"gamma": 1.0, "attention": "unshaped", "temperature": 0.5, "feed_forward": True},
    ],
    ids=["narrow keys", "causal", "unshaped", "feed forward", "no stream"],
)
def test_a_layer_has_the_law_of_one_with_every_weight_drawn(settings: dict[str, Any]) -> None:
    count, tokens = 4000, tokens_of(FIRST, 8)
    ours = after_one_layer(tokens, count, **settings)
    run = ShapedTransformer.parse({"depth": 1, "width": 8, "sequence_length": 3, **settings})
    theirs = written_out(tokens, count, run)
    moments = [np.concatenate([v.reshape(count, 9), v.reshape(count, 9) ** 2], axis=1) for v in (ours, theirs)]
    error = np.sqrt(sum(each.var(axis=0) for each in moments) / count)
    distance = (moments[0].mean(axis=0) - moments[1].mean(axis=0)) / error
    assert np.abs(distance).max() < 4.5, distance  # the largest of 12 that differ


def test_tokens_begin_with_the_covariance_that_is_asked_for() -> None:
    runs = [
        ShapedTransformer.parse({"depth": 1, "width": 9, "gamma": 0.1, "first_correlation": -0.3, "seed": seed})
        for seed in range(2)
    ]
    program = program_of(runs)
    first, second = (program.state(run)["tokens"] for run in range(2))
    np.testing.assert_allclose(first @ first.T / 9, first_covariance(4, -0.3), atol=1e-12)
    assert not np.allclose(first, second)
    measured = program.measure()
    np.testing.assert_allclose(measured["correlation"], [-0.3, -0.3], rtol=1e-12)


def test_the_first_causal_token_gathers_nothing_but_itself() -> None:
    """Its shaped attention is the identity, so with a long sequence it is a network of one token."""
    runs = [
        ShapedTransformer.parse({"depth": 6, "width": 16, "gamma": 0.6, "causal": True, "seed": seed})
        for seed in range(2)
    ]
    program = program_of(runs)
    shares = program._attention(np.random.default_rng(0).standard_normal((2, 4, 4)))  # type: ignore[attr-defined]
    np.testing.assert_allclose(shares[:, 0], [[1, 0, 0, 0]] * 2, atol=1e-15)
    assert not np.triu(shares[0], 1).any()
    np.testing.assert_allclose(shares.sum(axis=2), 1.0)


def test_roots_and_metrics_are_what_they_say() -> None:
    covariance = np.stack([FIRST, np.ones((3, 3)), np.full((3, 3), np.inf)])
    root, was_outside = covariance_root(covariance, 1e-9)
    np.testing.assert_allclose(root[0] @ root[0].T, FIRST)
    np.testing.assert_allclose(root[1] @ root[1].T, np.ones((3, 3)), atol=1e-8)
    assert was_outside.tolist() == [False, True, False] and np.isnan(root[2]).all()
    found = covariance_metrics(np.stack([np.eye(3) * 2, np.ones((3, 3))]))
    np.testing.assert_allclose(found["variance"], [2, 1])
    np.testing.assert_allclose(found["correlation"], [0, 1], atol=1e-15)
    np.testing.assert_allclose(found["rank"], [3, 1])


def test_one_that_grows_without_bound_is_no_number_and_disturbs_no_other() -> None:
    runs = [ShapedTransformer.parse({"depth": 3, "width": 8, "gamma": 0.5, "seed": seed}) for seed in range(2)]
    program, alone = program_of(runs), program_of(runs[1:])
    program.restore(0, [{"tokens": np.full((4, 8), 1e200)}, program.state(1)])
    program.advance(3)
    alone.advance(3)
    assert not np.isfinite(program.measure()["variance"][0])
    assert program.measure()["variance"][1] == alone.measure()["variance"][0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"width": 3}, "'width' is 3, less than the 4 tokens; at least one dimension a token"),
        ({"first_correlation": -0.4}, "'first_correlation' is -0.4; 4 tokens have correlations above -0.333"),
        ({"attention": "unshaped", "identity": 2}, "'identity' is 2, and unshaped attention has no identity"),
        ({"gamma": 1.5}, "'gamma' is 1.5; it should be at most 1"),
        ({"width": 10**9}, "a layer draws 1.2e\\+10 numbers; at most 1.3e\\+08"),
    ],
)
def test_what_is_no_network_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ShapedTransformer.parse({"width": 16, "depth": 4, "gamma": 0.5, **settings})
