"""Numbers as people write them, laws of papers, groups and lakes, as they are typed after a command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import isoflop

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lake(tmp_path: Path) -> str:
    """A lake with one run."""
    path = tmp_path / "runs.duckdb"
    with isoflop.open(path) as opened, opened.run("mine", {"width": 1}, params=7e9) as run:
        run.log(step=1, loss=3.0)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "value"),
    [("70B", 70_000_000_000), ("1.5T", 1.5e12), ("-2k", -2000), ("'70B'", "70B"), ("web", "web"), ("12f", "12f")],
)
def test_a_value_is_read_as_people_write_numbers(command_line: Typed, lake: str, typed: str, value: object) -> None:
    code, out, _ = command_line("sql", "SELECT $p AS p", "--param", f"p={typed}", "--lake", lake, "--json")
    assert code == 0 and json.loads(out) == [{"p": value}]


@pytest.mark.parametrize("is_inside", [True, False])
def test_a_law_of_a_paper_is_drawn_within_a_lake_and_without(
    command_line: Typed, lake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_inside: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ISOFLOP_LAKE", raising=False)
    words = ("plot", "published:besiroglu_2024", "--height", "12", *(("--lake", lake) if is_inside else ()))
    code, out, err = command_line(*words)
    assert code == 0, err
    assert "published:besiroglu_2024 · loss along" in out and "E = 1.817" in out
    assert not (tmp_path / "isoflop.duckdb").exists()


def test_a_law_of_no_paper_is_one_error(command_line: Typed, lake: str) -> None:
    code, _, err = command_line("plot", "published:besirogl_2024", "--lake", lake)
    assert code == 2 and err.startswith(
        "error: law 'published:besirogl_2024' does not exist\nHint: did you mean 'besir"
    )


def test_a_lake_is_copied_as_its_neighbors_name_it(command_line: Typed, lake: str, tmp_path: Path) -> None:
    code, _, err = command_line("lake", "copy", str(tmp_path / "copy.duckdb"), "-l", lake)
    assert code == 0 and err.startswith("copied "), err
    with isoflop.open(tmp_path / "copy.duckdb") as copy:
        assert copy.query("SELECT params FROM runs").to_pylist() == [{"params": 7e9}]
    code, _, err = command_line("lake", "copy", lake, str(tmp_path / "other.duckdb"), "-l", lake)
    assert code == 2 and "takes one lake to copy and one to make" in err


def test_groups_of_a_fit_are_compared_from_the_command_line(command_line: Typed, lake: str) -> None:
    rows = (
        "SELECT CASE i % 2 WHEN 0 THEN 'new' ELSE 'old' END AS recipe, 1e18 * (1 + i // 2) AS flops, "
        "2 + 3e3 * (flops * (1 + (1 - i % 2))) ** -0.2 AS loss FROM range(40) r(i)"  # new: twice the compute
    )
    words = ("--group-by", "recipe", "--from", rows, "--at", "1e19", "--with", "resamples=0", "--lake", lake, "--json")
    code, out, err = command_line("compare", "--gain", "new", "old", "loss ~ power(flops)", *words)
    assert code == 0, err
    assert json.loads(out)[0]["gain"] == pytest.approx(2, rel=1e-3)
    code, _, err = command_line("compare", "--gain", "new", "old", "--group-by", "recipe", "--lake", lake)
    assert code == 2 and "takes the values of two groups and a formula" in err
