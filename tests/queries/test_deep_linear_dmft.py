"""Deep linear networks by their equations: the figures of the source, and the means of many runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isoflop.queries.theory.deep_linear_dmft import (
    DEEP_LINEAR_DMFT,
    DeepNetwork,
    deep_losses,
    network_of,
    unit_modes,
)
from isoflop.queries.theory.equivalents import Array
from isoflop.queries.theory.input_site import LossCurves, SeenData
from isoflop.workers.devices import Processor
from isoflop.workers.families import DeepLinear

ISOTROPIC = {"spectrum_exponent": 0.0, "target_exponent": 0.0}
RATES = 0.02 * 75 ** (np.arange(16) / 15)  # a grid of ratio 1.33
LEFT = 0.03  # of the first loss; relative errors of less mean nothing


def losses(steps: int, *, samples: float = np.inf, batch_size: float = np.inf, **settings: Any) -> LossCurves:
    """Curves of a network on isotropic data before each of some steps; samples and batches over modes."""
    data = SeenData(modes=unit_modes(1, 0.0, 0.0), samples=samples, batch_size=batch_size)
    return deep_losses(DeepNetwork(data=data, **{"ratio": 1.0, "richness": 1.0, **settings}), steps)


def last_loss(ratio: float, rate: float, richness: float) -> float:
    """The loss after 15 steps of one pass; infinite where it grows."""
    try:
        found = losses(16, depth=1, ratio=ratio, richness=richness, rate=rate, batch_size=4.0).test
    except ArithmeticError:
        return np.inf
    return float(found[-1]) if found.max() < 50 * found[0] else np.inf


def trained(num_runs: int, **settings: Any) -> tuple[DeepLinear, dict[str, Array]]:
    """One of the runs, and both losses of all of them before training and after each step, (runs, steps + 1)."""
    runs = [DeepLinear.parse({**ISOTROPIC, **settings, "seed": seed}) for seed in range(num_runs)]
    program = DeepLinear.program(runs, Processor())
    rows = [program.measure()]
    for _ in range(runs[0].steps):
        program.advance(1)
        rows.append(program.measure())
    return runs[0], {name: np.array([row[name] for row in rows]).T for name in DEEP_LINEAR_DMFT.metrics}


def distances(num_runs: int, **settings: Any) -> dict[str, float]:
    """The largest relative error of each loss while some of it is left; asserts 3.5 standard errors at every step."""
    run, measured = trained(num_runs, **settings)
    at = np.arange(run.steps + 1)
    said = DEEP_LINEAR_DMFT.predict({**run.config(), "seed": 0, "steps": run.steps}, at)
    found = {}
    for metric, values in measured.items():
        mean = values.mean(axis=0)
        left = (at > 0) & (mean > LEFT * mean[0])
        errors = values.std(axis=0) / np.sqrt(num_runs)
        assert (np.abs(said.mean[metric] - mean) < 3.5 * errors)[left].all(), metric
        ratio = (said.deviation[metric] / values.std(axis=0))[left]
        assert 0.3 < ratio.min() and ratio.max() < 2, (metric, ratio)
        found[metric] = float(np.max(np.abs(said.mean[metric] / mean - 1)[left]))
    return found


@pytest.mark.parametrize("depth", [1, 2, 8])
def test_the_first_loss_is_closed(depth: int) -> None:
    """Check 1: 1 + 1 / (gamma^2 nu), with residual branches (1 + beta^2 / L)^(L-1) times as much."""
    plain = losses(1, depth=depth, ratio=0.5, richness=1.5, rate=0.1).test[0]
    assert plain == pytest.approx(1 + 1 / (1.5**2 * 0.5), rel=1e-6)
    branch = 0.8 / np.sqrt(depth)
    residual = losses(1, depth=depth, ratio=2.0, richness=1.5, rate=0.1, branch=branch).test[0]
    assert residual == pytest.approx(1 + (1 + 0.64 / depth) ** (depth - 1) / (1.5**2 * 2), rel=1e-6)


def test_the_rich_end() -> None:
    """Check 1, its rich part: under 1 per cent; the mean of 10 runs has a standard error of 1.5, that of 60 of 0.5."""
    found = distances(
        60, dimension=200, width=200, samples=400, depth=1, richness=20.0, learning_rate=0.002, steps=20
    )  # fmt: skip
    assert found["loss"] < 0.01


@pytest.mark.slow
def test_the_lazy_end() -> None:
    """Check 1, its lazy part: under 8 per cent."""
    found = distances(
        40, dimension=200, width=200, samples=400, depth=1, richness=0.3, learning_rate=0.1, steps=30
    )  # fmt: skip
    assert found["loss"] < 0.08


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_runs", "settings"),
    [
        (60, {"width": 125, "samples": 200, "depth": 1, "learning_rate": 0.1, "noise": 0.1, "steps": 40}),
        (40, {"width": 250, "samples": 500, "depth": 2, "learning_rate": 0.07, "steps": 30}),
    ],
)
def test_many_runs_on_samples(num_runs: int, settings: dict[str, Any]) -> None:
    """Check 2: test loss within 4 per cent, train loss within 6."""
    found = distances(num_runs, dimension=250, **settings)
    assert found["loss"] < 0.04 and found["train_loss"] < 0.06


MEANS: dict[str, dict[str, Any]] = {
    "power law, samples": {
        "width": 60, "depth": 2, "samples": 80, "noise": 0.1, "spectrum_exponent": 0.4, "target_exponent": 0.3,
        "learning_rate": 0.02, "steps": 30,
    },
    "fresh batches, ntk, residual": {
        "width": 120, "depth": 3, "batch_size": 160, "parametrization": "ntk", "branch_scale": 0.7,
        "learning_rate": 0.05, "steps": 15,
    },
    "residual, samples": {
        "width": 80, "depth": 3, "samples": 120, "noise": 0.1, "branch_scale": 1.0, "learning_rate": 0.05, "steps": 15,
    },
}  # fmt: skip


@pytest.mark.parametrize("case", MEANS)
def test_the_mean_of_runs_lies_where_it_says(case: str) -> None:
    """40 runs of 80 modes: within 3.5 standard errors at every step, and 15 per cent where these are as large."""
    assert distances(40, dimension=80, **MEANS[case])["loss"] < 0.15


def test_the_best_rate_is_that_of_any_width_in_mean_field_and_what_diverges_drifts_under_ntk() -> None:
    """Check 3."""
    widths = (1.0, 2.0, 4.0, 8.0)
    found = {ratio: [last_loss(ratio, rate, 2.0) for rate in RATES] for ratio in widths}
    assert len({int(np.argmin(each)) for each in found.values()}) == 1
    first = []
    for ratio in (1.0, 8.0):
        lazier = [last_loss(ratio, rate, 2.0 / np.sqrt(ratio)) for rate in RATES]
        first.append(RATES[int(np.argmax(~np.isfinite(lazier)))])
    assert first[1] >= 1.5 * first[0]


def test_wider_is_better() -> None:
    """Check 4, with the figures of one pass."""
    found = np.array([losses(16, depth=1, ratio=ratio, rate=0.1, richness=2.0).test for ratio in (0.5, 1, 2, 4)])
    assert (np.diff(found[:, [8, 15]], axis=0) < 0).all()
    one_pass = [
        losses(9, depth=1, ratio=ratio, rate=0.1, richness=2.0, batch_size=4.0).test[8] for ratio in (0.5, 1, 2, 4)
    ]  # fmt: skip
    np.testing.assert_allclose(one_pass, [0.155, 0.053, 0.022, 0.012], atol=6e-4)


def test_depth_has_a_limit_under_branches_of_its_root_and_diverges_without() -> None:
    """Check 5."""
    found = [losses(15, depth=depth, rate=0.05, branch=depth**-0.5).test[[7, 14]] for depth in (2, 4, 8)]
    np.testing.assert_allclose(found, [[0.381, 0.128], [0.325, 0.0976], [0.305, 0.0868]], rtol=4e-3)
    steps = np.abs(np.diff(found, axis=0))
    assert (steps[1] < steps[0]).all()
    for depth in (4, 8):
        with pytest.raises(ArithmeticError, match="grows without bound"):
            losses(15, depth=depth, rate=0.05, branch=1.0)


def test_one_pass_has_no_gap_and_samples_have_one_that_falls_with_them() -> None:
    """Check 6."""
    fresh = losses(20, depth=1, rate=0.1, batch_size=4.0)
    np.testing.assert_allclose(fresh.train, fresh.test, rtol=1e-12)
    counts = (2.0, 4.0, 8.0, 16.0)
    curves = [losses(16, depth=1, rate=0.1, samples=samples) for samples in counts]
    gaps = np.log([(each.test - each.train)[[5, 10, 15]] for each in curves])
    slopes = np.polyfit(np.log(counts), gaps, 1)[0]
    np.testing.assert_allclose(slopes, [-1.01, -1.18, -1.42], atol=0.05)


def test_a_flat_power_law_is_isotropic_data() -> None:
    config = {"dimension": 100, "width": 60, "depth": 2, "samples": 150, "learning_rate": 0.1, "richness": 1.0}
    rest = {"batch_size": None, "noise": None, "branch_scale": None, "branch_exponent": None}
    flat, near = (
        deep_losses(network_of({**config, **rest, "parametrization": "ntk", "spectrum_exponent": each,
                                "target_exponent": each}), 20)
        for each in (0.0, 1e-9)
    )  # fmt: skip
    np.testing.assert_allclose(flat.test, near.test, rtol=1e-6)
    np.testing.assert_allclose(flat.train, near.train, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"steps": 151}, "it has 151 steps; at most 150"),
        ({"branch_scale": 1.0, "steps": 31}, "it is residual and has 31 steps in 2 hidden layers; at most 30 in 8"),
        ({"branch_scale": 1.0, "depth": 9}, "has 30 steps in 9 hidden layers"),
        ({"samples": 20, "batch_size": 2}, "draws batches from samples"),
        ({"optimizer": "gradient_flow"}, "its optimizer is gradient_flow"),
        ({"learning_rate": 3.0}, "its loss grows without bound"),
    ],
)
def test_what_it_cannot_say_it_refuses(changes: dict[str, Any], problem: str) -> None:
    run = DeepLinear.parse({**ISOTROPIC, "dimension": 30, "width": 20, "depth": 2, "steps": 30, **changes})
    with pytest.raises(ArithmeticError, match=problem):
        DEEP_LINEAR_DMFT.predict({**run.config(), "steps": run.steps, "seed": 0}, np.array([0, 1]))
