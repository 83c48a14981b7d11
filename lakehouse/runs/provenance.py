"""Who and what produced a row: code version, host, process."""

from __future__ import annotations

import os
import socket
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@cache
def code_version() -> str:
    """Return the installed version of isoflop."""
    try:
        return version("isoflop")
    except PackageNotFoundError:  # imported from a source tree or a Ray package without its metadata
        return "unknown"


def host_name() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


def process_start(pid: int) -> str | None:
    """Return when a process of this machine started, in clock ticks, or None when it does not run."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]  # Z, X: it has ended and waits to be buried
    except (OSError, IndexError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except OSError:
            return "?"
        return "?"


def process_label() -> str:
    """Return a name for this process that no other process ever has: host, pid and start time."""
    return f"{host_name()}:{os.getpid()}:{process_start(os.getpid())}"


def is_running(label: str) -> bool | None:
    """Return whether the process with this label still runs; None when it is another machine's."""
    host, _, rest = label.rpartition(":")[0].rpartition(":")
    start = label.rpartition(":")[2]
    if host != host_name() or not rest.isdigit():
        return None
    return process_start(int(rest)) == start
