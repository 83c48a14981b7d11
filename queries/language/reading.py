"""How a column or an expression over columns is read as a number (`whole_numbers` says what is done to it)."""

from __future__ import annotations

from collections.abc import Iterable

from isoflop.lakehouse.errors import StatementError
from isoflop.queries.language.question import Own, Question
from isoflop.queries.language.syntax.nodes import Expression, Source
from isoflop.queries.language.syntax.tokens import Token, tokenize
from isoflop.queries.language.whole_numbers import ARITHMETIC, FLOPS, SourceColumns, edits, with_edits

Column = Expression | Own
Piece = str | Own | Expression


def columns_of(question: Question, source: Source) -> SourceColumns:
    """Return the columns of a source; none where DuckDB does not say, which the query that follows says better."""
    try:
        return SourceColumns.of_table(
            question.run("SELECT * FROM ", source.relation, " LIMIT 0", place=source.relation)
        )
    except StatementError:
        return SourceColumns({})


def columns_needed(question: Question, source: Source, read: Iterable[Column]) -> SourceColumns:
    """Return the columns of a source where what is read depends on them; none, without asking, where it does not."""
    names = (token for column in read for token in tokens_of(question, column))
    is_needed = any(token.text in ARITHMETIC or (token.is_name and token.name.lower() == FLOPS) for token in names)
    return columns_of(question, source) if is_needed else SourceColumns({})


def read_as_number(question: Question, column: Column, known: SourceColumns) -> list[Piece]:
    """Return the pieces of a query that read a column or an expression as a law takes it.

    Parameters
    ----------
    known : the columns that it may name
    """
    if isinstance(column, Own):
        return [Own(with_edits(column.text, known), column.stands_for)]
    if question.typed.outermost(column.first, column.last):  # rows of a verb are read as they are
        return [column]
    return question.edited(column, edits(question.tokens, column.first, column.last, known))


def reads_flops(question: Question, column: Column) -> bool:
    """Return whether FLOPs stand in an expression as a name."""
    return any(token.is_name and token.name.lower() == FLOPS for token in tokens_of(question, column))


def tokens_of(question: Question, column: Column) -> list[Token]:
    """Return the tokens of a column or an expression."""
    return tokenize(column.text) if isinstance(column, Own) else question.tokens[column.first : column.last]


def source_pieces(source: Source) -> list[Piece]:
    """Return the FROM and WHERE of a source as pieces of a query."""
    pieces: list[Piece] = [" FROM ", source.relation]
    if source.where is not None:
        pieces += [" WHERE (", source.where, ")"]
    return pieces
