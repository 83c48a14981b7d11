"""The lakehouse by itself: no language above it; a disk that fills up."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse
from tests.postgres import Postgres, missing


@pytest.fixture
def lakehouse(tmp_path: Path) -> Iterator[Lakehouse]:
    """A fresh lake that nobody drains but the test."""
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        yield lake


class SmallDisk:
    """A file system of a few MiB that can be made larger."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resize(self, mebibytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={mebibytes}m", str(self.path)], check=True)

    def fill(self) -> None:
        """Leave no room at all."""
        with contextlib.suppress(OSError), open(self.path / "ballast", "wb", buffering=0) as file:
            while file.write(b"\0" * 4096):
                pass


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], SmallDisk]]:
    """Make a disk of so many MiB; needs the right to mount."""
    mounted: list[Path] = []

    def make(mebibytes: int) -> SmallDisk:
        path = tmp_path / f"disk{len(mounted)}"
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(path)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting a small tmpfs is not allowed here")
        mounted.append(path)
        return SmallDisk(path)

    yield make
    for path in mounted:
        subprocess.run(["umount", "-l", str(path)], check=False)


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A PostgreSQL on loopback for the whole session; leave it running."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    postgres = Postgres()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGPASSWORD", postgres.PASSWORD)
        yield postgres
    postgres.close()


@pytest.fixture
def shared_address(server: Postgres, tmp_path: Path) -> str:
    """The address of a shared lake that does not exist yet."""
    return server.address(tmp_path / "data")


@pytest.fixture(params=["file", "shared"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a new lake, once of each kind."""
    if request.param == "file":
        return str(tmp_path / "runs.duckdb")
    return str(request.getfixturevalue("shared_address"))
