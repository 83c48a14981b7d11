"""The views and macros of a lake, as they were written: what a query that names them really reads."""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Ask = Callable[[str, Any], "pa.Table"]

# Listing the functions takes DuckDB thirty times as long as listing the views. A name that is not known is looked for
# again at once, so that a macro made since is found; what an old one stands for is this old at most.
MACROS_KEPT_SECONDS = 1.0
RESTRICTIONS = {
    "enable_external_access": "false", "autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
    "lock_configuration": "true",
}  # fmt: skip
_VIEWS = "SELECT database_name, schema_name, view_name AS name, sql, internal FROM duckdb_views()"
_TABLES = "SELECT database_name, schema_name, table_name AS name FROM duckdb_tables()"
_MACROS = """
SELECT function_name AS name, function_type, macro_definition AS definition FROM duckdb_functions()
WHERE NOT internal AND macro_definition IS NOT NULL
"""
_NAME = r'(?:"(?:[^"]|"")*"|\w+)'
_VIEW = re.compile(
    rf"CREATE (?:TEMP )?VIEW {_NAME}(?:\.{_NAME}){{0,2}} (?:\({_NAME}(?:, {_NAME})*\) )?AS (?P<query>.*?);?\s*",
    re.DOTALL,
)
_macros: WeakKeyDictionary[object, tuple[float, dict[str, list[Definition]]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Definition:
    """A view or a macro.

    Parameters
    ----------
    kind : `view` or `macro`
    path : catalog, schema and name in lower case; of a macro the name alone
    query : what it stands for, as a query; None when that cannot be told
    """

    kind: str
    path: tuple[str, ...]
    query: str | None


class Definitions:
    """What the tables, views and macros of a lake are called and stand for, asked for when first needed.

    Parameters
    ----------
    ask : answers a query of ours about the names in the lake

    Names are compared in Python's lower case on both sides: DuckDB's own lower case of letters beyond ASCII differs.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def views(self, parts: list[str]) -> list[Definition]:
        """Return every view that a name could mean, in whatever schema it is."""
        return [view for view in self._views if _is_named(view.path, parts)]

    def has_relation(self, parts: list[str]) -> bool:
        """Return whether a table or view has a name; `parts` are its last one to three parts in lower case."""
        return any(_is_named(path, parts) for path in self._relations)

    def macros(self, name: str) -> list[Definition]:
        """Return every definition of the macros of a name."""
        found = self.all_macros()
        if name not in found and name not in built_in_functions():
            found = self._read_macros()
        return found.get(name, [])

    def all_macros(self) -> dict[str, list[Definition]]:
        """Return the macros by name."""
        kept = _macros.get(self._owner)
        if kept is not None and time.monotonic() - kept[0] < MACROS_KEPT_SECONDS:
            return kept[1]
        return self._read_macros()

    @property
    def _owner(self) -> object:
        """What answers; its macros are kept while it lives."""
        return getattr(self._ask, "__self__", self._ask)

    def _read_macros(self) -> dict[str, list[Definition]]:
        began = time.monotonic()
        found: dict[str, list[Definition]] = {}
        for row in self._ask(_MACROS, None).to_pylist():
            is_table = row["function_type"] == "table_macro"
            name, query = row["name"].lower(), row["definition"] if is_table else f"SELECT {row['definition']}"
            found.setdefault(name, []).append(Definition("macro", (name,), query))
        _macros[self._owner] = (began, found)
        return found

    @functools.cached_property
    def _view_rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._ask(_VIEWS, None).to_pylist()
        return rows

    @functools.cached_property
    def _views(self) -> list[Definition]:
        # A table that comes with a statement is a temporary view without a text.
        written = [
            row for row in self._view_rows if not row["internal"] and (row["sql"] or row["database_name"] != "temp")
        ]
        return [Definition("view", _path(row), _query_of(row["sql"] or "")) for row in written]

    @functools.cached_property
    def _relations(self) -> list[tuple[str, ...]]:
        return [_path(row) for row in (*self._view_rows, *self._ask(_TABLES, None).to_pylist())]


def _path(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row[part].lower() for part in ("database_name", "schema_name", "name"))


def _is_named(path: tuple[str, ...], parts: list[str]) -> bool:
    """Return whether a name of one to three parts can be that of what lies at a path."""
    catalog, schema, name = path
    return tuple(parts) in ((name,), (schema, name), (catalog, name), path)


@functools.lru_cache(maxsize=256)
def _query_of(text: str) -> str | None:
    """Return the query of a view's text, as DuckDB writes such texts.

    Example
    -------
    >>> _query_of('CREATE VIEW other."a AS (b" (x, "y,)") AS SELECT 1, 2;')
    'SELECT 1, 2'
    """
    found = _VIEW.fullmatch(text)
    return found["query"] if found else None


@functools.lru_cache(maxsize=256)
def parsed(query: str) -> Any:
    """Return a query as DuckDB parses it, or None when the text is none."""
    row = parser().cursor().execute("SELECT json_serialize_sql($1)", [query]).fetchone()
    tree = json.loads(row[0]) if row else {"error": True}
    return None if tree["error"] else tree["statements"]


@functools.cache
def parser() -> duckdb.DuckDBPyConnection:
    """Return an empty database that parses, and knows the names that DuckDB brings along.

    It runs some PRAGMAs as it parses them, so that it must not reach anything either.
    """
    import duckdb

    return duckdb.connect(config=dict(RESTRICTIONS))


@functools.cache
def built_in_functions() -> frozenset[str]:
    """Return the functions that DuckDB brings along, table functions left out."""
    return frozenset({"unnest", *_names("duckdb_functions() WHERE function_type NOT IN ('table', 'pragma')")})


@functools.cache
def built_in_table_functions() -> frozenset[str]:
    """Return the table functions that DuckDB brings along."""
    return _names("duckdb_functions() WHERE function_type = 'table'")


@functools.cache
def built_in_types() -> frozenset[str]:
    """Return the types that DuckDB brings along."""
    return _names("duckdb_types()", "type_name")


@functools.cache
def collations() -> frozenset[str]:
    """Return the collations that need no extension."""
    return _names("pragma_collations()", "collname")


def _names(relation: str, column: str = "function_name") -> frozenset[str]:
    rows = parser().cursor().execute(f"SELECT DISTINCT {column} FROM {relation}").fetchall()
    return frozenset(name.lower() for (name,) in rows)
