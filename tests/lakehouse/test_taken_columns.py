"""What was taken under our name as it is stays in `config`, and is no second column of `runs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import isoflop
from isoflop.cli.main import app
from isoflop.lakehouse.exchange import import_path

FILE = (
    "Run Name,N,D (B),Final Loss,State,recipe\na,1e7,0.2,3.5,done,x\nb,1e7,0.2,3.25,done,y\nc,3e7,0.6,3.125,crashed,x\n"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "runs.csv").write_text(FILE)
    return tmp_path / "runs.csv"


def columns_of(lake: isoflop.Lakehouse) -> set[str]:
    return set(lake.query("SELECT * FROM runs").column_names)


def test_columns_that_were_taken_as_they_are_stay_in_the_config(tmp_path: Path, path: Path) -> None:
    with isoflop.open(tmp_path / "lake.duckdb") as lake:
        import_path(lake, path)
        assert not {"Run Name", "N", "Final Loss", "State"} & columns_of(lake)
        assert {"D (B)", "recipe"} <= columns_of(lake)  # what was made of a column is not what it says
        row = lake.query("SELECT name, params, loss, config FROM runs WHERE name = 'c'").to_pylist()[0]
        told = json.loads(row["config"])
        assert (told["Run Name"], told["N"], told["Final Loss"], told["State"]) == ("c", 3e7, 3.125, "crashed")
        assert (row["params"], row["loss"]) == (3e7, 3.125)
        done = import_path(lake, path)
        assert (done.added, done.changed, done.unchanged) == (0, 0, 3)


def test_another_mapping_keeps_what_it_does_not_take_as_a_column(tmp_path: Path, path: Path) -> None:
    with isoflop.open(tmp_path / "lake.duckdb") as lake:
        import_path(lake, path, mapping={"loss": "N / 1e7", "name": "recipe"})
        assert {"Run Name", "Final Loss"} <= columns_of(lake) and "State" not in columns_of(lake)
        assert lake.query('SELECT "Final Loss" AS told FROM runs ORDER BY ALL').to_pylist()[0] == {"told": 3.125}


def test_a_lake_that_has_such_a_column_goes_on_with_it(tmp_path: Path, path: Path) -> None:
    with isoflop.open(tmp_path / "lake.duckdb") as lake:
        (tmp_path / "old.csv").write_text(
            "name,params,tokens,loss,Final Loss\nz,1e8,2e9,2.5,2.5\ny,2e8,2e9,2.25,2.25\n"
        )
        import_path(lake, tmp_path / "old.csv")
        import_path(lake, path)
        assert lake.sql('FIT "Final Loss" ~ power(params) FROM runs').records()
        found = lake.query('SELECT name, "Final Loss" AS told, loss FROM runs').to_pylist()
        assert len(found) == 5 and all(row["told"] == row["loss"] for row in found)


def test_rows_with_the_same_inputs_do_not_differ_by_what_was_taken(tmp_path: Path, path: Path) -> None:
    with isoflop.open(tmp_path / "lake.duckdb") as lake:
        path.write_text(FILE + "d,1e8,2.0,2.75,done,x\ne,3e8,6.0,2.5,done,y\n")
        import_path(lake, path)
        notes = lake.sql("FIT loss ~ power(params) FROM runs").notes
        assert [note for note in notes if "another recipe, which the law does not use" in note]


def test_a_dry_run_shows_each_column_once(path: Path) -> None:
    done = CliRunner().invoke(app, ["import", str(path), "--dry-run", "--format", "csv"])
    assert done.exit_code == 0 and "Final Loss,loss" in done.stdout
    lines = done.stdout.splitlines()
    assert not {"Final Loss,Final Loss", "Run Name,Run Name", "N,N", "State,State"} & set(lines)
    assert "D (B),recipe,params,tokens,loss,name,status" in lines


def test_what_a_lake_exports_has_no_more_columns_in_another(tmp_path: Path, path: Path) -> None:
    first, second = str(tmp_path / "first.duckdb"), str(tmp_path / "second.duckdb")
    words: list[list[str]] = [
        ["import", str(path), "--lake", first],
        ["export", "runs", "--to", str(tmp_path / "runs.parquet"), "--lake", first],
        ["import", str(tmp_path / "runs.parquet"), "--lake", second],
    ]
    for typed in words:
        done: Any = CliRunner().invoke(app, typed)
        assert done.exit_code == 0, (typed, done.output, done.exception)
    with isoflop.open(first) as one, isoflop.open(second) as other:
        assert columns_of(one) == columns_of(other)
        told = [lake.query("SELECT config FROM runs ORDER BY name").to_pylist() for lake in (one, other)]
        assert [[json.loads(row["config"])["Final Loss"] for row in rows] for rows in told] == [[3.5, 3.25, 3.125]] * 2
