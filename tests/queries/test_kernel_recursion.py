"""Limits of random multi-head attention: the acceptance checks at initialisation, by number; 3, 4 and 7 train."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isoflop.lakehouse.models.attention_kernels import input_kernel
from isoflop.queries.theory.kernel_recursion import KERNEL_RECURSION, HeadLimit, rectified_kernel
from isoflop.workers.families import AttentionKernels
from tests.workers.test_attention_kernels_family import program_of, streams_of


def measured(count: int, **settings: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Streams (count, B T, N H) and every metric of some networks after their last layer."""
    runs = [AttentionKernels.parse({**settings, "seed": seed}) for seed in range(count)]
    program = program_of(runs)
    program.advance(runs[0].depth)
    return streams_of(program, count), dict(program.measure())


def slope(sizes: list[int], values: list[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


@pytest.mark.parametrize(("exponent", "power"), [(1.0, -1.0), (0.5, 0.0)])
def test_1_logits_differ_over_heads_as_the_head_width_to_1_minus_twice_alpha(exponent: float, power: float) -> None:
    widths = [4, 16, 64]
    found = [
        measured(12, depth=1, heads=4, head_width=width, attention_exponent=exponent)[1]["logit_variance"].mean()
        for width in widths
    ]
    assert abs(slope(widths, found) - power) < 0.15
    assert found == pytest.approx([width ** (1 - 2 * exponent) for width in widths], rel=0.3)
    said = KERNEL_RECURSION.exponents({"attention_exponent": exponent, "depth_exponent": 1.0})
    assert said["logit_variance_of_head_width"] == pytest.approx(power)


def test_1_logits_of_narrow_heads_are_far_from_normal() -> None:
    narrow, wide = (measured(30, depth=1, heads=256, head_width=width)[1]["logit_kurtosis"].mean() for width in (1, 16))
    assert narrow == pytest.approx(9, rel=0.1) and wide == pytest.approx(3 + 6 / 16, rel=0.05)


def test_2_kernels_scatter_over_seeds_as_one_over_heads() -> None:
    """The kernel of the mean token, of 12 seeds as specified; and of 60, whose slope is known twice as well."""
    heads = [4, 8, 16, 32]
    for seeds, low, high in ((12, -1.5, -0.6), (60, -1.2, -0.8)):
        found = []
        for count in heads:
            streams, _ = measured(
                seeds, depth=4, heads=count, head_width=4, attention_exponent=0.5, depth_exponent=0.5, sequences=4
            )
            tokens = streams.reshape(seeds, 4, 6, -1).mean(axis=2)
            kernels = tokens @ tokens.transpose(0, 2, 1) / tokens.shape[2]
            found.append(float(kernels.var(axis=0).mean()))
        assert low < slope(heads, found) < high, found


@pytest.mark.parametrize("depth_exponent", [0.5, 1.0])
@pytest.mark.parametrize("changes", [{}, {"normalized": False, "feed_forward": False}], ids=["", "bare"])
def test_5_the_recursion_is_the_mean_of_networks_of_many_heads(depth_exponent: float, changes: dict[str, Any]) -> None:
    shape = {"depth": 4, "head_width": 4, "attention_exponent": 0.5, "depth_exponent": depth_exponent, **changes}
    streams, _ = measured(24, heads=32, **shape)
    kernels = streams @ streams.transpose(0, 2, 1) / streams.shape[2]
    mean = kernels.mean(axis=0)
    size = np.linalg.norm(mean)
    scatter = float(np.mean([np.linalg.norm(kernel - mean) for kernel in kernels])) / size
    limit = HeadLimit(**shape, sequences=2)
    *_, (said, _) = limit.kernels(input_kernel(2, 6, 8, 0), 10_000, np.random.default_rng(0))
    assert np.linalg.norm(said - mean) / size < 2 * scatter / np.sqrt(24)
    assert np.linalg.norm(input_kernel(2, 6, 8, 0) - mean) / size > 2 * scatter / np.sqrt(24), "layers change nothing"


def test_rectified_kernels_are_those_of_normal_numbers() -> None:
    kernel = np.array([[1.0, 0.6], [0.6, 2.0]])
    drawn = np.random.default_rng(0).multivariate_normal([0, 0], kernel, 400_000)
    bent = np.sqrt(2) * np.maximum(drawn, 0)
    np.testing.assert_allclose(rectified_kernel(kernel), bent.T @ bent / len(bent), rtol=0.01)
    np.testing.assert_allclose(np.diag(rectified_kernel(kernel)), [1, 2])


@pytest.mark.parametrize("heads", [8, 48])
def test_runs_have_the_mean_and_the_scatter_that_is_predicted(heads: int) -> None:
    """Few heads are off by a share of 1 / heads, a tenth of a deviation here; 48 are beyond those that are drawn."""
    shape = {"depth": 6, "heads": heads, "head_width": 4, "sequence_length": 4, "depth_exponent": 0.5}
    _, found = measured(150, **shape)
    config = AttentionKernels.parse(shape).config()
    said = KERNEL_RECURSION.predict({**config, "seed": 0, "steps": None}, np.array([0, 6]))
    for metric in ("kernel_diagonal", "kernel_mean", "logit_variance"):
        mean, deviation = said.mean[metric][1], said.deviation[metric][1]
        assert abs(found[metric].mean() - mean) < (4 / np.sqrt(150) + 0.1) * deviation, metric
        assert found[metric].std() == pytest.approx(deviation, rel=0.3), metric
    assert found["logit_kurtosis"].mean() == pytest.approx(said.mean["logit_kurtosis"][1], rel=0.2)


@pytest.mark.parametrize(
    ("changes", "at", "said"),
    [
        ({"depth": 300}, 1, "300 layers of 12 tokens; at most 256 and 64"),
        ({"sequence_length": 40}, 1, "4 layers of 80 tokens"),
        ({}, 5, "it has 4 layers; layer 5 is none of them"),
    ],
)
def test_what_takes_too_long_is_not_predicted(changes: dict[str, Any], at: int, said: str) -> None:
    run = AttentionKernels.parse({"depth": 4, "heads": 2, "head_width": 2, **changes})
    with pytest.raises(ArithmeticError, match=said):
        KERNEL_RECURSION.predict({**run.config(), "seed": 0, "steps": None}, np.array([0, at]))
