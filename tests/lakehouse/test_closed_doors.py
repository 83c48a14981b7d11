"""Files that are no lake, and texts that are no text: one clear error, at once."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import isoflop
from isoflop.lakehouse.errors import QuerySyntaxError, StoreError, UsageError
from tests.lakehouse.conftest import SmallDisk


def test_half_a_character_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with isoflop.open(path) as lake:
        for ask in (lake.sql, lake.query, lake.session().sql):
            with pytest.raises(QuerySyntaxError, match=r"half of a character, '.ud800'") as refused:
                ask("SELECT '\ud800'")
            assert str(refused.value).splitlines()[2:4] == [r"LINE 1: SELECT '\ud800'", " " * 16 + "^" * 6]
        with pytest.raises(QuerySyntaxError, match="half of a character"):
            lake.sql("FIT loss ~ power(params) FROM '\udfff'")
    with isoflop.open(path, read_only=True) as lake, pytest.raises(QuerySyntaxError, match="half of a character"):
        lake.query("SELECT '\ud800'")


def test_a_pipe_is_no_lake(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "runs.duckdb")
    with pytest.raises(UsageError, match="is no file but a pipe"):
        isoflop.open(tmp_path / "runs.duckdb")


def test_a_name_that_leaves_no_room_for_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a name of 240 bytes, more than 200\nHint: give a shorter one"):
        isoflop.open(tmp_path / ("n" * 233 + ".duckdb"))
    with isoflop.open(tmp_path / ("n" * 193 + ".duckdb")) as lake, lake.run("mine", {"width": 8}) as run:
        run.log(step=1, loss=2.5)


def test_what_may_not_be_written_says_how_to_go_on(small_disk: Callable[[int], SmallDisk]) -> None:
    disk = small_disk(64)
    with isoflop.open(disk.path / "runs.duckdb") as lake, lake.run("mine", {"width": 8}) as run:
        run.log(step=1, loss=2.5)
    until = time.monotonic() + 300
    while subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], capture_output=True).returncode:
        assert time.monotonic() < until  # the process that kept the lake has not gone yet
        time.sleep(0.1)
    with pytest.raises(StoreError, match=r"runs.duckdb cannot be opened: it may not be written(.|\n)*--read-only"):
        isoflop.open(disk.path / "runs.duckdb").query("SELECT 1")
    with pytest.raises(StoreError, match=r"its folder may not be written(.|\n)*a file in another folder"):
        isoflop.open(disk.path / "new.duckdb").query("SELECT 1")
    with isoflop.open(disk.path / "runs.duckdb", read_only=True) as lake:
        assert lake.query("SELECT loss FROM runs").to_pylist() == [{"loss": 2.5}]
