"""Runs from elsewhere: one module for each outside format."""

from isoflop.lakehouse.exchange.tables import Imported, import_table

__all__ = ["Imported", "import_table"]
