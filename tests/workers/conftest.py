"""A real Ray for the tests that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isoflop.workers.cluster import RaySession


@pytest.fixture(scope="session")
def ray_session() -> Iterator[RaySession]:
    """Ray inside the test's process, started once; starting it takes longer than most tests."""
    with RaySession() as session:
        session.start()
        yield session
