"""`isoflop runs` says what runs are called and in which settings they differ; of a single run, all settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import isoflop
from isoflop.cli.main import app


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
