"""Text to tree, by DuckDB's own parser, so that a formula means exactly what the same text means in a SELECT.

The precedence, the quoting and the numbers are DuckDB's: `-x ^ 2` is `(-x) ^ 2`, `log(x)` is to base ten.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import StatementError, did_you_mean, nearest
from isoflop.queries.laws.algebra.expression import OPERATIONS, Call, Expression, Number, Symbol

if TYPE_CHECKING:
    import duckdb

PREFIX = "SELECT "
NOWHERE = 2**64 - 1  # DuckDB's location of a node that has none
SPELLINGS = {
    "+": "add",
    "-": "subtract",
    "*": "multiply",
    "/": "divide",
    "^": "power",
    "**": "power",
    "pow": "power",
    "power": "power",
    "log": "log10",
    "@": "abs",
    **{name: name for name in ("exp", "ln", "log10", "log2", "sqrt", "cbrt", "abs", "tanh", "greatest", "least")},
}
WORD = re.compile(r'"(?:[^"]|"")*"|\'[^\']*\'|[\w.]+|[^\w\s]{1,2}')
SIGNED = re.compile(r"\^(?=[-+])")  # DuckDB reads `^-` as one operator, which it does not have
INSTEAD = "use + - * / ^ and "
NOT_ARITHMETIC = {
    "CASE": "a formula is one expression for all rows, without CASE or IF",
    "COMPARISON": "a formula holds numbers, and a comparison is true or false",
    "BETWEEN": "a formula holds numbers, and a comparison is true or false",
    "CONJUNCTION": "a formula holds numbers, and AND and OR are true or false",
    "OPERATOR": "a formula has no COALESCE, NOT, IN or IS: its inputs are there in every row that is fitted",
    "SUBQUERY": "a formula holds no query",
    "WINDOW": "a formula is of one row, and a window is of several",
    "STAR": "a formula names its columns one by one",
    "PARAMETER": "a formula holds numbers only",
}
FUNCTIONS = sorted(name for name in SPELLINGS if name.isalnum())


class FormulaError(StatementError):
    """A formula that cannot be read, with the characters at fault.

    Parameters
    ----------
    kind : class shown to the user: `Parser` or `Binder`
    reason : one line, lower case
    text : the formula as it was typed
    start, end : character positions in `text`
    hint : what to do about it
    """

    def __init__(self, kind: str, reason: str, text: str, start: int, end: int, *, hint: str | None = None) -> None:
        self.reason = reason
        super().__init__(kind, reason, text, start, end, hint=hint)

    def within(self, statement: str, offset: int) -> FormulaError:
        """Return the same error with its caret under the formula where it stands in a longer statement.

        Parameters
        ----------
        statement : the whole text that holds the formula
        offset : character position in `statement` at which the formula begins
        """
        return FormulaError(self.kind, self.reason, statement, self.start + offset, self.end + offset, hint=self.hint)


def parse_expression(text: str, names: Iterable[str] | None = None) -> Expression:
    """Return the tree of an arithmetic expression over named values.

    Parameters
    ----------
    text : expression in DuckDB's syntax, e.g. `E + A / params ^ alpha`
    names : what the symbols may be, most binding first; matched exactly, else without regard to case, as SQL
        does. Every name stands for itself when not given

    Raises
    ------
    FormulaError : with the character positions at fault, when the text does not parse, is not arithmetic or
        holds a name that is not in `names`

    Example
    -------
    >>> parse_expression("2 * x")
    Call(operation='multiply', arguments=(Number(value=2.0), Symbol(name='x')))
    """
    return _parse(text, None if names is None else tuple(names))


@functools.lru_cache(maxsize=256)
def _parse(text: str, names: tuple[str, ...] | None) -> Expression:
    if not text.strip():
        raise FormulaError("Parser", "the formula is empty", text, 0, max(len(text), 1), hint="write an expression")
    sent = SIGNED.sub("^ ", text)
    quoted = (PREFIX + sent).replace("'", "''")  # a bound parameter would make DuckDB import pandas
    row = _parser().cursor().execute(f"SELECT json_serialize_sql('{quoted}')").fetchone()
    tree = json.loads(row[0] if row else "{}")
    reader = _Reader(text, names)
    if tree["error"]:
        position = tree.get("position")
        start = len(text) if position is None else reader.character(int(position))
        start = min(start, len(text.rstrip()))
        raise FormulaError("Parser", tree["error_message"], text, start, reader.word_end(start))
    return reader.statement(tree["statements"])


@functools.cache
def _parser() -> duckdb.DuckDBPyConnection:
    """The connection whose parser is used; it holds no data."""
    import duckdb

    return duckdb.connect(":memory:", config={"threads": 1})


def match_name(written: str, names: Iterable[str]) -> str | None:
    """Return the known name that a written one means: the same, else the first that differs in case only."""
    known = tuple(names)
    if written in known:
        return written
    return next((name for name in known if name.lower() == written.lower()), None)


class _Reader:
    """Turns DuckDB's serialized tree into ours and remembers the text for error positions."""

    def __init__(self, text: str, names: tuple[str, ...] | None) -> None:
        self.text = text
        self.names = names
        self.bytes = SIGNED.sub("^ ", text).encode()

    def character(self, location: int) -> int:
        """The character position in the text of a byte location in the parsed statement."""
        place = len(self.bytes[: max(location - len(PREFIX), 0)].decode(errors="ignore"))
        for found in SIGNED.finditer(self.text):  # each is one character longer in the parsed statement
            place -= found.end() < place
        return place

    def word_end(self, start: int) -> int:
        """The end of the quoted name, word or operator that begins at `start`."""
        found = WORD.match(self.text, start)
        return found.end() if found else start + 1

    def fail(self, reason: str, node: dict[str, Any], *, hint: str | None = None, kind: str = "Parser") -> FormulaError:
        location = node.get("query_location", NOWHERE)
        start = 0 if location == NOWHERE else self.character(location)
        end = len(self.text) if location == NOWHERE else self.word_end(start)
        return FormulaError(kind, reason, self.text, start, end, hint=hint)

    def statement(self, statements: list[dict[str, Any]]) -> Expression:
        node = statements[0]["node"]
        items = node.get("select_list", [])
        if len(statements) > 1 or len(items) != 1:
            raise self.fail("a formula is one expression", items[1] if len(items) > 1 else {})
        clauses = ("where_clause", "having", "qualify", "sample")
        if node["from_table"]["type"] != "EMPTY" or any(node.get(clause) for clause in clauses) or node["modifiers"]:
            source = node["from_table"] if node["from_table"]["type"] != "EMPTY" else {}
            raise self.fail("a formula is one expression, without clauses", source)
        if items[0].get("alias"):
            raise self.fail("a formula has no alias", items[0], hint=f"remove '{items[0]['alias']}'")
        return self.expression(items[0])

    def expression(self, node: dict[str, Any]) -> Expression:
        match node["class"]:
            case "COLUMN_REF":
                return self.symbol(node)
            case "CONSTANT":
                return self.number(node)
            case "FUNCTION":
                return self.call(node)
            case "CAST":
                child, kind = self.expression(node["child"]), node["cast_type"]["id"]
                if kind != "DOUBLE":  # which every number of a formula is
                    hint = "leave the cast away, or compute it in the query: FROM (SELECT *, x::INT AS n FROM …)"
                    raise self.fail(f"a formula holds doubles, and a cast to {kind} would change them", node, hint=hint)
                return child
            case other:
                hint = INSTEAD + ", ".join(FUNCTIONS)
                if other in ("CASE", "COMPARISON", "BETWEEN", "CONJUNCTION", "OPERATOR"):
                    hint = "least and greatest bend a law; what else depends on a row comes from the query: "
                    hint += "FROM (SELECT *, CASE … END AS x FROM …)"
                reason = NOT_ARITHMETIC.get(other, f"{other.lower().replace('_', ' ')} is not arithmetic")
                raise self.fail(reason, node, hint=hint)

    def symbol(self, node: dict[str, Any]) -> Expression:
        parts = node["column_names"]
        if self.names is None:
            return Symbol(".".join(parts))
        for written in (".".join(parts), parts[-1]):
            known = match_name(written, self.names)
            if known is not None:
                return Symbol(known)
        hint = did_you_mean(parts[-1], self.names, f"known here: {', '.join(self.names)}")
        raise self.fail(f"'{parts[-1]}' is neither a coefficient nor a column", node, hint=hint, kind="Binder")

    def number(self, node: dict[str, Any]) -> Expression:
        value, kind = node["value"].get("value"), node["value"]["type"]["id"]
        if node["value"].get("is_null") or kind in ("VARCHAR", "BOOLEAN", "BLOB"):
            raise self.fail("a formula holds numbers only", node)
        match kind, value:
            case "DECIMAL", _:
                number = int(value) / 10 ** node["value"]["type"]["type_info"]["scale"]
            case _, {"upper": upper, "lower": lower}:
                number = float((upper << 64) + lower)
            case _:
                try:
                    number = float(value)
                except (TypeError, ValueError):
                    raise self.fail("a formula holds numbers only", node) from None
        if not math.isfinite(number):
            raise self.fail("the number is not finite", node)
        return Number(number)

    def call(self, node: dict[str, Any]) -> Expression:
        written = node["function_name"].lower()
        if written == "pi" and not node["children"]:
            return Number(math.pi)
        name = SPELLINGS.get(written)
        if name is None or node.get("schema") or node.get("filter") or node.get("distinct"):
            best = nearest(written, FUNCTIONS)
            hint = f"did you mean '{best}'?" if best else INSTEAD + ", ".join(FUNCTIONS)
            raise self.fail(
                f"'{node['function_name']}' is not a function a formula can use", node, hint=hint, kind="Binder"
            )
        arguments = tuple(self.expression(child) for child in node["children"])
        match name, arguments:
            case "subtract", (only,):
                return Number(-only.value) if isinstance(only, Number) else Call("negate", (only,))
            case "add", (only,):
                return only
            case "log10", (base, argument):
                return Call("divide", (Call("ln", (argument,)), Call("ln", (base,))))
        least, most = OPERATIONS[name].arity
        if not least <= len(arguments) <= most:
            raise self.fail(f"'{written}' takes {least} argument{'s' * (least > 1)}, got {len(arguments)}", node)
        return Call(name, arguments)
