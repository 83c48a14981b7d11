"""Trains sweeps on this machine while somebody watches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse
    from isoflop.workers.sweep import Sweep


def train_all(lake: Lakehouse, sweeps: Iterable[Sweep]) -> None:
    """Train what the lake has no result of yet, one sweep after another, and leave the command where one fails."""
    from isoflop.cli.output import stderr_console
    from isoflop.cli.progress import watching
    from isoflop.workers.cluster import RaySession, run_sweep

    with RaySession() as ray:
        for sweep in sweeps:
            with watching(stderr_console()) as watch:
                state = run_sweep(lake, sweep, session=ray, watch=watch)
            if state.exit_code:
                raise typer.Exit(state.exit_code)
