"""Ray Tune results that Tune wrote."""

from __future__ import annotations

import math
from pathlib import Path

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.exchange import import_path
from tests.lakehouse.exchange_stores import STORES, copied, curve, loss_at, runs_by_name, same


def test_trials_come_in_with_their_curves_settings_and_ends(lakehouse: Lakehouse) -> None:
    done = import_path(lakehouse, STORES / "ray_tune")
    assert (done.format, done.runs, done.source) == ("ray-tune", 2, "import:ray-tune")
    by_width = {row["width"]: row for row in lakehouse.query("SELECT * FROM runs").to_pylist()}
    narrow, wide = by_width[64], by_width[128]
    assert (narrow["status"], narrow["family"], narrow["steps"], narrow["tokens"]) == ("finished", "small", 4, 400)
    assert (narrow["optimizer/name"], narrow["optimizer/lr"], narrow["learning_rate"]) == ("adam", 1e-3, 1e-3)
    assert (wide["status"], wide["reason"], wide["error"]) == ("failed", "crash", "ValueError: planted failure")
    assert curve(lakehouse, narrow["name"]) == [(step, loss_at(step, 2.0)) for step in range(1, 5)]
    assert curve(lakehouse, wide["name"]) == [(step, loss_at(step, 2.0)) for step in range(1, 3)]
    assert same(curve(lakehouse, wide["name"], "validation_loss"), [(1, math.nan), (2, math.nan)])
    axes = lakehouse.query("SELECT tokens, seconds FROM curves WHERE width = 64 ORDER BY step").to_pylist()
    assert [row["tokens"] for row in axes] == [100, 200, 300, 400] and all(row["seconds"] > 0 for row in axes)


def test_importing_twice_adds_nothing_whichever_folder_is_named(lakehouse: Lakehouse) -> None:
    import_path(lakehouse, STORES / "ray_tune")
    assert import_path(lakehouse, STORES / "ray_tune" / "small").unchanged == 2
    trial = next((STORES / "ray_tune" / "small").glob("*width=64*"))
    assert import_path(lakehouse, trial / "result.json").unchanged == 1


def test_progress_tables_are_read_where_there_are_no_results(lakehouse: Lakehouse, tmp_path: Path) -> None:
    store = copied("ray_tune", tmp_path)
    for path in store.rglob("result.json"):
        path.unlink()
    import_path(lakehouse, store)
    losses = [
        row["loss"] for row in lakehouse.query("SELECT loss FROM curves WHERE width = 64 ORDER BY step").to_pylist()
    ]
    assert losses == [loss_at(step, 2.0) for step in range(1, 5)]


def test_a_trial_that_still_writes_keeps_its_whole_lines(lakehouse: Lakehouse, tmp_path: Path) -> None:
    store = copied("ray_tune", tmp_path)
    path = next(store.glob("small/*width=64*")) / "result.json"
    path.write_text(path.read_text()[:-40])
    for state in store.rglob("experiment_state*"):
        state.unlink()
    done = import_path(lakehouse, store)
    assert any("line 4 of result.json is cut off" in note for note in done.notes)
    assert len(lakehouse.query("SELECT * FROM curves WHERE width = 64")) == 3
    assert {run["status"] for run in runs_by_name(lakehouse).values()} == {"finished", "failed"}
