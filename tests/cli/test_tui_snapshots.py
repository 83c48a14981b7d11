from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.pilot import Pilot
from tui_pilot import press, settle, show_law

from isoflop.cli.tui.app import IsoflopApp
from isoflop.lakehouse import Lakehouse

Compare = Callable[..., bool]
WIDE, SMALL = (110, 32), (80, 24)


async def chin(pilot: Pilot[Any]) -> None:
    """Go to the law of two inputs."""
    await show_law(pilot, "chin")


async def forecast(pilot: Pilot[Any]) -> None:
    """Ask the law of two inputs beyond its data."""
    await chin(pilot)
    await press(pilot, "x")


async def curve(pilot: Pilot[Any]) -> None:
    """Open the newest run; a small screen shows no host or time."""
    await press(pilot, "enter")


def test_runs_look_as_before(curves_lake: Lakehouse, snap_compare: Compare) -> None:
    assert snap_compare(IsoflopApp(curves_lake), terminal_size=WIDE, run_before=settle)


def test_a_curve_on_a_small_screen_looks_as_before(curves_lake: Lakehouse, snap_compare: Compare) -> None:
    assert snap_compare(IsoflopApp(curves_lake), terminal_size=SMALL, run_before=curve)


def test_a_law_looks_as_before(laws_lake: Lakehouse, snap_compare: Compare) -> None:
    assert snap_compare(IsoflopApp(laws_lake), terminal_size=WIDE, run_before=chin)


def test_a_forecast_on_a_small_screen_looks_as_before(laws_lake: Lakehouse, snap_compare: Compare) -> None:
    assert snap_compare(IsoflopApp(laws_lake), terminal_size=SMALL, run_before=forecast)
