"""The full-screen interface: runs, laws and forecasts of one lake."""

from isoflop.cli.tui.command import tui

__all__ = ["tui"]
