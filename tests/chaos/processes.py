"""What runs below a process, read from /proc: which of our own to kill."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def below(root: int) -> dict[int, str]:
    """Return the processes that `root` started, and those that these started, with their command lines."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found, frontier = set(), {root}
    while frontier := {pid for pid, parent in parents.items() if parent in frontier and pid not in found}:
        found |= frontier
    return {pid: title for pid in found if (title := _title(pid))}


def commands() -> dict[int, str]:
    """Return every process of this machine with its command line."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return {pid: title for pid in pids if (title := _title(pid))}


def raylets(root: int) -> list[int]:
    """Return Ray's node processes below `root`."""
    return [pid for pid, title in below(root).items() if title.split()[0].endswith("/raylet")]


def trainers(root: int, label: str) -> list[int]:
    """Return the worker processes below `root` that train a run whose label begins so."""
    return [pid for pid, title in below(root).items() if title.startswith(f"ray::{label}")]


def killed(pid: int) -> bool:
    """SIGKILL a process and return whether it was there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _title(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""
