"""A text while it is being answered: what it reads, what its parameters are, what the user should know.

`Question.run` is how everything below asks DuckDB: it composes the text from slices, answers the verb
clauses in them first, sends it, and shows errors in the text that the user typed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import StatementError
from isoflop.queries.language.rewrite import Composed
from isoflop.queries.language.services import Services
from isoflop.queries.language.syntax.clauses import visible_queries
from isoflop.queries.language.syntax.nodes import Expression, Span
from isoflop.queries.language.syntax.sizes import number_of
from isoflop.queries.language.syntax.tokens import Kind
from isoflop.queries.language.text import Text
from isoflop.queries.language.whole_numbers import Edit, SourceColumns, cut, edits
from isoflop.queries.laws.algebra.expression import sql_number

if TYPE_CHECKING:
    import pyarrow as pa

    Answerer = Callable[["Question", int, int], pa.Table]

RELATION = "_isoflop_"
EXACT = 2.0**53  # up to which every whole number is a DOUBLE
_TABLE_MACROS = """
SELECT 1 FROM duckdb_functions()
WHERE NOT internal AND function_type = 'table_macro' AND lower(function_name) = $name LIMIT 1
"""
DEEPEST = 30  # verbs inside verbs
_ROWS_AROUND = (
    "a verb is answered before the query around it; over its rows, use the law as a function: chin(params, tokens)"
)


@dataclass(frozen=True)
class Own:
    """Words of our own that stand for a token of the statement: an error in them is shown there."""

    text: str
    stands_for: int


class Question:
    """One text, its statements answered one after another.

    Parameters
    ----------
    typed : the text
    services : the lake, and what is gathered for the user
    parameters : values for `?` and `$1` in order, or for `$name` by name
    answer : answers the verb clause in a token range with a table
    """

    def __init__(
        self,
        typed: Text,
        services: Services,
        parameters: Sequence[Any] | Mapping[str, Any] | None,
        answer: Answerer,
    ) -> None:
        self.typed, self.services, self.answer = typed, services, answer
        self.text, self.tokens, self.lake = typed.text, typed.tokens, services.lake
        self.error, self.note, self.units = typed.error, services.note, services.units
        self._values = _by_name(parameters)
        self._statement = 0
        self._scope: int | None = None
        self._depth = 0
        self._answered: dict[int, str] = {}
        self._refused: dict[int, StatementError] = {}
        self._relations: dict[str, pa.Table] = {}

    def about(self, text: str, parameters: Mapping[str, Any] | None, *, is_shown: bool) -> Question:
        """Return a question of its own about another text, asked of the same lake.

        Parameters
        ----------
        is_shown : whether what it sends is shown among what this one sends
        """
        services = Services(self.lake, sent=self.services.sent if is_shown else [])
        return Question(Text.read(text, self.typed.words), services, parameters, self.answer)

    def rewritten(self, text: str, parameters: Mapping[str, Any] | None) -> Question:
        """Return a question about another wording of this one: what it says and sends is said and sent here."""
        own = Question(Text.read(text, self.typed.words), self.services, parameters, self.answer)
        own.units = self.units
        return own

    def begin(self, first: int) -> None:
        """Start with the statement whose first token is `first`; what earlier ones read is let go."""
        self._statement = first
        self._answered.clear()
        self._refused.clear()
        self._relations.clear()

    # Asking DuckDB

    def run(
        self,
        *pieces: str | Own | Expression,
        relations: Mapping[str, pa.Table] | None = None,
        place: Span | None = None,
    ) -> pa.Table:
        """Send our own words and slices of the statement to DuckDB and return its rows.

        Parameters
        ----------
        pieces : in order; the slices may hold verb clauses and name WITH queries around the clause in hand
        relations : tables that our own words name
        place : where an error is shown for which DuckDB names no place; the first slice when None

        Raises
        ------
        StatementError : DuckDB's error, shown in the statement
        """
        composed = Composed(self.text, self.tokens)
        slices = [piece for piece in pieces if isinstance(piece, Expression)]
        self._add_with_queries(composed, slices)
        for piece in pieces:
            match piece:
                case Expression():
                    self._add_slice(composed, piece.first, piece.last)
                case Own():
                    composed.own(piece.text, piece.stands_for)
                case _:
                    composed.own(piece)
        return self._send(composed, place or (slices[0] if slices else None), relations or {})

    def edited(self, expression: Expression, found: Sequence[Edit]) -> list[str | Own | Expression]:
        """Return the pieces of an expression with words of our own in it."""
        if not found:
            return [expression]
        pieces: list[str | Own | Expression] = []
        for first, last, text in cut(expression.first, expression.last, found):
            if first < last:
                start, end = self.tokens[first].start, self.tokens[last - 1].end
                pieces.append(Expression(start, end, first, last, self.text[start:end]))
            if text:
                pieces.append(Own(text, max(last - 1, expression.first)))
        return pieces

    def run_statement(self, first: int, last: int) -> pa.Table:
        """Send tokens `first` up to, without, `last` as a statement of its own, its verb clauses answered."""
        composed = Composed(self.text, self.tokens)
        self._add_slice(composed, first, last)
        return self._send(composed, None, {})

    def inlined(self, *pieces: str | Own | Expression) -> str:
        """Return what `run` would send as one text that stands for itself, with the values of parameters in it."""
        composed = Composed(self.text, self.tokens)
        for piece in pieces:
            match piece:
                case Expression():
                    for index in range(piece.first, piece.last):
                        is_parameter = self.tokens[index].kind is Kind.PARAMETER
                        composed.token(index, self.literal(index) if is_parameter else None)
                case Own():
                    composed.own(piece.text)
                case _:
                    composed.own(piece)
        return composed.text

    def _send(self, composed: Composed, otherwise: Span | None, relations: Mapping[str, pa.Table]) -> pa.Table:
        import duckdb

        seen = {name: self._relations[name] for name in composed.relations}
        try:
            return self.services.send(composed, {**seen, **relations})
        except duckdb.Error as error:
            if otherwise is None and "\n\nLINE " not in str(error) and "end of input" not in str(error):
                raise
            hint = _ROWS_AROUND if self._scope is not None else None
            restated = composed.restate(error, otherwise or Span(0, 1), hint)
            if restated is None:
                raise
            raise restated from error

    def _add_with_queries(self, composed: Composed, slices: Sequence[Expression]) -> None:
        """Put the WITH queries that the slices name, and those that these name, in front."""
        if self._scope is None:
            return
        queries = visible_queries(self.tokens, self._statement, self._scope)
        wanted: set[int] = set()
        pending = [(each.first, each.last) for each in slices]
        while pending:
            first, last = pending.pop()
            names = {token.name.lower() for token in self.tokens[first:last] if token.is_name}
            for query in queries:
                if query.first not in wanted and query.name.lower() in names and query.last <= self._scope:
                    wanted.add(query.first)
                    pending.append((query.first, query.last))
        chosen = [query for query in queries if query.first in wanted]
        for position, query in enumerate(chosen):
            recursive = "RECURSIVE " if any(each.is_recursive for each in chosen) else ""
            composed.own(f"WITH {recursive}" if position == 0 else ", ")
            self._add_slice(composed, query.first, query.last)
        if chosen:
            composed.own("\n")

    def _add_slice(self, composed: Composed, first: int, last: int) -> None:
        index = first
        while index < last:
            clause = self.typed.clauses.get(index)
            if clause is not None and not (clause.call and self._is_macro(clause.call)):
                name = self._relation(clause.first, clause.last)
                composed.relations.add(name)
                composed.own(f" {name} " if clause.call else f" FROM {name} ", stands_for=index)
                index = clause.last
                continue
            if self.tokens[index].kind is Kind.PARAMETER:
                name = self.typed.parameter_name(index)
                composed.parameters[name] = self.parameter(index)
                composed.token(index, f"${name}")
            else:
                composed.token(index)
            index += 1

    def _relation(self, first: int, last: int) -> str:
        """Return the name of the relation that a verb clause is answered with; a clause is answered once."""
        if first in self._refused:  # asking again would take as long, and twice as long a level further out
            raise self._refused[first]
        name = self._answered.get(first)
        if name is None:
            try:
                table = self.answer_clause(first, last)
            except StatementError as error:
                self._refused[first] = error
                raise
            name = f"{RELATION}{len(self._relations)}"
            self._relations[name] = table
            self._answered[first] = name
        return name

    def _is_macro(self, function: str) -> bool:
        """Return whether the lake has a table macro of this name, which goes before a function of ours."""
        return bool(self.lake.query(_TABLE_MACROS, {"name": function}).num_rows)

    def answer_clause(self, first: int, last: int) -> pa.Table:
        """Return the rows of the verb clause in tokens `first` up to, without, `last`."""
        outer, self._scope = self._scope, first
        self._depth += 1
        try:
            if self._depth > DEEPEST:
                raise self.error("Parser", f"verbs are nested more than {DEEPEST} deep", self.tokens[first])
            return self.answer(self, first, last)
        finally:
            self._scope = outer
            self._depth -= 1

    # Parameters and constants

    def parameter(self, index: int) -> Any:
        """Return the value of the parameter at a token.

        Raises
        ------
        StatementError : when none is given
        """
        name = self.typed.parameter_name(index)
        if name not in self._values:
            token = self.tokens[index]
            raise StatementError(
                "Invalid Input", f"no value is given for parameter {token.text}", self.text, token.start, token.end
            )
        return self._values[name]

    def values_in(self, start: int, end: int) -> dict[str, Any]:
        """Return the parameters that a part of the statement uses, as the part alone would name them."""
        chosen = [
            index
            for index, token in enumerate(self.tokens)
            if token.kind is Kind.PARAMETER and start <= token.start < end
        ]
        unnamed = [index for index in chosen if self.tokens[index].text == "?"]  # numbered by their order
        names = {index: str(position) for position, index in enumerate(unnamed, 1)}
        return {names.get(index, self.typed.parameter_name(index)): self.parameter(index) for index in chosen}

    def literal(self, index: int) -> str:
        """Return the value of the parameter at a token as SQL writes it."""
        return _literal(self.parameter(index))

    def constant(self, expression: Expression) -> Any:
        """Return the value of an expression that names no column, as Python has it."""
        if expression.last == expression.first + 1:
            token = self.tokens[expression.first]
            match token.kind:
                case Kind.NUMBER:
                    return number_of(token)
                case Kind.STRING if token.text.startswith("'"):
                    return token.value
                case Kind.PARAMETER:
                    return self.parameter(expression.first)
                case _:
                    pass
        found = edits(self.tokens, expression.first, expression.last, SourceColumns({}))
        value = self.run("SELECT (", *self.edited(expression, found), ") AS value").column("value")[0].as_py()
        if found and isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
            return int(value)
        return float(value) if type(value).__name__ == "Decimal" else value

    def text_of(self, expression: Expression, what: str) -> str:
        """Return the value of an expression as a text.

        Raises
        ------
        StatementError : when it is something else
        """
        value = self.constant(expression)
        if not isinstance(value, str):
            raise self.error("Binder", f"{what} is a text, got {expression.text}", expression)
        return value

    def number(self, expression: Expression, what: str) -> float:
        """Return the value of an expression as a number.

        Raises
        ------
        StatementError : when it is something else
        """
        value = self.constant(expression)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error("Binder", f"{what} is a number, got {expression.text}", expression)
        return float(value)


def _literal(value: Any) -> str:
    """Return a value as SQL writes it; of what is no number, list or text, the text that DuckDB casts."""
    match value:
        case None | bool():
            return str(value).upper().replace("NONE", "NULL")
        case int():
            return str(value) if value >= 0 else f"({value})"
        case float():
            return sql_number(value)
        case list() | tuple():
            return f"[{', '.join(_literal(item) for item in value)}]"
        case _:
            text = str(value).replace("'", "''")
            return text if type(value).__name__ == "Decimal" else f"'{text}'"


def _by_name(parameters: Sequence[Any] | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return parameter values by name; the values of a sequence are named by number from one."""
    if parameters is None:
        return {}
    if isinstance(parameters, Mapping):
        return {str(key): value for key, value in parameters.items()}
    return {str(position): value for position, value in enumerate(parameters, 1)}
