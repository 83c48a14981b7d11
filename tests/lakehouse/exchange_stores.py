"""The stores of tests/fixtures/exchange, and the curve that every one of them holds."""

from __future__ import annotations

import math
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from isoflop.lakehouse import Lakehouse

STORES = Path(__file__).parent.parent / "fixtures" / "exchange"
STEPS = (1, 2, 3, 200, 70_000)


def loss_at(step: int, floor: float) -> float:
    """The curve that make_stores.py plants."""
    return floor + 8.0 / math.sqrt(step)


def mlflow_database(folder: Path) -> Path:
    """Return the SQLite store whose dump is a fixture."""
    path = folder / "mlflow.db"
    con = sqlite3.connect(path)
    con.executescript((STORES / "mlflow.sql").read_text())
    con.close()
    return path


def copied(name: str, folder: Path) -> Path:
    """Return a copy of a store that a test may change."""
    return Path(shutil.copytree(STORES / name, folder / name))


def runs_by_name(lake: Lakehouse) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in lake.query("SELECT * FROM runs").to_pylist()}


def curve(lake: Lakehouse, name: str, metric: str = "loss") -> list[tuple[int, float]]:
    """Return (step, value) of a run's metric at its newest attempt."""
    rows = lake.query(
        "SELECT m.step, m.value FROM metrics m JOIN runs r USING (run_id, attempt) "
        "WHERE r.name = ? AND m.metric = ? ORDER BY m.step",
        [name, metric],
    ).to_pylist()
    return [(row["step"], row["value"]) for row in rows]


def same(found: list[tuple[int, float]], expected: list[tuple[int, float]]) -> bool:
    """Return whether two curves agree exactly, NaN with NaN."""
    return len(found) == len(expected) and all(
        step == other and (value == wanted or (math.isnan(value) and math.isnan(wanted)))
        for (step, value), (other, wanted) in zip(found, expected, strict=True)
    )
