"""isoflop: the lakehouse for neural scaling laws.

>>> import isoflop
>>> lake = isoflop.open("runs.duckdb")                                     # doctest: +SKIP
>>> lake.sql("FIT loss ~ chinchilla(params, tokens) FROM runs")            # doctest: +SKIP
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse
    from isoflop.lakehouse.errors import IsoflopError

__all__ = ["IsoflopError", "open"]


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
