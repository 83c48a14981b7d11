"""Fixtures that every test folder shares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse
from tests.lakes import open_here

# Fixtures hold no doctests, and two files of one name cannot both be collected for them.
collect_ignore_glob = ["*conftest.py"]


@pytest.fixture
def lakehouse(tmp_path: Path) -> Iterator[Lakehouse]:
    """A fresh lake with the language, opened by the test's process as a command opens a free file."""
    with open_here(tmp_path / "runs.duckdb") as lake:
        yield lake


@pytest.fixture
def chinchilla_csv() -> Path:
    """The published runs that come with isoflop."""
    from isoflop.lakehouse.exchange.published import find_published

    return find_published("chinchilla_epoch")


# Files whose tests take minutes, in the order in which they are begun: the last of them would otherwise run alone.
LONG = (
    *("cli/test_demo.py", "queries/language/test_language_fuzz.py", "cli/test_sweep_command.py"),
    *("workers/test_cluster_nodes.py", "workers/test_cluster.py", "cli/test_submit_command.py", "chaos/test_chaos.py"),
    *("lakehouse/test_shared_upkeep.py", "lakehouse/test_shared_outages.py", "queries/test_every_law.py"),
)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name bytes by their number: what is in them (a packed file's time) may differ from process to process."""
    return f"{len(val)}_bytes" if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first."""
    folder = Path(__file__).parent
    places = {folder / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
