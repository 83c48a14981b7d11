"""Out of the lake: tables in files, and runs as other trackers keep them."""

from isoflop.lakehouse.exchange.export.formats import FORMATS, export_runs
from isoflop.lakehouse.exchange.export.tables import TABLE_SUFFIXES, export_table, statement_of

__all__ = ["FORMATS", "TABLE_SUFFIXES", "export_runs", "export_table", "statement_of"]
