"""Whether the runs of a sweep fit into the memory of this machine, as their families predict it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isoflop.lakehouse.units import format_bytes

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # versions 2 and 1


@dataclass(frozen=True)
class MemoryNeed:
    """What one run is predicted to take.

    Parameters
    ----------
    label : what users call the run
    memory_bytes : weights, gradients, optimizer and activations at their peak [byte]
    """

    label: str
    memory_bytes: float


def host_memory_bytes() -> int | None:
    """Return the memory that processes of this machine, or of this container, may take; None where nobody says."""
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError, AttributeError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # version 2 says `max` for no limit
            found.append(int(Path(path).read_text(encoding="ascii")))
    return min((size for size in found if size > 0), default=None)


def too_large(needs: Sequence[MemoryNeed], most: int | None) -> str | None:
    """Return that the largest run does not fit into so many bytes, in words; None where it does, or nobody knows.

    Example
    -------
    >>> too_large([MemoryNeed("a", 2**20), MemoryNeed("b", 40 * 2**30)], 16 * 2**30)
    'run b needs about 40.0 GiB of memory for weights, gradients, optimizer and activations; there are 16.0 GiB'
    """
    largest = max(needs, key=lambda need: need.memory_bytes, default=None)
    if largest is None or most is None or largest.memory_bytes <= most:
        return None
    return (
        f"run {largest.label} needs about {format_bytes(largest.memory_bytes)} of memory for weights, gradients, "
        f"optimizer and activations; there are {format_bytes(most)}"
    )


def too_many(needs: Sequence[MemoryNeed], at_once: int, most: int | None) -> str | None:
    """Return that the runs that may train at once do not fit together, and how many do; None where they may.

    Parameters
    ----------
    at_once : how many runs the machine would train at once
    most : memory of the machine [byte]

    Example
    -------
    >>> too_many([MemoryNeed("a", 6 * 2**30), MemoryNeed("b", 5 * 2**30)], 2, 8 * 2**30)
    'memory: 2 runs at once may need 11.0 GiB, and there are 8.0 GiB; max_concurrent: 1 keeps them apart'
    """
    sizes = sorted((need.memory_bytes for need in needs), reverse=True)
    together = sum(sizes[:at_once])
    if most is None or together <= most:
        return None
    fit = max((number for number in range(1, at_once + 1) if sum(sizes[:number]) <= most), default=1)
    return (
        f"memory: {min(at_once, len(sizes))} runs at once may need {format_bytes(together)}, and there are "
        f"{format_bytes(most)}; max_concurrent: {fit} keeps them apart"
    )
