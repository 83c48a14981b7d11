"""Who and what produced a row: code version, host, process."""

from __future__ import annotations

import os
import socket
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HOST_SPACE = 0xEFFFFFFC  # inode of Linux's first namespace of process numbers, the host's own (proc_ns.h)


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


def process_space() -> str:
    """Return the name of the space that process numbers of this machine are of: the host, and the container in it.

    Containers on one host may have its name and see other numbers, so that a number says nothing there.
    """
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = HOST_SPACE
    return host_name() if space == HOST_SPACE else f"{host_name()}+{space}"


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
    """Return a name for this process that no other process ever has: space, pid and start time."""
    return f"{process_space()}:{os.getpid()}:{process_start(os.getpid())}"


def is_running(label: str) -> bool | None:
    """Return whether the process with this label still runs; None when it is another machine's or container's."""
    host, _, rest = label.rpartition(":")[0].rpartition(":")
    start = label.rpartition(":")[2]
    if host != process_space() or not rest.isdigit():
        return None
    return process_start(int(rest)) == start
