"""`isoflop tui`: the lake on a full screen."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from isoflop.cli.options import LakeOption


def tui(
    lake: LakeOption = None,
    ascii: Annotated[bool, typer.Option("--ascii", help="Draw plots with ASCII characters only.")] = False,
) -> None:
    """Look at runs while they train, at laws, and at what laws say about larger runs.

    Keys: 1 runs, 2 laws, 3 extrapolate, ? all keys, y copies the statement behind the view, q quits.
    """
    from isoflop.cli.options import open_lake
    from isoflop.cli.plot.terminal import is_plain_terminal
    from isoflop.cli.tui.app import IsoflopApp
    from isoflop.lakehouse.errors import UsageError

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("isoflop tui needs a terminal", hint="isoflop runs, laws and plot print the same")
    with open_lake(lake, hold=True, makes=False) as opened:
        IsoflopApp(opened, is_ascii=ascii or is_plain_terminal()).run()
