"""Every theory in THEORIES keeps one contract: about a family that exists, finite, repeatable, right before training.

A theory that is added needs a line in `RUNS`: settings of small runs of its family.
"""

from __future__ import annotations

import numpy as np
import pytest

from isoflop.queries.theory import THEORIES, Theory, find_theory
from isoflop.workers import TrainOptions
from isoflop.workers.families import FAMILIES
from isoflop.workers.families.packed import PackedFamily

RUNS: dict[str, list[dict[str, object]]] = {
    "plrf": [
        {"width": 12, "spectrum_exponent": 0.8, "target_exponent": 0.7, "steps": 200},
        {"width": 8, "ambient": 8, "spectrum_exponent": 0.4, "target_exponent": 0.8, "steps": 200, "batch_size": 4},
        {"width": 5, "spectrum_exponent": 1.0, "target_exponent": 0.2, "steps": 9, "learning_rate": 0.02, "seed": 3},
        {"width": 6, "spectrum_exponent": 1.0, "target_exponent": 0.2, "steps": 9, "feature_seed": 4, "seed": 5},
    ]
}
CASES = [(theory, settings) for theory in THEORIES for settings in RUNS[theory.family]]
AT = np.array([0, 1, 2, 7, 100, 100_000])


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].name}-{case[1]['width']}")
def case(request: pytest.FixtureRequest) -> tuple[Theory, PackedFamily, dict[str, object]]:
    """A theory, a run of its family, and the settings that the theory is told."""
    theory, settings = request.param
    run = FAMILIES[theory.family].parse(settings)
    assert isinstance(run, PackedFamily)
    return theory, run, {**run.config(), "seed": run.seed, "steps": run.steps}


def test_names_differ_and_are_found() -> None:
    assert len({theory.name for theory in THEORIES}) == len(THEORIES)
    assert all(find_theory(theory.name.upper()) is theory for theory in THEORIES)


@pytest.mark.parametrize("theory", THEORIES, ids=lambda theory: theory.name)
def test_it_says_what_it_is_about(theory: Theory) -> None:
    for settings in RUNS[theory.family]:
        assert set(theory.fields) <= set(FAMILIES[theory.family].parse(settings).config())
    assert theory.source and theory.version and theory.metrics
    assert all(theory.metrics.values()), "a metric needs a unit; 1 for a number"


def test_it_is_finite_and_its_deviation_is_no_less_than_zero(
    case: tuple[Theory, PackedFamily, dict[str, object]],
) -> None:
    theory, _, config = case
    found = theory.predict(config, AT)
    assert set(found.mean) == set(found.deviation) == set(theory.metrics)
    for metric in theory.metrics:
        mean, deviation = found.mean[metric], found.deviation[metric]
        assert mean.shape == deviation.shape == AT.shape
        assert np.isfinite(mean).all() and np.isfinite(deviation).all() and (deviation >= 0).all()


def test_it_is_the_same_every_time_and_reads_only_its_fields(
    case: tuple[Theory, PackedFamily, dict[str, object]],
) -> None:
    theory, _, config = case
    found = theory.predict(config, AT)
    again = theory.predict({field: config[field] for field in (*theory.fields, "seed", "steps")}, AT[[0, 3, 4]])
    for metric in theory.metrics:
        np.testing.assert_allclose(found.mean[metric][[0, 3, 4]], again.mean[metric], rtol=1e-13)
        np.testing.assert_allclose(found.deviation[metric][[0, 3, 4]], again.deviation[metric], rtol=1e-13)


def test_step_0_is_the_loss_before_training(case: tuple[Theory, PackedFamily, dict[str, object]]) -> None:
    theory, run, config = case
    found = theory.predict(config, AT)
    measured = type(run).program([run], type(run).device(TrainOptions())).measure()["loss"][0]
    assert found.mean["loss"][0] == pytest.approx(measured, rel=1e-12)
    assert found.deviation["loss"][0] == 0.0
