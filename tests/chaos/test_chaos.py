"""Kill, freeze, fill, and ordinary habits at random moments: what was acknowledged is there, once.

`make chaos` is the long form.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.habits import Habits
from tests.chaos.harness import Chaos
from tests.postgres import Postgres, missing


def test_a_file_survives_killed_workers_and_holders(tmp_path: Path) -> None:
    figures = Chaos(str(tmp_path / "runs.duckdb"), tmp_path, seed=1, workers=2, steps=6_000).run(seconds=5)
    print(figures)
    assert sum(figures.faults.values()) >= 3
    assert figures.is_whole, str(figures) + (tmp_path / "messages.txt").read_text()


def test_a_shared_catalog_survives_killed_workers_committers_and_postgresql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    monkeypatch.setenv("PGPASSWORD", Postgres.PASSWORD)
    server = Postgres()
    try:
        address = server.address(tmp_path / "data")
        figures = Chaos(address, tmp_path, seed=2, workers=2, steps=4_000, server=server).run(seconds=5)
    finally:
        server.close()
    print(figures)
    assert figures.is_whole, str(figures) + (tmp_path / "messages.txt").read_text()


def test_ordinary_habits_cost_a_file_nothing(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    figures = Habits(str(tmp_path / "disk" / "runs.duckdb"), tmp_path, seed=3, moments=5).run()
    assert figures.is_whole and figures.points > 0, str(figures)


def test_ordinary_habits_cost_a_shared_catalog_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    monkeypatch.setenv("PGPASSWORD", Postgres.PASSWORD)
    server = Postgres()
    try:
        address = server.address(tmp_path / "data")
        figures = Habits(address, tmp_path, seed=4, moments=4, server=server).run()
    finally:
        server.close()
    assert figures.is_whole and figures.points > 0, str(figures)
