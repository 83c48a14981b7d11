"""The store's schema: numbered SQL files, applied once each, in order, each in one transaction."""

from isoflop.lakehouse.schema.migrations import SCHEMA_VERSION, migrate
from isoflop.lakehouse.schema.views import POINT_ORDER, VALUE, create_views, narrowed

__all__ = ["POINT_ORDER", "SCHEMA_VERSION", "VALUE", "create_views", "migrate", "narrowed"]
