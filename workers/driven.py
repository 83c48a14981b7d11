"""A sweep that a process of this machine drives: the file that says so, and asks it to stop.

`LAKE.sweep.ID` beside the lake holds the label of the process, and a second line once somebody wants it to stop. The
driver takes it away when it leaves; what a killed one left behind names a process that no longer runs.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from isoflop.lakehouse.runs.provenance import is_running, process_label

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse

STOP = "stop"  # the second line


class Driven:
    """While the block runs, this process drives a sweep, and can be asked to stop.

    Parameters
    ----------
    sweep_id : as the lake has it
    """

    def __init__(self, lake: Lakehouse, sweep_id: str) -> None:
        self._path = driven_file(lake, sweep_id)

    def is_asked_to_stop(self) -> bool:
        """Return whether somebody wants the sweep to stop."""
        with contextlib.suppress(OSError):
            return STOP in self._path.read_text(encoding="utf-8").splitlines()[1:]
        return False

    def __enter__(self) -> Driven:
        with contextlib.suppress(OSError):  # on a full disk a sweep runs all the same, and Ctrl-C stops it
            self._path.write_text(f"{process_label()}\n", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()


def driven_file(lake: Lakehouse, sweep_id: str) -> Path:
    """Return the file that is there while a process of this machine drives a sweep."""
    return lake.path.with_name(f"{lake.path.name}.sweep.{sweep_id}")


def is_driven(lake: Lakehouse, sweep_id: str) -> bool:
    """Return whether a living process of this machine drives a sweep; a file that a dead one left is taken away."""
    path = driven_file(lake, sweep_id)
    try:
        label = path.read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return False
    if is_running(label) is False:
        with contextlib.suppress(OSError):
            path.unlink()
        return False
    return bool(label)


def ask_to_stop(lake: Lakehouse, sweep_id: str) -> None:
    """Ask the process that drives a sweep to stop it; it looks once a second."""
    with open(driven_file(lake, sweep_id), "r+", encoding="utf-8") as file:  # never makes the file
        file.seek(0, 2)
        file.write(f"{STOP}\n")
