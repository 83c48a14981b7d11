"""The lakehouse by itself: no language above it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse


@pytest.fixture
def lakehouse(tmp_path: Path) -> Iterator[Lakehouse]:
    """A fresh lake that nobody drains but the test."""
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        yield lake
