"""Hidden progress after the last mistake: rich networks make it, lazy and frozen ones do not; its law goes on with it.

The numbers of each test are those of the design's acceptance checks.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from isoflop.queries.fitting import fit_law
from isoflop.queries.laws.margin_growth import MARGIN_GROWTH
from isoflop.workers import TrainOptions
from isoflop.workers.families import MarginGrowth

Floats = NDArray[np.float64]
XOR: dict[str, Any] = {"task": "xor", "steps": 3000}
ODOR: dict[str, Any] = {"task": "odor", "samples": 100, "probes": 1000, "steps": 2500}


@cache
def trained(
    task: str, output_scale: float, frozen: bool = False, seed: int = 0, steps: int = 0
) -> tuple[Any, dict[str, float]]:
    """Every measure at t99 and beyond, with the step, each (T,), and the results of a run."""
    settings = {**(XOR if task == "xor" else ODOR), "output_scale": output_scale, "frozen": frozen, "seed": seed}
    run = MarginGrowth.parse({**settings, **({"steps": steps} if steps else {})})
    program = MarginGrowth.program([run], MarginGrowth.device(TrainOptions()))
    marks = [step for step in np.unique(np.geomspace(60, run.steps, 20).astype(int)).tolist() if output_scale < 10]
    done, rows = 0, []
    for mark in [*marks, run.steps][-20 if marks else -1 :]:
        program.advance(mark - done)
        done = mark
        rows.append({"step": float(mark), **{name: float(each[0]) for name, each in program.measure().items()}})
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}, program.results(0)


def test_1_a_rich_network_goes_on_after_its_last_mistake() -> None:
    curves, results = trained("xor", 1.0)
    assert results["t99"] <= 120
    assert curves["probe_accuracy"][-1] - results["probe_accuracy_at_t99"] >= 0.03
    assert curves["representation_margin"][-1] >= 1.4 * results["representation_margin_at_t99"]
    assert curves["margin"][-1] > max(0.0, results["margin_at_t99"])
    assert curves["decoding_accuracy_100"][-1] > results["decoding_accuracy_100_at_t99"]


@pytest.mark.slow
def test_2_a_lazy_one_does_not_and_frozen_features_stay() -> None:
    curves, results = trained("xor", 100.0)
    assert curves["probe_accuracy"][-1] - results["probe_accuracy_at_t99"] <= 0.03
    assert abs(curves["separation"][-1] - results["separation_at_t99"]) <= 0.005
    for task in ("xor", "odor"):
        run = MarginGrowth.parse({**(XOR if task == "xor" else ODOR), "frozen": True, "reversal_steps": 0})
        program = MarginGrowth.program([run], MarginGrowth.device(TrainOptions()))
        before = program.measure()
        program.advance(50)
        after = MarginGrowth.program([run], MarginGrowth.device(TrainOptions()))
        after.restore(50, [program.state(0)])  # measured anew
        for name in ("representation_margin", "separation", "decoding_accuracy_100"):
            np.testing.assert_allclose(after.measure()[name], before[name], atol=1e-6, rtol=0)
        assert np.isfinite(before["representation_margin"][0]) == (task == "odor"), "no plane separates 300 by 100"
        assert program.measure()["train_loss"][0] < 0.95 * before["train_loss"][0]


@pytest.mark.slow
@pytest.mark.parametrize(("task", "scale"), [("xor", 1.0), ("xor", 2.0), ("odor", 2.0)])
def test_3_soft_margins_only_grow(task: str, scale: float) -> None:
    soft = trained(task, scale)[0]["soft_margin"]
    defined = soft[~np.isnan(soft)]
    assert len(defined) >= 4 and np.diff(defined).min() > -1e-6
    assert not np.isnan(soft[-len(defined) :]).any(), "it is defined once and for all"


def test_4_features_of_odors_part_in_a_rich_network_alone() -> None:
    for scale, holds in ((2.0, lambda ratio: ratio >= 1.4), (100.0, lambda ratio: ratio <= 1.3)):
        curves, results = trained("odor", scale)
        for name in ("representation_margin", "separation"):
            assert holds(curves[name][-1] / results[f"{name}_at_t99"]), (scale, name)


def reversals(scale: float) -> Floats:
    """Steps of a reversal from the end over those from t99, of three seeds."""
    found = [trained("xor", scale, seed=seed)[1] for seed in range(3)]
    return np.array([each["reversal_at_end"] / each["reversal_at_t99"] for each in found])


@pytest.mark.slow
def test_5_reversals_are_measured() -> None:
    rich, lazy = reversals(1.0), reversals(100.0)
    assert np.isfinite(rich).all() and np.isfinite(lazy).all()
    assert np.median(rich) < np.median(lazy), "which the design leaves open"


@pytest.mark.slow
def test_the_law_of_margins_goes_on_ten_times_as_long() -> None:
    curves, results = trained("xor", 1.0, steps=30_000)
    rows = np.column_stack([curves["step"], np.full(len(curves["step"]), results["t99"])])
    for metric, most in (("soft_margin", 0.05), ("margin", 0.05)):
        values = curves[metric]
        seen = (curves["step"] <= 3000) & (curves["step"] >= 4 * results["t99"]) & ~np.isnan(values)
        fit = fit_law(MARGIN_GROWTH, rows[seen], values[seen], resamples=0)
        assert fit.is_converged, metric
        later = curves["step"] > 3000
        said = MARGIN_GROWTH.predict(fit.coefficients, rows[later])
        np.testing.assert_allclose(said, values[later], rtol=most, err_msg=metric)
        assert fit.coefficients[0] > 1.05 * values[-1], "its end lies far beyond"


def test_rows_of_before_t99_are_noted() -> None:
    steps = np.geomspace(30, 3000, 12)
    rows = np.column_stack([steps, np.full(12, 50.0)])
    values = MARGIN_GROWTH.predict(np.array([0.02, 0.02, 1.0]), rows)
    assert "before_saturation" in fit_law(MARGIN_GROWTH, rows, values, resamples=0).codes
    later = steps >= 50
    assert "before_saturation" not in fit_law(MARGIN_GROWTH, rows[later], values[later], resamples=0).codes
