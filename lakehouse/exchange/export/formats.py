"""The trackers that runs can be written for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import EmptySelection, UsageError, did_you_mean
from isoflop.lakehouse.exchange.export import mlflow, wandb
from isoflop.lakehouse.exchange.export.runs import ExportedRun, exported_runs

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse

FORMATS: dict[str, Callable[[Iterable[ExportedRun], Path], int]] = {mlflow.NAME: mlflow.write, wandb.NAME: wandb.write}


def export_runs(lake: Lakehouse, run_ids: Sequence[str], folder: Path, format: str) -> int:
    """Write runs with their curves for another tracker and return how many.

    Raises
    ------
    UsageError : if there is no such tracker, or `folder` is a file
    EmptySelection : if there are no runs to write
    """
    if format not in FORMATS:
        raise UsageError(
            f"runs cannot be written for '{format}'", hint=did_you_mean(format, FORMATS, f"one of {', '.join(FORMATS)}")
        )
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; {format} runs go into a folder")
    ids = list(dict.fromkeys(run_ids))
    if not ids:
        raise EmptySelection("no runs to export")
    return FORMATS[format](exported_runs(lake, ids), folder)
