"""The folders beside a lake that a sweep fills."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse


def checkpoint_folder(lake: Lakehouse) -> Path:
    """Return the folder beside the lake that holds the checkpoints of unfinished runs."""
    return lake.path.with_name(lake.path.name + ".checkpoints")


def weights_folder(lake: Lakehouse) -> Path:
    """Return the folder beside the lake that keeps the final weights of runs, a file for each."""
    return lake.path.with_name(lake.path.name + ".weights")


def output_folder(lake: Lakehouse) -> Path:
    """Return the folder beside the lake that holds what commands write, a folder for each run."""
    return lake.path.with_name(lake.path.name + ".outputs")


def forget_checkpoints(lake: Lakehouse, run_id: str) -> None:
    """Remove what a run has saved that nobody will go on with."""
    for saved in checkpoint_folder(lake).glob(f"{run_id}.*"):
        saved.unlink(missing_ok=True)
