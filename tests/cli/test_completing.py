"""Completion in bash, zsh and fish: commands, laws, runs and lakes, of the lake of the command line; no harm done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def folder(laws_file: Path, tmp_path: Path) -> Path:
    """A folder with a lake with laws, and another one below it."""
    shutil.copy(laws_file, tmp_path / "laws.duckdb")
    (tmp_path / "more").mkdir()
    shutil.copy(laws_file, tmp_path / "more" / "deep.duckdb")
    return tmp_path


def completed(folder: Path, line: str, shell: str = "bash", lake: str | None = "laws.duckdb") -> list[str]:
    """Return what a shell offers behind a line."""
    words = line.split(" ")
    environment = {
        **os.environ, "_ISOFLOP_COMPLETE": f"complete_{shell}", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }  # fmt: skip
    environment.pop("ISOFLOP_LAKE", None)
    if lake is not None:
        environment["ISOFLOP_LAKE"] = lake
    done = subprocess.run(
        [sys.executable, "-m", "isoflop"], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.stderr == ""
    return [line for line in done.stdout.split("\n") if line]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("isoflop cros", ["crossval"]),
        ("isoflop extrapolate c", ["chin"]),
        ("isoflop laws ", ["chin", "size"]),
        ("isoflop logs p3", [f"p{number}" for number in range(30, 39)]),
        ("isoflop runs -l l", ["laws.duckdb"]),
        ("isoflop runs --lake more/", ["more/deep.duckdb"]),
        ("isoflop runs -f j", ["json"]),
    ],
)
def test_names_are_offered(folder: Path, line: str, offered: list[str]) -> None:
    assert sorted(completed(folder, line)) == offered


def test_the_lake_of_the_line_counts(folder: Path) -> None:
    assert completed(folder, "isoflop predict -l more/deep.duckdb c", lake=None) == ["chin"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_say_what_a_name_means(folder: Path, shell: str) -> None:
    (line,) = completed(folder, "isoflop predict c", shell)
    assert "chin" in line and "chinchilla" in line


def test_no_lake_is_made_and_none_is_no_error(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    assert completed(folder, "isoflop predict -l nope.duckdb c", lake=None) == []
    assert completed(folder, "isoflop predict c", lake=None) == []
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell_is_printed(folder: Path, shell: str) -> None:
    environment = {**os.environ, "_ISOFLOP_COMPLETE": f"source_{shell}"}
    done = subprocess.run(
        [sys.executable, "-m", "isoflop"], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert "_ISOFLOP_COMPLETE=complete_" in done.stdout and "python" not in done.stdout
