"""`isoflop runs` says what runs are called and in which settings they differ; of a single run, all settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import isoflop
from isoflop.cli.main import app
from isoflop.cli.tui.board import board_statement


@pytest.fixture
def lake(tmp_path: Path) -> str:
    path = tmp_path / "lake.duckdb"
    with isoflop.open(path) as made:
        for size in (12, 13):
            with made.run("my-net", {"recipe": "mup", "size": size}, name=f"net {size}", params=1e8) as run:
                run.log(step=1, loss=3.0)
        made.drain()
    return str(path)


def shown(lake: str, *words: str) -> list[dict[str, object]]:
    done = CliRunner().invoke(app, ["runs", "--lake", lake, "--json", *words])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_runs_have_their_names_and_what_differs_between_them(lake: str) -> None:
    rows = shown(lake, "--order-by", "size")
    assert [(row["name"], row["size"]) for row in rows] == [("net 12", 12), ("net 13", 13)]
    assert "recipe" not in rows[0]


def test_a_single_run_has_all_its_settings(lake: str) -> None:
    (row,) = shown(lake, "--where", "size = 12")
    assert (row["recipe"], row["size"]) == ("mup", 12)


@pytest.fixture
def imported(tmp_path: Path) -> str:
    rows = "".join(f"lr-{k},{k}e6,2e8,3.5\n" for k in (10, 2, 33, 1, 100))
    (tmp_path / "runs.csv").write_text(f"name,params,tokens,loss\n{rows}")
    lake = str(tmp_path / "imported.duckdb")
    assert CliRunner().invoke(app, ["import", str(tmp_path / "runs.csv"), "--lake", lake]).exit_code == 0
    return lake


def test_runs_of_one_import_are_listed_by_name_with_numbers_in_their_order(imported: str) -> None:
    assert [row["name"] for row in shown(imported)] == ["lr-1", "lr-2", "lr-10", "lr-33", "lr-100"]
    with isoflop.open(imported) as opened:
        for sort in ("newest", "loss"):
            rows = opened.sql(board_statement(sort=sort)).records()
            assert [row["name"] for row in rows] == ["lr-1", "lr-2", "lr-10", "lr-33", "lr-100"]


def test_a_later_import_comes_first(imported: str, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("name,params,tokens,loss\nlr-5,5e6,2e8,3.5\n")
    assert CliRunner().invoke(app, ["import", str(tmp_path / "more.csv"), "--lake", imported]).exit_code == 0
    assert [row["name"] for row in shown(imported)][:2] == ["lr-5", "lr-1"]
