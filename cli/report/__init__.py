"""One page that says what was run, which laws came of it, how far they can be trusted, and what was asked."""

from isoflop.cli.report.command import report

__all__ = ["report"]
