"""The store's schema: numbered SQL files, applied once each, in order, each in one transaction."""

from isoflop.lakehouse.schema.migrations import SCHEMA_VERSION, migrate
from isoflop.lakehouse.schema.views import create_views

__all__ = ["SCHEMA_VERSION", "create_views", "migrate"]
