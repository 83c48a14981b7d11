"""The views and macros of a lake, as they were written: what a query that names them really reads."""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Ask = Callable[[str, Any], "pa.Table"]

# Listing the functions takes DuckDB twenty times as long as listing the views (40 ms), so they are kept for a while:
# not long where a name must be a macro's, longer where one could hide a function of DuckDB's, which is rare.
MACROS_KEPT_SECONDS = 1.0
HIDING_KEPT_SECONDS = 60.0  # that definitions are remembered; another session may make new ones
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
    is_confined : whether the database itself refuses to reach outside, so that no macro can

    Names are compared in Python's lower case on both sides: DuckDB's own lower case of letters beyond ASCII differs.
    """

    def __init__(self, ask: Ask, *, is_confined: bool = False) -> None:
        self._ask, self._is_confined = ask, is_confined

    def views(self, parts: list[str]) -> list[Definition]:
        """Return every view that a name could mean, in whatever schema it is."""
        return [view for view in self._views if _is_named(view.path, parts)]

    def has_relation(self, parts: list[str]) -> bool:
        """Return whether a table or view has a name; `parts` are its last one to three parts in lower case."""
        return any(_is_named(path, parts) for path in self._relations)

    def macros(self, name: str) -> list[Definition]:
        """Return every definition of the macros of a name."""
        if name in built_in_functions() or name in built_in_table_functions():
            return self.hiding.get(name, [])
        found = self._all_macros(MACROS_KEPT_SECONDS)
        return (found if name in found else self._read_macros()).get(name, [])

    @functools.cached_property
    def hiding(self) -> dict[str, list[Definition]]:
        """The macros that hide functions of DuckDB's, by name."""
        if self._is_confined:
            return {}
        hidden = built_in_functions() | built_in_table_functions()
        return {name: macros for name, macros in self._all_macros(HIDING_KEPT_SECONDS).items() if name in hidden}

    def _all_macros(self, kept_seconds: float) -> dict[str, list[Definition]]:
        kept = _macros.get(self._owner)
        if kept is not None and time.monotonic() - kept[0] < kept_seconds:
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
def parsed(query: str) -> tuple[dict[str, Any], ...] | None:
    """Return the objects of a query as DuckDB parses it, those that name something; None when the text is none."""
    row = parser().cursor().execute("SELECT json_serialize_sql($1)", [query]).fetchone()
    tree = json.loads(row[0]) if row else {"error": True}
    return None if tree["error"] else tuple(node for node in _nodes(tree["statements"]) if _says_a_name(node))


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a parsed query."""
    if isinstance(tree, dict):
        yield tree
        # The function of a table function is looked at with it.
        left_out = "function" if tree.get("type") == "TABLE_FUNCTION" else None
        for key, value in tree.items():
            yield from _nodes(value["children"] if key == left_out else value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _says_a_name(node: dict[str, Any]) -> bool:
    return (
        node.get("type") in ("TABLE_FUNCTION", "BASE_TABLE", "SHOW_REF")
        or node.get("class") in ("FUNCTION", "COLLATE")
        or node.get("id") == "UNBOUND"
    )


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
