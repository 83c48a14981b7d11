"""Every theory in THEORIES keeps one contract: about a family that exists, finite, repeatable, right before training.

A theory that is added needs a line in `RUNS`: settings of small runs of its family.
"""

from __future__ import annotations

import numpy as np
import pytest

from isoflop.queries.theory import THEORIES, Theory, find_theory
from isoflop.workers import TrainOptions
from isoflop.workers.families import FAMILIES
from isoflop.workers.families.packed import PackedExperiment

MODES: dict[str, object] = {"dimension": 40, "spectrum_exponent": 0.75, "target_exponent": 0.1, "learning_rate": 0.1}
KERNEL: dict[str, object] = {"dimension": 3, "samples": 8, "test_samples": 20, "richness": 0.7}
QUADRATIC: dict[str, object] = {"dimension": 5, "samples": 18, "epsilon": 1.0, "learning_rate": 0.5, "steps": 150}
RUNS: dict[str, list[dict[str, object]]] = {
    "plrf": [
        {"width": 12, "spectrum_exponent": 0.8, "target_exponent": 0.7, "steps": 200},
        {"width": 8, "ambient": 8, "spectrum_exponent": 0.4, "target_exponent": 0.8, "steps": 200, "batch_size": 4},
        {"width": 5, "spectrum_exponent": 1.0, "target_exponent": 0.2, "steps": 9, "learning_rate": 0.02, "seed": 3},
        {"width": 6, "spectrum_exponent": 1.0, "target_exponent": 0.2, "steps": 9, "feature_seed": 4, "seed": 5},
    ],
    "random_features": [
        {**MODES, "width": 12, "steps": 200},
        {**MODES, "width": 30, "samples": 20, "noise": 0.2, "steps": 200_000, "optimizer": "gradient_flow"},
        {**MODES, "width": 13, "steps": 200, "optimizer": "momentum", "momentum": 0.5, "students": 2},
        {**MODES, "width": 14, "samples": 20, "batch_size": 2, "optimizer": "gradient_descent", "steps": 200},
        {**MODES, "width": 15, "batch_size": 2, "optimizer": "momentum", "momentum": 0.4, "steps": 200},
    ],
    "linear_sgd": [
        {**MODES, "width": 12, "samples": 20, "batch_size": 2, "steps": 200, "noise": 0.1},
        {**MODES, "width": None, "samples": 20, "steps": 200, "test_spectrum_exponent": 0.2},
        {**MODES, "width": 13, "batch_size": 2, "steps": 200},
        {**MODES, "width": 14, "batch_size": 2, "steps": 200, "test_spectrum_exponent": 1.0},
    ],
    "feature_learning": [
        {**MODES, "width": 12, "steps": 20},
        {**MODES, "width": 13, "steps": 20, "richness": 0.3, "samples": 20, "noise": 0.1},
        {**MODES, "width": 14, "steps": 20, "richness": 0.3, "batch_size": 2},
        {**MODES, "width": 15, "steps": 200, "richness": 0.0, "samples": 20, "batch_size": 2},
    ],
    "mean_field": [
        {**KERNEL, "width": 12, "steps": 120},
        {**KERNEL, "width": 14, "steps": 120, "activation": "linear", "depth": 3, "task_seed": 5, "noise": 0.1},
        {**KERNEL, "width": 16, "steps": 120, "optimizer": "gradient_flow", "learning_rate": 0.05},
        {**KERNEL, "width": 18, "steps": 120, "optimizer": "gradient_descent", "activation": "relu"},
    ],
    "grokking": [
        {"dimension": 6, "width": 10, "samples": 20, "epsilon": 0.5, "learning_rate": 1.0, "steps": 200},
        {**QUADRATIC, "width": 12, "paired": True, "optimizer": "gradient_flow", "substeps": 2, "output_scale": 0.5},
        {**QUADRATIC, "width": 13, "output_scale": 50.0, "seed": 4},
    ],
    "deep_linear": [
        {**MODES, "width": 12, "depth": 1, "steps": 20, "learning_rate": 0.02},
        {**MODES, "width": 13, "depth": 3, "steps": 20, "samples": 60, "noise": 0.1, "learning_rate": 0.02},
        {
            **MODES,
            "width": 14,
            "depth": 2,
            "batch_size": 80,
            "parametrization": "ntk",
            "learning_rate": 0.02,
            "steps": 20,
        },
        {**MODES, "width": 15, "depth": 3, "steps": 20, "branch_scale": 1.0, "learning_rate": 0.01},
    ],
    "kernel_features": [
        {"points": 30, "dimension": 2, "features": 200, "sampling": "optimal"},
        {"points": 30, "dimension": 3, "features": 200, "variance": 0.05},
        {
            "points": 20,
            "dimension": 2,
            "features": 200,
            "variance": 2.0,
            "variance_decay": 1,
            "representation": "cosine",
        },
    ],
    "ridgeless": [
        {"dimension": 100, "spectrum_exponent": 0.75, "samples": 20, "width": 12, "draws": 200},
        {"dimension": 100, "spectrum_exponent": 1.0, "samples": 20, "width": 40, "draws": 200},
        {"dimension": 100, "spectrum_exponent": 0.4, "width": 13, "draws": 200},
        {"dimension": 100, "spectrum_exponent": 0.75, "samples": 14, "draws": 200},
    ],
    "shaped_transformer": [
        {"width": 32, "depth": 8, "sequence_length": 3, "gamma": 0.5},
        {"width": 33, "depth": 8, "sequence_length": 2, "gamma": 0.3, "temperature": 0.5, "causal": True},
        {"width": 34, "depth": 8, "sequence_length": 3, "gamma": 0.3, "feed_forward": True, "seed": 3},
        {"width": 35, "depth": 8, "sequence_length": 1, "gamma": 0.5},
    ],
    "attention_kernels": [
        {"head_width": 4, "heads": 4, "depth": 8, "sequence_length": 3},
        {"head_width": 2, "heads": 40, "depth": 8, "sequence_length": 3, "attention_exponent": 0.5, "seed": 3},
        {"head_width": 64, "heads": 1, "depth": 8, "normalized": False, "feed_forward": False, "depth_exponent": 0.5},
    ],
}
CASES = [(theory, settings) for theory in THEORIES for settings in RUNS[theory.family]]
AT = np.array([0, 1, 2, 7, 100, 100_000])
DRAWN_AT_FIRST = {"kernel_recursion"}  # theories of runs that differ before their first layer, by weights of the inputs
BEYOND = {"volterra_plrf"}  # theories that also say what steps after a run's last one would have brought


