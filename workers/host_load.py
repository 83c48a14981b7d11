"""What else the machine does while a run trains, and what is said of a run that shared its processors."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.models.contended import CONTENDED, CROWDED

if TYPE_CHECKING:
    from isoflop.lakehouse.ingest.spool import Spool

PROC_STAT = Path("/proc/stat")  # of the whole machine, also inside a container
SHORTEST = 0.2  # wall time that is looked at [s]: the kernel counts in ticks of 10 ms
WORTH_A_WORD = 1.0  # wall time of steps from which on their neighbors are told [s]; what is shorter is a trial
IDLE = (3, 4)  # columns of `cpu` in /proc/stat, idle and iowait; the two last repeat what user and nice have
COUNTED = 8  # user, nice, system, idle, iowait, irq, softirq, steal


class HostLoad:
    """How many processors other work keeps busy, from when it is made.

    Other work is everything but this process: its threads and the children it has waited for.
    """

    def __init__(self) -> None:
        self._began, self._busy, self._own = time.perf_counter(), busy_seconds(), _own_seconds()

    def processors(self) -> float | None:
        """Return the processors that other work has kept busy on average [1], None where the system does not say."""
        seconds, busy = time.perf_counter() - self._began, busy_seconds()
        if busy is None or self._busy is None or seconds < SHORTEST or busy == self._busy:
            return None
        return max(0.0, (busy - self._busy - (_own_seconds() - self._own)) / seconds)


def busy_seconds(path: Path = PROC_STAT) -> float | None:
    """Return what all processors of the machine have worked since it began [s], None where no kernel says so.

    Time that a hypervisor gave to other machines counts, for it is missing here.
    """
    with contextlib.suppress(OSError, ValueError):
        name, *ticks = path.read_text().partition("\n")[0].split()
        if name == "cpu" and len(ticks) >= COUNTED:
            busy = sum(int(value) for place, value in enumerate(ticks[:COUNTED]) if place not in IDLE)
            return busy / os.sysconf("SC_CLK_TCK")
    return None


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def note_neighbors(spool: Spool, contention: float | None, load: float | None, seconds: float) -> None:
    """Say in a run's log that its times are those of a machine that it shared.

    Parameters
    ----------
    contention : share of the steps' time without a processor [1]
    load : processors that other work kept busy [1]
    seconds : wall time of all steps [s]
    """
    if seconds < WORTH_A_WORD:
        return
    others = "" if load is None else f"; other work kept {load:.1f} of {os.cpu_count()} processors busy"
    if contention is not None and contention >= CONTENDED:
        spool.note(
            f"contended: for {contention:.0%} of its steps' time the run had no processor{others}; step_seconds is CPU "
            "time and leaves that out, but not what neighbors do to caches: timing: exclusive trains runs alone",
            level="warning",
        )
    elif load is not None and load >= CROWDED:
        spool.note(f"neighbors: the run had its processors{others}, which may slow steps down by a tenth")
