"""The shared catalog: DuckLake over PostgreSQL, one fenced committer, readers anywhere."""

from isoflop.lakehouse.shared.store import SharedStore

__all__ = ["SharedStore"]
