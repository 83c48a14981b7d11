"""Multi-head attention of random weights: a layer against the weights written out, and what is measured of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isoflop.lakehouse.models.attention_kernels import attention_within, input_kernel, logit_metrics
from isoflop.workers import TrainOptions
from isoflop.workers.families import AttentionKernels, ConfigError
from isoflop.workers.families.packed import Program

SMALL: dict[str, Any] = {"depth": 1, "heads": 2, "head_width": 2, "sequences": 2, "sequence_length": 2, "dimension": 3}


def program_of(runs: list[AttentionKernels]) -> Program:
    return AttentionKernels.program(runs, AttentionKernels.device(TrainOptions()))


def streams_of(program: Program, count: int) -> np.ndarray:
    """The streams (count, B T, N H) of the first runs of a program."""
    return np.stack([program.state(run)["stream"] for run in range(count)])


def written_out(run: AttentionKernels, inputs: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Streams after one layer and all logits by the paper's equations, every weight drawn."""
    random, n, wide = np.random.default_rng(8), run.head_width, run.heads * run.head_width
    added, tokens = run.branch * run.depth**-run.depth_exponent, run.sequence_length
    streams, logits = [], []

    def seen(h: np.ndarray) -> np.ndarray:
        return h / np.sqrt((h**2).mean(axis=1, keepdims=True)) if run.normalized else h

    for _ in range(count):
        h = inputs @ random.standard_normal((run.dimension, wide)) / np.sqrt(run.dimension)
        new = h.copy()
        for _ in range(run.heads):
            q, k, v = (seen(h) @ random.standard_normal((wide, n)) / np.sqrt(wide) for _ in range(3))
            a, out = q @ k.T / n**run.attention_exponent, random.standard_normal((n, wide))
            for start in range(0, len(h), tokens):
                part = slice(start, start + tokens)
                weights = np.exp(a[part, part]) / np.exp(a[part, part]).sum(axis=1, keepdims=True)
                new[part] += added * weights @ v[part] @ out / np.sqrt(wide)
                logits.append(a[part, part])
        h = new
        if run.feed_forward:
            inner = np.sqrt(2) * np.maximum(seen(h) @ random.standard_normal((wide, wide)) / np.sqrt(wide), 0)
            h = h + added * inner @ random.standard_normal((wide, wide)) / np.sqrt(wide)
        streams.append(h)
    return np.array(streams), np.array(logits)


@pytest.mark.parametrize(
    "settings",
    [
        {"branch": 1.5},
        {"attention_exponent": 0.5, "feed_forward": False},
        {"normalized": False, "attention_exponent": 0.7},
    ],
)
def test_a_layer_has_the_law_of_one_with_every_weight_drawn(settings: dict[str, Any]) -> None:
    count = 3000
    runs = [AttentionKernels.parse({**SMALL, **settings, "seed": seed}) for seed in range(count)]
    program = program_of(runs)
    program.advance(1)
    ours = streams_of(program, count)
    inputs = np.random.default_rng(0).standard_normal((4, 3))
    np.testing.assert_allclose(inputs @ inputs.T / 3, input_kernel(2, 2, 3, 0))
    theirs, logits = written_out(runs[0], inputs, count)
    kernels = [(h @ h.transpose(0, 2, 1) / 4).reshape(count, 16) for h in (ours, theirs)]
    moments = [np.concatenate([each, np.log1p(np.abs(each))], axis=1) for each in kernels]  # tails of squares are heavy
    error = np.sqrt(sum(each.var(axis=0) for each in moments) / count)
    distance = (moments[0].mean(axis=0) - moments[1].mean(axis=0)) / error
    assert np.abs(distance).max() < 4.5, distance  # the largest of 20 that differ
    found = program.measure()["logit_variance"]
    said, spread = (logits**2).mean(), (logits**2).std() / np.sqrt(count)  # heads and pairs of a network are alike
    assert abs(found.mean() - said) < 4 * np.sqrt(found.var() / count + spread**2)


def test_attention_stays_within_sequences() -> None:
    weights = attention_within(np.random.default_rng(0).standard_normal((3, 6, 6)), 2)
    np.testing.assert_allclose(weights.sum(axis=2), 1)
    assert (weights[:, :3, 3:] == 0).all() and (weights[:, 3:, :3] == 0).all() and (weights[:, :3, :3] > 0).all()


def test_logits_are_compared_over_heads_and_within_sequences() -> None:
    logits, kernel = np.random.default_rng(1).standard_normal((5, 4, 4)), np.diag([1.0, 4.0, 9.0, 16.0])
    said = logit_metrics(logits, kernel, 2)
    inside = [logits[:, a, b] for block in (0, 2) for a in (block, block + 1) for b in (block, block + 1)]
    assert said["logit_variance"] == pytest.approx(np.mean([np.var(pair, ddof=1) for pair in inside]))
    scales = [(a + 1) * (b + 1) for block in (0, 2) for a in (block, block + 1) for b in (block, block + 1)]
    over = np.array([pair / scale for pair, scale in zip(inside, scales, strict=True)])
    assert said["logit_kurtosis"] == pytest.approx(np.mean(over**4) / np.mean(over**2) ** 2)
    assert logit_metrics(logits[:1], kernel, 2)["logit_variance"] == 0


def test_seeds_share_their_inputs_and_data_seeds_do_not() -> None:
    runs = [
        AttentionKernels.parse({**SMALL, "heads": 4000, "seed": seed, "data_seed": data})
        for seed, data in ((0, 0), (1, 0), (0, 5))
    ]
    streams = streams_of(program_of(runs), 3)
    kernels = streams @ streams.transpose(0, 2, 1) / streams.shape[2]
    np.testing.assert_allclose(kernels[0], kernels[1], atol=0.2)  # 4 deviations of the largest entry
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-6
    assert np.abs(kernels[0] - kernels[2]).max() > 0.5


def test_too_large_a_network_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'heads' is 1000000: a layer has 2.9e\+08 numbers; at most 1.3e\+08"):
        AttentionKernels.parse({"depth": 1, "heads": 1_000_000, "head_width": 4})
    with pytest.raises(ConfigError, match=r"'attention_exponent' is 0\.2; it should be at least 0\.5"):
        AttentionKernels.parse({**SMALL, "attention_exponent": 0.2})
