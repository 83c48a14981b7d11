"""Runs from elsewhere and to elsewhere: one module for each outside format."""

from isoflop.lakehouse.exchange.formats import import_path
from isoflop.lakehouse.exchange.landing import Imported
from isoflop.lakehouse.exchange.replacing import Replacing
from isoflop.lakehouse.exchange.tables import import_table

__all__ = ["Imported", "Replacing", "import_path", "import_table"]