def places(theory: Theory, config: dict[str, object]) -> np.ndarray:
    """Steps at which the theory is asked about a run; at least four of them."""
    return AT if theory.name in BEYOND else AT[: int(np.searchsorted(AT, config["steps"], side="right"))]


SIZES = ("width", "points", "heads", "samples")  # one of them tells the runs of a family apart


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].name}-{next(filter(None, map(case[1].get, SIZES)), None)}")
def case(request: pytest.FixtureRequest) -> tuple[Theory, PackedExperiment, dict[str, object]]:
    """A theory, a run of its family, and the settings that the theory is told."""
    theory, settings = request.param
    run = FAMILIES[theory.family].parse(settings)
    assert isinstance(run, PackedExperiment)
    return theory, run, {**run.config(), "seed": run.seed, "steps": run.length}


def test_names_differ_and_are_found() -> None:
    assert len({theory.name for theory in THEORIES}) == len(THEORIES)
    assert all(find_theory(theory.name.upper()) is theory for theory in THEORIES)


@pytest.mark.parametrize("theory", THEORIES, ids=lambda theory: theory.name)
def test_it_says_what_it_is_about(theory: Theory) -> None:
    configs = [set(FAMILIES[theory.family].parse(settings).config()) for settings in RUNS[theory.family]]
    assert all(set(theory.fields) - set(theory.optional_fields) <= config for config in configs)
    assert set(theory.fields) <= set.union(*configs)
    assert theory.source and theory.version and theory.metrics
    assert all(theory.metrics.values()), "a metric needs a unit; 1 for a number"


def test_it_is_finite_and_its_deviation_is_no_less_than_zero(
    case: tuple[Theory, PackedExperiment, dict[str, object]],
) -> None:
    theory, _, config = case
    at = places(theory, config)
    found = theory.predict(config, at)
    assert set(found.mean) == set(found.deviation) == set(theory.metrics)
    for metric in theory.metrics:
        mean, deviation = found.mean[metric], found.deviation[metric]
        assert mean.shape == deviation.shape == at.shape
        assert np.isfinite(mean).all() and np.isfinite(deviation).all() and (deviation >= 0).all()


def test_it_is_the_same_every_time_and_reads_only_its_fields(
    case: tuple[Theory, PackedExperiment, dict[str, object]],
) -> None:
    theory, _, config = case
    at = places(theory, config)
    found = theory.predict(config, at)
    again = theory.predict({field: config.get(field) for field in (*theory.fields, "seed", "steps")}, at[[0, 2, -1]])
    for metric in theory.metrics:
        np.testing.assert_allclose(found.mean[metric][[0, 2, -1]], again.mean[metric], rtol=1e-13)
        np.testing.assert_allclose(found.deviation[metric][[0, 2, -1]], again.deviation[metric], rtol=1e-13)


def test_step_0_is_what_is_before_training(case: tuple[Theory, PackedExperiment, dict[str, object]]) -> None:
    theory, run, config = case
    found = theory.predict(config, places(theory, config))
    measured = type(run).program([run], type(run).device(TrainOptions())).measure()
    for metric in ("loss",) if "loss" in theory.metrics else theory.metrics:
        mean, deviation = found.mean[metric][0], found.deviation[metric][0]
        if theory.name in DRAWN_AT_FIRST:
            assert abs(measured[metric][0] - mean) <= 4 * deviation
        else:
            assert measured[metric][0] == pytest.approx(mean, rel=1e-12)
            assert deviation == 0.0
