"""MLflow stores that MLflow wrote: a SQLite file and a folder of files."""

from __future__ import annotations

import math
import sqlite3
from datetime import datetime
from pathlib import Path

import pytest
from exchange_stores import STEPS, STORES, copied, curve, loss_at, mlflow_database, runs_by_name, same

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.exchange import import_path
from isoflop.lakehouse.maintenance import find_problems


@pytest.fixture(params=["sqlite", "files"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return mlflow_database(tmp_path) if request.param == "sqlite" else STORES / "mlruns"


def test_curves_are_exactly_what_was_logged(lakehouse: Lakehouse, store: Path) -> None:
    done = import_path(lakehouse, store)
    assert (done.format, done.source, done.runs, done.points, done.added) == ("mlflow", "import:mlflow", 4, 14, 4)
    planted = [(step, loss_at(step, 2.0)) for step in STEPS]
    assert curve(lakehouse, "smooth") == planted
    assert curve(lakehouse, "smooth", "validation_loss") == planted[:2]
    assert same(curve(lakehouse, "diverged"), [(1, 9.0), (2, math.inf), (3, -math.inf), (200, math.nan)])
    at = lakehouse.query("SELECT step, seconds FROM curves WHERE name = 'smooth' ORDER BY step").to_pylist()
    assert [row["seconds"] for row in at] == [step / 2 for step in STEPS]


def test_params_are_numbers_where_they_are_numbers(lakehouse: Lakehouse, store: Path) -> None:
    import_path(lakehouse, store)
    run = runs_by_name(lakehouse)["smooth"]
    assert (run["width"], run["lr"], run["learning_rate"], run["params"]) == (64, 1e-3, 1e-3, 1e6)
    assert (run["amp"], run["optimizer"], run["betas"]) == (True, "adam", "[0.9, 0.95]")
    assert "clip" not in run  # 'None' is nothing
    rows = lakehouse.query("SELECT name FROM runs WHERE lr <= 1e-3 AND width > 64").to_pylist()
    assert rows == [{"name": "half way"}]


def test_status_times_tags_and_experiment_come_along(lakehouse: Lakehouse, store: Path) -> None:
    done = import_path(lakehouse, store)
    runs = runs_by_name(lakehouse)
    told = {name: (run["status"], run["reason"]) for name, run in runs.items()}
    assert told == {
        "smooth": ("finished", None), "diverged": ("failed", "diverged"), "half way": ("running", None),
        "killed": ("failed", "killed"),
    }  # fmt: skip
    smooth = runs["smooth"]
    assert (smooth["family"], smooth["tags"]) == ("small-isoflop", ["corpus=web", "team=a b"])
    assert smooth["started_at"] == datetime(2023, 11, 14, 22, 13, 20) and smooth["train_seconds"] == 60.0
    assert "forgotten" not in runs and "left out 1 deleted run" in done.notes


def test_importing_twice_adds_nothing_and_a_run_that_went_on_adds_its_new_points(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    store = mlflow_database(tmp_path)
    import_path(lakehouse, store)
    assert import_path(lakehouse, store).unchanged == 4
    con = sqlite3.connect(store)
    (run_id,) = con.execute("SELECT run_uuid FROM runs WHERE name = 'half way'").fetchone()
    con.execute("INSERT INTO metrics VALUES ('loss', 5.0, 1700000009000, ?, 9, 0)", [run_id])
    con.commit()
    con.close()
    done = import_path(lakehouse, store)
    assert (done.added, done.changed, done.unchanged) == (0, 1, 3)
    grown = runs_by_name(lakehouse)["half way"]
    assert (grown["attempt"], grown["loss"], grown["last_step"]) == (1, 5.0, 9)
    assert curve(lakehouse, "half way") == [(1, 10.0), (9, 5.0)]
    assert lakehouse.query("SELECT count(*) AS n FROM store.metrics").to_pylist() == [{"n": 15}]  # 14 and the new one
    assert find_problems(lakehouse).records() == []


def test_a_store_is_found_in_the_folder_around_it(lakehouse: Lakehouse, tmp_path: Path) -> None:
    mlflow_database(tmp_path)
    assert import_path(lakehouse, tmp_path).runs == 4
    (tmp_path / "work").mkdir()
    copied("mlruns", tmp_path / "work")
    assert import_path(lakehouse, tmp_path / "work", source="files").runs == 4


def test_a_store_that_mlflow_still_writes_is_read(lakehouse: Lakehouse, tmp_path: Path) -> None:
    store = mlflow_database(tmp_path)
    con = sqlite3.connect(store)
    con.execute("PRAGMA journal_mode = wal")
    con.execute("BEGIN IMMEDIATE")
    con.execute("UPDATE runs SET name = 'not committed'")
    assert import_path(lakehouse, store).runs == 4
    con.rollback()
    con.close()
    assert "smooth" in runs_by_name(lakehouse)


def test_metric_files_of_older_and_newer_versions_are_read(lakehouse: Lakehouse, tmp_path: Path) -> None:
    store = copied("mlruns", tmp_path)
    (curve_file,) = (path for path in store.rglob("metrics/loss") if path.read_text().count("\n") == 4)
    curve_file.write_text("1700000000500 3.5\n1700000001000 2.5 7\n1700000002000 1.5 8 web 0123abcd\n17000")
    done = import_path(lakehouse, store)
    assert any("a line of loss is cut off, left out: '17000'" in note for note in done.notes)
    assert curve(lakehouse, "diverged") == [(0, 3.5), (7, 2.5), (8, 1.5)]
