"""isoflop: the lakehouse for neural scaling laws.

>>> import isoflop
>>> lake = isoflop.open("runs.duckdb")                                     # doctest: +SKIP
>>> lake.sql("FIT loss ~ chinchilla(params, tokens) FROM runs")            # doctest: +SKIP
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isoflop.lakehouse import Lakehouse
    from isoflop.lakehouse.errors import IsoflopError
    from isoflop.lakehouse.joined import JoinedRun
    from isoflop.lakehouse.runlog import RunLog

__all__ = ["IsoflopError", "log", "open", "run"]

_runs: list[RunLog | JoinedRun] = []  # the run of this script that `log` writes to, the last that `run` gave


def open(address: str | os.PathLike[str] | None = None, *, read_only: bool = False) -> Lakehouse:
    """Open a lakehouse, making it when it is missing; other processes can use it while it is open.

    Parameters
    ----------
    address : path of its `.duckdb` file; None takes the environment's ISOFLOP_LAKE, else `./isoflop.duckdb`
    read_only : answer queries and fits, and refuse changes, files, extensions and settings

    Raises
    ------
    isoflop.lakehouse.errors.StoreError : if it cannot be opened
    """
    from isoflop.lakehouse import Lakehouse
    from isoflop.queries.language import execute

    return Lakehouse(address, language=execute, hold=not read_only, read_only=read_only)


def run(
    family: str | None = None,
    config: Mapping[str, object] | None = None,
    *,
    seed: int = 0,
    resume: bool | int = False,
    **counts: Any,
) -> RunLog | JoinedRun:
    """Return the run of this script, for a `with` block.

    A script that a sweep has started (`family: command`) gets the run and attempt that the sweep has begun, with the
    sweep's settings in `run.config`; `config`, `seed` and `resume` are then left aside, for a sweep always goes on.
    Started by hand it is a new run of the usual lake, as `isoflop.open().run(…)` makes it. Either way `run.output` is a
    folder of the run's own, the same in every attempt.

    Parameters
    ----------
    family : a name for the kind of training; by default that of the script
    config : the settings that identify the run
    resume : started by hand, whether it goes on from the last attempt, as `lake.run` says
    counts : params, tokens, flops, …, where known

    Raises
    ------
    isoflop.lakehouse.errors.RecordError : for a run that no lake could take
    """
    import sys

    from isoflop.lakehouse.joined import joined_run

    joined = joined_run()
    if joined is not None and counts:
        from isoflop.lakehouse.runs.given_counts import counts_given

        joined.summary(**counts_given({}, counts))
    name = family or os.path.splitext(os.path.basename(sys.argv[0]))[0] or "script"
    _runs[:] = [open().run(name, config, seed=seed, resume=resume, **counts) if joined is None else joined]
    return _runs[0]


def log(*, step: int, seconds: float | None = None, **metrics: float) -> None:
    """Record metric values at a step of the run of this script, the sweep's or the one that `run` gave.

    Raises
    ------
    isoflop.lakehouse.errors.RecordError : if there is none
    """
    from isoflop.lakehouse.joined import joined_run

    current = joined_run() or next(iter(_runs), None)
    if current is None:
        from isoflop.lakehouse.errors import RecordError

        hint = "with isoflop.run('mine', {'width': 64}): isoflop.log(step=1, loss=2.5)"
        raise RecordError("log() has no run: no sweep has started this script, and it has opened none", hint=hint)
    current.log(step=step, seconds=seconds, **metrics)


def __getattr__(name: str) -> Any:
    """Return the root of the tree of errors, which is loaded when it is asked for."""
    if name == "IsoflopError":
        from isoflop.lakehouse.errors import IsoflopError

        return IsoflopError
    raise AttributeError(f"module 'isoflop' has no attribute {name!r}")


def load_ipython_extension(shell: Any) -> None:
    """Give a notebook `%isoflop` and `%%isoflop`; what `%load_ext isoflop` calls."""
    from isoflop.cli.notebook import load_ipython_extension

    load_ipython_extension(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take them away; what `%unload_ext isoflop` calls."""
    from isoflop.cli.notebook import unload_ipython_extension

    unload_ipython_extension(shell)
