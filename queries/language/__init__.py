"""The statement language: DuckDB's SQL with the verbs of scaling laws as relations."""

from isoflop.queries.language.execute import execute

__all__ = ["execute"]
