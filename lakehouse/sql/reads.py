"""What a lake that is open for reading only answers: queries over what it holds, and nothing else.

Where this process opens the file, DuckDB itself refuses writes, files, extensions and settings. At another holder it
cannot, since those switches belong to the whole process. So every statement is first looked at as DuckDB parses it:
only queries pass, over known functions, tables and types, because an unknown one could be a file or load an extension.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import StoreError, did_you_mean, underline

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MEND = "open the lake without --read-only (read_only=True) for that"
# Table functions that read no file, change nothing and load nothing.
_HARMLESS = frozenset(
    "range generate_series unnest repeat repeat_row json_each json_tree summary histogram histogram_values "
    "duckdb_columns duckdb_constraints duckdb_databases duckdb_dependencies duckdb_functions duckdb_indexes "
    "duckdb_keywords duckdb_memory duckdb_optimizers duckdb_schemas duckdb_sequences duckdb_settings duckdb_tables "
    "duckdb_types duckdb_variables duckdb_views pragma_collations pragma_database_size pragma_platform pragma_show "
    "pragma_storage_info pragma_table_info pragma_version pg_timezone_names icu_calendar_names test_all_types".split()
)
_CHANGING = frozenset(("nextval", "write_log", "setseed"))
_EXPLAIN = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*EXPLAIN\s+(?:ANALYZE\s+)?(?:\([^)]*\)\s*)?", re.IGNORECASE | re.DOTALL
)
_FUNCTIONS = "SELECT lower(function_name) FROM duckdb_functions() WHERE function_type NOT IN ('table', 'pragma')"
_MACROS = """
SELECT function_type, macro_definition FROM duckdb_functions()
WHERE NOT internal AND lower(function_name) = $name AND macro_definition IS NOT NULL
"""
_TABLES = """
SELECT lower(database_name) AS catalog, lower(schema_name) AS schema, lower(table_name) AS name FROM duckdb_tables()
UNION SELECT lower(database_name), lower(schema_name), lower(view_name) FROM duckdb_views()
"""
_TYPES = "SELECT DISTINCT lower(type_name) AS name FROM duckdb_types()"
RESTRICTIONS = {
    "enable_external_access": "false", "autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
    "lock_configuration": "true",
}  # fmt: skip
Ask = Callable[[str, Any], "pa.Table"]


def refused(what: str) -> StoreError:
    """Return the error for something other than a statement that would change the lake."""
    return StoreError(f"the lake is open for reading only: {what}", hint=MEND)


def check_reads(text: str, ask: Ask, relations: Collection[str] = ()) -> None:
    """Check that a text holds nothing but queries that stay within the lake.

    Parameters
    ----------
    text : one or more statements
    ask : answers a query of ours about the names in the lake
    relations : names of tables that come with the text

    Raises
    ------
    duckdb.Error : `PermissionException` with a caret at what is not allowed; what does not parse, as DuckDB says it
    """
    import duckdb

    position = 0
    try:
        statements = _parser().cursor().extract_statements(text)
    except (duckdb.PermissionException, duckdb.InvalidInputException) as error:  # a PRAGMA that runs as it is parsed
        raise _error(text, len(text) - len(text.lstrip()), "this PRAGMA is not a query") from error
    for statement in statements:
        found = text.find(statement.query, position) if statement.query else -1
        start = position if found < 0 else found
        query = statement.query.lstrip()
        start += len(statement.query) - len(query)
        position = start + len(query)
        kind = statement.type.name
        if not query:
            raise _error(text, start, "PIVOT without its values makes a type", "name the values: PIVOT … ON x IN (…)")
        if kind == "EXPLAIN":
            inner = _EXPLAIN.match(query)
            if inner is None or inner.end() == len(query):
                raise _error(text, start, "this EXPLAIN cannot be looked into")
            start, query = start + inner.end(), query[inner.end() :]
        elif kind != "SELECT":
            word = re.match(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(\w*)", query, re.DOTALL)
            place = start + (word.start(1) if word else 0)
            raise _error(text, place, f"{(word[1] if word else kind).upper()} is not a query", MEND)
        _check_query(query, text, start, ask, {name.lower() for name in relations})


def _check_query(query: str, text: str, start: int, ask: Ask, relations: set[str]) -> None:
    """Check one query, which stands at `start` of `text`."""
    row = _parser().cursor().execute("SELECT json_serialize_sql($1)", [query]).fetchone()
    tree = json.loads(row[0]) if row else {"error": True}
    if tree["error"]:
        word = query.split(maxsplit=1)[0].upper() if query.split() else "this"
        raise _error(text, start, f"{word} is not a query", MEND)
    for node in _nodes(tree["statements"]):
        place = start + _characters(query, node.get("query_location", 0))
        match node.get("type"), node.get("class"):
            case ["TABLE_FUNCTION", _]:
                _check_table_function(node["function"], text, place, ask)
            case ["BASE_TABLE", _]:
                parts = (node["catalog_name"], node["schema_name"], node["table_name"])
                _check_table([part.lower() for part in parts if part], text, place, ask, relations)
            case ["SHOW_REF", _] if node.get("table_name"):
                name = str(node["table_name"])
                parts = tuple(part.replace('""', '"') for part in re.findall(r'"((?:[^"]|"")*)"', name)) or (name,)
                if node.get("query") is None and not name.startswith(("__", '"databases', '"tables', '"variables')):
                    _check_table([part.lower() for part in parts], text, place, ask, relations)
            case [_, "FUNCTION"] if not node.get("is_operator"):
                _check_function(str(node["function_name"]).lower(), text, place, ask)
            case [_, "COLLATE"]:
                if not set(str(node["collation"]).lower().split(".")) <= _collations():
                    raise _error(text, place, f"collation '{node['collation']}' would load an extension")
            case _ if node.get("id") == "UNBOUND":
                _check_type(str((node.get("type_info") or {}).get("name", "")).lower(), text, start, ask)


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


def _check_table_function(function: dict[str, Any], text: str, place: int, ask: Ask) -> None:
    name = str(function["function_name"]).lower()
    if name in _HARMLESS:
        return
    if not _check_macros(name, text, place, ask):
        raise _error(text, place, f"{name}() reaches outside the tables of the lake", MEND)


def _check_function(name: str, text: str, place: int, ask: Ask) -> None:
    if name in _CHANGING:
        raise _error(text, place, f"{name}() changes something", MEND)
    if name in _functions() or _check_macros(name, text, place, ask):
        return
    hint = did_you_mean(name, _functions(), "a lake open for reading loads no extensions")
    raise _error(text, place, f"function {name}() is not there", hint or "")


def _check_macros(name: str, text: str, place: int, ask: Ask) -> bool:
    """Return whether a function is a macro of the lake, when what it stands for is allowed too."""
    found = ask(_MACROS, {"name": name}).to_pylist()
    for macro in found:
        definition = macro["macro_definition"]
        is_table = macro["function_type"] == "table_macro"
        if re.search(rf"\b{re.escape(name)}\s*\(", definition, re.IGNORECASE):
            raise _error(text, place, f"macro {name}() calls itself")
        try:
            query = definition if is_table else f"SELECT {definition}"
            _check_query(query, query, 0, ask, set())
        except Exception as error:
            raise _error(text, place, f"macro {name}() is not allowed: {_first_line(error)}") from error
    return bool(found)


def _check_table(parts: list[str], text: str, place: int, ask: Ask, relations: set[str]) -> None:
    """Check that a table's name cannot be a file's: it is plain, or a table has it."""
    if len(parts) == 1 and (parts[0] in relations or re.fullmatch(r"\w+", parts[0])):
        return
    rows = ask(_TABLES, None).to_pylist()
    for row in rows:
        path = [row["catalog"], row["schema"], row["name"]]
        if parts in (path, path[1:], path[2:], [path[0], path[2]]):
            return
    raise _error(text, place, f"'{'.'.join(parts)}' is no table of the lake, and files are not read", MEND)


def _check_type(name: str, text: str, place: int, ask: Ask) -> None:
    if name not in _types() and name not in ask(_TYPES, None).column("name").to_pylist():
        raise _error(text, place, f"type {name} is not there", "a lake open for reading loads no extensions")


def _characters(query: str, location: int) -> int:
    """Return the position in characters of one in bytes; 0 for none."""
    encoded = query.encode()
    return len(encoded[:location].decode(errors="ignore")) if location <= len(encoded) else 0


def _error(text: str, place: int, what: str, mend: str = MEND) -> duckdb.PermissionException:
    import duckdb

    place = min(place, max(len(text) - 1, 0))
    word = re.compile(r"\w*").match(text, place)
    end = max(place + 1, word.end() if word else 0)
    return duckdb.PermissionException(
        f"Permission Error: the lake is open for reading only: {what}; {mend}\n\n{underline(text, place, end)}"
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rpartition("reading only: ")[2].partition(";")[0]


@functools.cache
def _parser() -> duckdb.DuckDBPyConnection:
    """Return an empty database that parses, and knows the names that DuckDB brings along.

    It runs some PRAGMAs as it parses them, so that it must not reach anything either.
    """
    import duckdb

    return duckdb.connect(config=dict(RESTRICTIONS))


@functools.cache
def _functions() -> frozenset[str]:
    return frozenset({"unnest", *(name for (name,) in _parser().cursor().execute(_FUNCTIONS).fetchall())})


@functools.cache
def _types() -> frozenset[str]:
    return frozenset(name for (name,) in _parser().cursor().execute(_TYPES).fetchall())


@functools.cache
def _collations() -> frozenset[str]:
    return frozenset(name.lower() for (name,) in _parser().cursor().execute("FROM pragma_collations()").fetchall())
