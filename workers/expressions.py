"""Evaluate the SQL expressions of a sweep file over its whole grid at once.

An expression is what DuckDB takes in a select list: one value a row, from the columns of that row.
Sub-queries, files and aggregates are refused, so a sweep file can be read on any machine and means
the same everywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import IsoflopError, did_you_mean

if TYPE_CHECKING:
    import duckdb

_ROW = "row_of_the_grid"  # keeps the order of the rows


class ExpressionError(IsoflopError):
    """An expression that has no value; the sweep file adds the line."""


class Grid:
    """The rows of a sweep as columns, growing by one column for each expression.

    Parameters
    ----------
    columns : name to R values; numbers and text stay themselves, lists and mappings become JSON text
    num_rows : R, needed where there are no columns at all
    """

    def __init__(self, columns: Mapping[str, Sequence[object]], num_rows: int) -> None:
        import duckdb

        self.num_rows = num_rows
        self.columns: dict[str, list[object]] = {name: list(values) for name, values in columns.items()}
        self._con = duckdb.connect(":memory:", config={"threads": 1})
        self._con.execute("SET enable_external_access = false; SET lock_configuration = true")

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def add(self, name: str, values: Sequence[object]) -> None:
        """Add a column of R values, or replace it."""
        self.columns[name] = list(values)

    def names_in(self, expression: str) -> tuple[str, ...]:
        """Return the column names an expression mentions, each once, in the order it does.

        Raises
        ------
        ExpressionError : if it does not parse, or is more than an expression over one row
        """
        return tuple(dict.fromkeys(_column_names(_parsed(self._con, expression))))

    def evaluate(self, expression: str) -> list[object]:
        """Return the R values of an expression: int, float, bool, text or None.

        Raises
        ------
        ExpressionError : unknown names, wrong types, numbers out of range
        """
        import duckdb

        names = self.names_in(expression)
        for name in names:
            if name not in self.columns:
                raise self.unknown_name(name, expression)
        self._con.register("grid", _arrow({name: self.columns[name] for name in names}, self.num_rows))
        try:
            rows = self._con.execute(f"SELECT ({expression}\n) FROM grid ORDER BY {_ROW}").fetchall()
        except duckdb.Error as error:
            raise ExpressionError(f"'{expression}': {_reason(error)}") from error
        finally:
            self._con.unregister("grid")
        return [_plain(value, expression) for (value,) in rows]

    def unknown_name(self, name: str, expression: str) -> ExpressionError:
        """Return the error for a name that is no column."""
        known = ", ".join(sorted(self.columns)) or "none"
        hint = did_you_mean(name, self.columns, f"names known here: {known}")
        return ExpressionError(f"unknown name '{name}' in '{expression}'", hint=hint)

    def close(self) -> None:
        """Give the evaluator back."""
        self._con.close()

    def __enter__(self) -> Grid:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _arrow(columns: Mapping[str, Sequence[object]], num_rows: int) -> object:
    import pyarrow as pa

    arrays = {name: _array(values) for name, values in columns.items()}
    return pa.table({**arrays, _ROW: pa.array(range(num_rows), pa.int64())})


def _array(values: Sequence[object]) -> object:
    """Return an Arrow column: numbers when every value is one, else text as the file spells it."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pa.array(values, pa.float64())
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in values if isinstance(value, int)):
        return pa.array(values, pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())  # type: ignore[arg-type]
    return pa.array(
        [value if value is None or isinstance(value, str) else json.dumps(value) for value in values], pa.string()
    )


def _plain(value: object, expression: str) -> object:
    """Return a DuckDB value as a plain one; exact decimals become floats."""
    from decimal import Decimal

    if isinstance(value, Decimal):
        return float(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_plain(item, expression) for item in value]
    raise ExpressionError(f"'{expression}' is a {type(value).__name__}; expected a number, text or a truth value")


def _parsed(con: duckdb.DuckDBPyConnection, expression: str) -> object:
    # The newline ends a trailing comment, so it cannot swallow the bracket.
    row = con.execute("SELECT json_serialize_sql(?)", [f"SELECT ({expression}\n)"]).fetchone()
    tree: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    if tree.get("error"):
        message = str(tree.get("error_message", "does not parse"))
        raise ExpressionError(f"'{expression}' is not a SQL expression: {_shortened(message)}")
    select: dict[str, Any] = tree["statements"][0]["node"]
    if len(tree["statements"]) != 1 or select.get("type") != "SELECT_NODE" or len(select["select_list"]) != 1:
        raise ExpressionError(f"'{expression}' must be one SQL expression")
    if select["from_table"].get("type") != "EMPTY" or select.get("where_clause") or select["cte_map"]["map"]:
        raise ExpressionError(f"'{expression}' must be an expression over one run; it cannot have FROM or WHERE")
    for node in _nodes(select["select_list"][0]):
        match node.get("class"):
            case "SUBQUERY" | "WINDOW" | "STAR":
                kind = str(node["class"]).lower()
                raise ExpressionError(f"'{expression}' must be an expression over one run; it has a {kind}")
            case "PARAMETER":
                raise ExpressionError(f"'{expression}' has a parameter; only names of the grid have values")
            case "FUNCTION":
                _check_function(con, str(node["function_name"]), expression)
    return select["select_list"][0]


def _check_function(con: duckdb.DuckDBPyConnection, name: str, expression: str) -> None:
    """Refuse a function whose value is not the same tomorrow: the same file must plan the same runs."""
    kinds = con.execute(
        "SELECT DISTINCT function_type, stability FROM duckdb_functions() WHERE function_name = ?", [name]
    ).fetchall()
    if kinds and all(kind == "aggregate" for kind, _ in kinds):
        raise ExpressionError(f"'{expression}' must be an expression over one run; {name}() is over many")
    if any(stability in ("VOLATILE", "CONSISTENT_WITHIN_QUERY") for _, stability in kinds):
        raise ExpressionError(f"'{expression}': {name}() changes from call to call, so the sweep could not be resumed")


def _nodes(tree: object) -> Iterator[dict[str, object]]:
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _column_names(tree: object, bound: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the names an expression reads; the variables of a lambda are its own."""
    if isinstance(tree, dict):
        if tree.get("class") == "COLUMN_REF":
            names = tree["column_names"]
            name = str(names[-1]).lower() if isinstance(names, list) else ""
            if name not in bound:
                yield name
            return
        if tree.get("class") == "LAMBDA":
            bound |= frozenset(_column_names(tree.get("lhs")))
        for value in tree.values():
            yield from _column_names(value, bound)
    elif isinstance(tree, list):
        for value in tree:
            yield from _column_names(value, bound)


def _reason(error: Exception) -> str:
    return _shortened(str(error).split("\n\nLINE", 1)[0])


def _shortened(message: str) -> str:
    """Return the first sentence of a DuckDB message without its class, on one line."""
    text = message.strip().split("\n", 1)[0]
    return re.sub(r"^(\w+ ){1,4}Error: ", "", text).rstrip("!. ")
