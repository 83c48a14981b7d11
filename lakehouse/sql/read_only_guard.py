"""What a lake that is open for reading only answers: queries over what it holds, and nothing else.

Where this process opens the file, DuckDB itself refuses writes, files, extensions and settings. At another holder it
cannot, since those switches belong to the whole process. So every statement is first looked at as DuckDB parses it:
only queries pass, over known functions, tables and types, because an unknown one could be a file or load an extension.
Views and macros of the lake are looked into as well, with the views and macros that they name in turn.

Where a name can mean several views, for instance beside a CTE of the same name, all of them have to pass.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import StoreError, did_you_mean, underline
from isoflop.lakehouse.sql.definitions import (
    RESTRICTIONS,
    Ask,
    Definition,
    Definitions,
    built_in_functions,
    built_in_types,
    collations,
    parsed,
    parser,
)
from isoflop.lakehouse.sql.execution import check_encodable

if TYPE_CHECKING:
    import duckdb

__all__ = ["MEND", "RESTRICTIONS", "check_reads", "refused"]

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
_TYPES = "SELECT DISTINCT type_name AS name FROM duckdb_types()"


def refused(what: str) -> StoreError:
    """Return the error for something other than a statement that would change the lake."""
    return StoreError(f"the lake is open for reading only: {what}", hint=MEND)


def check_reads(text: str, ask: Ask, relations: Collection[str] = (), *, is_confined: bool = False) -> None:
    """Check that a text holds nothing but queries that stay within the lake.

    Parameters
    ----------
    text : one or more statements
    ask : answers a query of ours about the names in the lake
    relations : names of tables that come with the text
    is_confined : whether the database itself refuses files, so that macros which hide functions need no look

    Raises
    ------
    duckdb.Error : `PermissionException` with a caret at what is not allowed; what does not parse, as DuckDB says it
    """
    import duckdb

    check_encodable(text)
    position, definitions = 0, Definitions(ask, is_confined=is_confined)
    passed: set[Definition] = set()
    try:
        statements = parser().cursor().extract_statements(text)
    except (duckdb.PermissionException, duckdb.InvalidInputException) as error:  # a PRAGMA that runs as it is parsed
        raise _error(text, len(text) - len(text.lstrip()), "this PRAGMA is not a query") from error
    for statement in statements:
        found = text.find(statement.query, position) if statement.query else -1
        start = position if found < 0 else found
        query = statement.query.lstrip()
        start += len(statement.query) - len(query)
        position = start + len(query)
        start, query = _query_within(statement.type.name, query, text, start)
        check = _Check(text, ask, definitions, {name.lower() for name in relations}, passed)
        try:
            check.query(query, start)
        except RecursionError as error:
            raise _error(text, start, "a statement nested this deeply cannot be looked into", "nest it less") from error


def _query_within(kind: str, statement: str, text: str, start: int) -> tuple[int, str]:
    """Return the query that a statement is, or that it explains, and where it stands in the text."""
    if not statement:
        raise _error(text, start, "PIVOT without its values makes a type", "name the values: PIVOT … ON x IN (…)")
    if kind == "EXPLAIN":
        inner = _EXPLAIN.match(statement)
        if inner is None or inner.end() == len(statement):
            raise _error(text, start, "this EXPLAIN cannot be looked into")
        return start + inner.end(), statement[inner.end() :]
    if kind != "SELECT":
        word = re.match(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(\w*)", statement, re.DOTALL)
        place = start + (word.start(1) if word else 0)
        raise _error(text, place, f"{(word[1] if word else kind).upper()} is not a query", MEND)
    return start, statement


class _Check:
    """The check of one text: a statement, or what a view or macro stands for.

    Parameters
    ----------
    text : where the caret of an error stands
    ask, definitions : what the lake holds
    relations : names of tables that come with the text, in lower case
    passed : views and macros that are looked into already; the outer check's, so that circles end
    """

    def __init__(
        self,
        text: str,
        ask: Ask,
        definitions: Definitions,
        relations: Collection[str] = (),
        passed: set[Definition] | None = None,
    ) -> None:
        self.text, self._ask, self._definitions, self._relations = text, ask, definitions, relations
        self._passed = set() if passed is None else passed

    def query(self, query: str, start: int) -> None:
        """Check one query, which stands at `start` of the text."""
        nodes = parsed(query)
        if nodes is None:
            word = query.split(maxsplit=1)[0].upper() if query.split() else "this"
            raise _error(self.text, start, f"{word} is not a query", MEND)
        self._look_into_hiding(start)
        for node in nodes:
            place = start + _characters(query, node.get("query_location", 0))
            match node.get("type"), node.get("class"):
                case ["TABLE_FUNCTION", _]:
                    self._table_function(str(node["function"]["function_name"]).lower(), place)
                case ["BASE_TABLE", _]:
                    parts = (node["catalog_name"], node["schema_name"], node["table_name"])
                    self._table([part.lower() for part in parts if part], place)
                case ["SHOW_REF", _] if node.get("table_name"):
                    self._shown(node, place)
                case [_, "FUNCTION"]:
                    self._function(str(node["function_name"]).lower(), place, bool(node.get("is_operator")))
                case [_, "COLLATE"]:
                    if not set(str(node["collation"]).lower().split(".")) <= collations():
                        raise _error(self.text, place, f"collation '{node['collation']}' would load an extension")
                case _ if node.get("id") == "UNBOUND":
                    self._type(str((node.get("type_info") or {}).get("name", "")).lower(), start)

    def _look_into_hiding(self, start: int) -> None:
        """Check the macros that hide functions of DuckDB's: operators, PIVOT and SUMMARIZE call them unsaid."""
        for macros in self._definitions.hiding.values():
            self._look_into(macros, start)

    def _table_function(self, name: str, place: int) -> None:
        macros = self._definitions.macros(name)
        self._look_into(macros, place)
        if not macros and name not in _HARMLESS:
            raise _error(self.text, place, f"{name}() reaches outside the tables of the lake", MEND)

    def _function(self, name: str, place: int, is_operator: bool) -> None:
        if name in _CHANGING:
            raise _error(self.text, place, f"{name}() changes something", MEND)
        macros = self._definitions.macros(name)
        self._look_into(macros, place)
        if not macros and not is_operator and name not in built_in_functions():
            hint = did_you_mean(name, built_in_functions(), "a lake open for reading loads no extensions")
            raise _error(self.text, place, f"function {name}() is not there", hint or "")

    def _shown(self, node: dict[str, Any], place: int) -> None:
        """Check what DESCRIBE, SHOW or SUMMARIZE names."""
        name = str(node["table_name"])
        parts = [part.replace('""', '"') for part in re.findall(r'"((?:[^"]|"")*)"', name)] or [name]
        if node.get("query") is None and not name.startswith(("__", '"databases', '"tables', '"variables')):
            self._table([part.lower() for part in parts], place)

    def _table(self, parts: list[str], place: int) -> None:
        """Check that a table's name cannot be a file's: it is plain, or a table has it; and look into views."""
        if len(parts) == 1 and parts[0] in self._relations:
            return
        self._look_into(self._definitions.views(parts), place)
        is_plain = len(parts) == 1 and re.fullmatch(r"\w+", parts[0])
        if not is_plain and not self._definitions.has_relation(parts):
            raise _error(self.text, place, f"'{'.'.join(parts)}' is no table of the lake, and files are not read", MEND)

    def _type(self, name: str, start: int) -> None:
        if name not in built_in_types():
            here = {each.lower() for each in self._ask(_TYPES, None).column("name").to_pylist()}
            if name not in here:
                hint = "a lake open for reading loads no extensions"
                raise _error(self.text, start, f"type {name} is not there", hint)

    def _look_into(self, definitions: list[Definition], place: int) -> None:
        """Check that what views or macros stand for is allowed too."""
        import duckdb

        for definition in definitions:
            if definition in self._passed:
                continue
            self._passed.add(definition)
            what = f"{definition.kind} {definition.path[-1]}{'()' if definition.kind == 'macro' else ''}"
            if definition.query is None:
                raise _error(self.text, place, f"{what} cannot be looked into")
            try:
                inner = _Check(definition.query, self._ask, self._definitions, passed=self._passed)
                inner.query(definition.query, 0)
            except duckdb.PermissionException as error:
                self._passed.discard(definition)
                raise _error(self.text, place, f"{what} is not allowed: {_first_line(error)}") from error


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
