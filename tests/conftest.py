"""Fixtures that every test folder shares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import isoflop
from isoflop.lakehouse import Lakehouse

# Fixtures hold no doctests, and two files of one name cannot both be collected for them.
collect_ignore_glob = ["*conftest.py"]


@pytest.fixture
def lakehouse(tmp_path: Path) -> Iterator[Lakehouse]:
    """A fresh lake with the language, held by the test's process."""
    with isoflop.open(tmp_path / "runs.duckdb") as lake:
        yield lake


@pytest.fixture
def chinchilla_csv() -> Path:
    """The published runs that come with isoflop."""
    from isoflop.lakehouse.exchange.published import find_published

    return find_published("chinchilla_epoch")
