"""What tests do to the process that keeps a lake."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from isoflop.lakehouse.rpc.endpoint import Endpoint, endpoint_file, read_endpoint
from isoflop.lakehouse.runs.provenance import process_start


def spool_of(path: Path) -> Path:
    """Return the spool folder of the lake at a path."""
    return path.with_name(path.name + ".spool")


def endpoint_of(path: Path) -> Endpoint:
    """Return where the keeper of the lake at a path listens."""
    endpoint = read_endpoint(endpoint_file(spool_of(path)))
    assert endpoint is not None, f"nobody keeps {path}"
    return endpoint


def has_keeper(path: Path) -> bool:
    """Return whether a process says that it keeps the lake at a path."""
    return read_endpoint(endpoint_file(spool_of(path))) is not None


def kill_keeper(path: Path) -> int:
    """Kill the process that keeps the lake at a path and return which that was."""
    pid = endpoint_of(path).pid
    os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 300
    while process_start(pid) is not None:
        assert time.monotonic() < until
        time.sleep(0.01)
    return pid
