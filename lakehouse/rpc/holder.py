"""The process that holds a lake's file: where it says that it answers, and the error when it has gone."""

from __future__ import annotations

from pathlib import Path

from isoflop.lakehouse.errors import StoreError


def address_file(path: Path) -> Path:
    """Return the file in which the holder of a lake says where it answers."""
    return path.with_name(path.name + ".serving")


class HolderGone(StoreError):
    """The process that held the lake went away before it answered."""

    def __init__(self, path: Path, pid: int) -> None:
        super().__init__(f"process {pid}, which held {path}, has gone before it answered", hint="run the command again")
