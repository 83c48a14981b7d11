"""Driving the interface in tests: wait until every question is answered, and read the screen as text."""

from __future__ import annotations

from typing import Any

from textual.pilot import Pilot
from textual.widgets import DataTable, Input

from isoflop.cli.tui.app import IsoflopApp
from isoflop.cli.tui.laws_view import LawsView


async def settle(pilot: Pilot[Any]) -> None:
    """Wait until no question is open and every message has been handled; an answer may ask the next question."""
    await pilot.pause()
    while any(not worker.is_finished for worker in pilot.app.workers):
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()


async def press(pilot: Pilot[Any], *keys: str) -> None:
    """Press keys one after another, once nothing is open any more, and wait for what they cause."""
    await settle(pilot)
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


async def filter_by(pilot: Pilot[Any], condition: str) -> None:
    """Open the filter of the Runs view, put a condition into it and apply it."""
    await press(pilot, "slash")
    pilot.app.screen.query_one("#filter", Input).value = condition
    await press(pilot, "enter")


async def show_law(pilot: Pilot[Any], name: str) -> None:
    """Go to the Laws view and move down until the picture of a law is there."""
    await press(pilot, "2")
    view = pilot.app.screen
    assert isinstance(view, LawsView)
    names = [law.name for law in view.laws]
    view.query_one("#list", DataTable).move_cursor(row=names.index(name), animate=False)
    for _ in range(100):
        await settle(pilot)
        if view.pictures is not None and view.pictures.law.name == name:
            return
        await pilot.pause(0.1)
    raise AssertionError(f"the picture of {name} did not come")


def screen_text(app: IsoflopApp) -> str:
    """Return what is on the screen, one line a row."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)
