"""Lakes for tests of the language."""

from __future__ import annotations

from pathlib import Path

from isoflop.lakehouse import Lakehouse
from isoflop.queries.language import execute


def open_here(path: Path | str) -> Lakehouse:
    """Open a lake with the language in the test's own process: a process that keeps it takes a second to start."""
    return Lakehouse(path, language=execute)
