"""Predictions of theories are kept beside the runs, replaced when made again, and scored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import EmptySelection, UnknownName, UsageError
from isoflop.lakehouse.maintenance.removal import delete_runs
from isoflop.queries.theory import THEORIES, PredictedCurves, Theory, find_theory, predict_runs, registry, score_runs
from isoflop.workers import Plrf, TrainOptions

VOLTERRA = find_theory("volterra_plrf")
STEPS = [5, 20, 80]


class Twice(Theory):
    """Another theory of the same runs: twice the loss of the first."""

    name, version, family, fields, metrics, source = "twice", "1", "plrf", VOLTERRA.fields, {"loss": "1"}, "a test"

    def predict(self, config, at):
        """Return twice what the exact one says."""
        found = VOLTERRA.predict(config, at)
        return PredictedCurves({"loss": 2 * found.mean["loss"]}, dict(found.deviation))


@pytest.fixture
def trained(address: str) -> Iterator[tuple[Lakehouse, list[str]]]:
    """A lake of each kind with four trained runs, and another family's."""
    runs = [Plrf(width=6, spectrum_exponent=0.8, target_exponent=0.7, steps=80, seed=seed) for seed in range(4)]
    program = Plrf.program(runs, Plrf.device(TrainOptions()))
    losses = {}
    for step, before in zip(STEPS, [0, *STEPS], strict=False):
        program.advance(step - before)
        losses[step] = program.measure()["loss"]
    ids = []
    with isoflop.open(address) as lake:
        for number, run in enumerate(runs):
            with lake.run("plrf", run.config(), seed=run.seed, steps=run.steps) as logged:
                for step in STEPS:
                    logged.log(step=step, loss=float(losses[step][number]))
                ids.append(logged.run_id)
        with lake.run("other", {"width": 3}) as logged:
            logged.log(step=5, loss=1.0)
        lake.drain()
        yield lake, ids


@pytest.mark.slow
def test_predictions_lie_beside_the_runs(trained: tuple[Lakehouse, list[str]]) -> None:
    lake, ids = trained
    found = predict_runs(lake, VOLTERRA)
    assert found.num_rows == 4 * (1 + len(STEPS))
    kept = lake.query("SELECT * FROM predictions ORDER BY run_id, step").to_pylist()
    assert {row["run_id"] for row in kept} == set(ids)
    assert {(row["theory"], row["version"], row["metric"]) for row in kept} == {("volterra_plrf", "1", "loss")}
    assert [row["step"] for row in kept[:4]] == [0, *STEPS]
    beside = lake.query(
        "SELECT m.value, p.value AS predicted, p.deviation FROM metric_curves m "
        "JOIN predictions p USING (run_id, metric, step)"
    ).to_pylist()
    assert len(beside) == 4 * len(STEPS)
    assert np.mean([abs(row["value"] - row["predicted"]) < 3 * row["deviation"] for row in beside]) > 0.8


@pytest.mark.slow
def test_asking_again_replaces_what_the_same_version_said(trained: tuple[Lakehouse, list[str]]) -> None:
    lake, ids = trained
    predict_runs(lake, VOLTERRA)
    before = lake.query("SELECT * FROM predictions ORDER BY ALL")
    predict_runs(lake, VOLTERRA, ids[:2])
    predict_runs(lake, VOLTERRA, where="seed = 3")
    assert lake.query("SELECT * FROM predictions ORDER BY ALL") == before
    newer = Twice()
    newer.version = "2"
    predict_runs(lake, Twice())
    predict_runs(lake, newer, ids[:1])
    counts = lake.query("SELECT theory, version, count(*) AS n FROM predictions GROUP BY ALL ORDER BY ALL").to_pylist()
    assert [tuple(row.values()) for row in counts] == [
        ("twice", "1", 16),
        ("twice", "2", 4),
        ("volterra_plrf", "1", 16),
    ]


@pytest.mark.slow
def test_theories_are_scored_best_first_and_fit_nothing(trained: tuple[Lakehouse, list[str]]) -> None:
    lake, ids = trained
    theories = [Twice(), VOLTERRA]
    for theory in theories:
        predict_runs(lake, theory)
    best, worst = score_runs(lake, theories).to_pylist()
    assert (best["theory"], worst["theory"]) == ("volterra_plrf", "twice")
    assert best["runs"] == 4 and best["points"] == 4 * len(STEPS) and best["free"] == 0
    assert best["rms_deviations"] < 2 < worst["rms_deviations"]
    assert worst["bias_log"] - best["bias_log"] == pytest.approx(-np.log(2), rel=1e-9)
    assert score_runs(lake, [VOLTERRA], ids[:1]).to_pylist()[0]["points"] == len(STEPS)


def test_a_run_without_points_is_predicted_at_steps_of_equal_ratio(lakehouse: Lakehouse) -> None:
    run = Plrf(width=6, spectrum_exponent=0.8, target_exponent=0.7, steps=1000)
    with lakehouse.run("plrf", run.config(), seed=0, steps=1000):
        pass
    steps = predict_runs(lakehouse, VOLTERRA)["step"].to_pylist()
    assert steps[0] == 0 and steps[-1] == 1000 and len(steps) > 20


@pytest.mark.slow
def test_predictions_go_with_their_run(trained: tuple[Lakehouse, list[str]]) -> None:
    lake, ids = trained
    predict_runs(lake, VOLTERRA)
    delete_runs(lake, f"run_id = '{ids[0]}'")
    assert {row["run_id"] for row in lake.query("SELECT run_id FROM predictions").to_pylist()} == set(ids[1:])


def test_what_cannot_be_predicted_is_said(lakehouse: Lakehouse) -> None:
    with pytest.raises(EmptySelection, match="no run of family 'plrf' is chosen"):
        predict_runs(lakehouse, VOLTERRA)
    with lakehouse.run("plrf", {"width": 3}) as run:
        run.log(step=1, loss=1.0)
    with pytest.raises(UsageError, match=f"volterra_plrf reads 'ambient', which run {run.run_id} does not have"):
        predict_runs(lakehouse, VOLTERRA)
    assert lakehouse.query("SELECT count(*) AS n FROM predictions").to_pylist() == [{"n": 0}]
    with pytest.raises(UnknownName, match="theory 'volterra' does not exist"):
        find_theory("volterra")


@pytest.mark.parametrize(
    ("name", "message"),
    [("OURS", None), ("NOTHING", "has the type int, .*inherits from Theory"), ("HALF", "has no metrics")],
)
def test_an_installed_package_adds_a_theory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str | None
) -> None:
    (tmp_path / f"their_theories_{name.lower()}.py").write_text(
        "from isoflop.queries.theory import PredictedCurves, Theory\n"
        "class Half(Theory):\n"
        "    name, family, fields, source = 'theirs', 'plrf', ('width',), 'them'\n"
        "    def predict(self, config, at):\n"
        "        return PredictedCurves({'loss': 1.0 / (1.0 + at)}, {'loss': 0.0 * at})\n"
        "class Whole(Half):\n"
        "    metrics = {'loss': '1'}\n"
        "OURS, HALF, NOTHING = Whole(), Half(), 3\n"
    )
    info = tmp_path / "their_theories-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-theories\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[isoflop.theories]\ntheirs = their_theories_{name.lower()}:{name}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._outside_theories.cache_clear()
    try:
        if message is None:
            assert find_theory("theirs").source == "them"
            assert set(registry.known_theories()) == {"theirs", *(theory.name for theory in THEORIES)}
        else:
            with pytest.raises(UsageError, match=message):
                registry.known_theories()
    finally:
        registry._outside_theories.cache_clear()
