"""When a run writes its checkpoint, and what becomes of one that cannot be written or read: a note, never the run."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.units import format_bytes
from isoflop.workers.checkpoint import BrokenCheckpoint, set_aside

if TYPE_CHECKING:
    from isoflop.lakehouse.ingest.spool import Spool

USUAL_SECONDS = 30.0  # wall time between checkpoints: what a kill costs at most
SLOWEST = 64  # times the usual interval, after several that could not be written


@dataclass(frozen=True, kw_only=True)
class Saving:
    """How often a run writes a checkpoint, and how large one may be.

    Parameters
    ----------
    seconds : wall time between two [s]
    steps : between two, in the place of seconds
    most_bytes : a larger one is not written; None for no limit
    weights_folder : keeps the final weights of runs that finish; None for none
    """

    seconds: float = USUAL_SECONDS
    steps: int | None = None
    most_bytes: int | None = None
    weights_folder: Path | None = None


USUAL = Saving()


class Saver:
    """Decides when a run's checkpoint is due, and writes it as far as it can be written."""

    def __init__(self, saving: Saving, step: int) -> None:
        self._saving = saving
        self._step, self._wrote_at = step, time.perf_counter()
        self._slower = 1
        self._is_too_large = False

    def is_due(self, step: int) -> bool:
        """Return whether so long after the last one another is to be written; failures make that longer."""
        if self._is_too_large:
            return False
        if self._saving.steps is not None:
            return step - self._step >= self._slower * self._saving.steps
        return time.perf_counter() - self._wrote_at >= self._slower * self._saving.seconds

    def write(self, step: int, spool: Spool, path: Path, size: float, write: Callable[[], None]) -> bool:
        """Write a checkpoint and return whether it is there; what is in the way is said, and the old one stays.

        Parameters
        ----------
        size : of what is written, about [byte]
        write : does it, whole or not at all
        """
        most = self._saving.most_bytes
        if most is not None and size > most:
            if not self._is_too_large:
                about = f"it takes {format_bytes(size)}, and checkpoint.at_most is {format_bytes(most)}"
                spool.note(f"no checkpoint: {about}; an interrupted run begins anew", level="warning")
            self._is_too_large = True
            return False
        room = _free(path)  # of before: what is half written may hold it for a while
        try:
            write()
        except (OSError, RuntimeError) as error:  # the latter is torch's for a disk that is full
            self._failed(spool, size, room, error)
            is_written = False
        else:
            if self._slower > 1:
                spool.note("checkpoints can be written again", level="warning")
            self._slower, is_written = 1, True
        self._step, self._wrote_at = step, time.perf_counter()
        return is_written

    def _failed(self, spool: Spool, size: float, room: str, error: Exception) -> None:
        if self._slower == 1:
            said = str(error).partition("\n")[0]
            spool.note(
                f"checkpoint not written: {said} ({format_bytes(size)} needed{room}); training goes on, and an "
                "older checkpoint stays",
                level="warning",
            )
        self._slower = min(2 * self._slower, SLOWEST)


def _free(path: Path) -> str:
    with contextlib.suppress(OSError):
        there = next(folder for folder in path.parents if folder.exists())
        return f", {format_bytes(shutil.disk_usage(there).free)} free"
    return ""


def opened(path: Path | None, load: Callable[[Path], dict[str, Any] | None], spool: Spool) -> dict[str, Any] | None:
    """Return what a checkpoint holds, None where there is none; one that cannot be continued is set aside and said."""
    try:
        return load(path) if path is not None else None
    except BrokenCheckpoint as broken:
        assert path is not None
        spool.note(f"begins anew: {path} {broken}; it is kept as {set_aside(path).name}", level="warning")
        return None


def tensor_bytes(content: object) -> float:
    """Return the bytes of all tensors in nested mappings and lists."""
    match content:
        case dict():
            return sum(tensor_bytes(value) for value in content.values())
        case list() | tuple():
            return sum(tensor_bytes(value) for value in content)
        case _:
            return float(getattr(content, "nbytes", 0))
