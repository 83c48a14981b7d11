"""Pictures of laws and runs: a figure that knows no renderer, drawn in the terminal or by matplotlib."""

from isoflop.cli.plot.command import plot

__all__ = ["plot"]
