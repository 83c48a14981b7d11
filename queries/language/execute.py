"""From text to answer: plain SQL goes to DuckDB as it is, verbs are answered here.

A text without verbs is sent untouched. Otherwise its statements are answered one after another; in each,
every verb clause becomes a relation that the SQL around it reads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.answers import Answer
from isoflop.lakehouse.errors import QuerySyntaxError, StatementError
from isoflop.lakehouse.session import Session
from isoflop.lakehouse.sql.execution import check_encodable, place_of
from isoflop.lakehouse.sql.read_only_guard import MEND
from isoflop.queries.language.called_laws import may_call, note_called_laws
from isoflop.queries.language.misplaced import hinted, refuse_kept, restated
from isoflop.queries.language.question import Question
from isoflop.queries.language.services import Services
from isoflop.queries.language.syntax.clauses import Clause, split_statements
from isoflop.queries.language.syntax.sizes import misread_size
from isoflop.queries.language.syntax.tokens import tokenize
from isoflop.queries.language.text import Text
from isoflop.queries.language.verbs import words

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse import Asked

_TRANSACTION = ("BEGIN", "START", "COMMIT", "ROLLBACK", "ABORT")


def execute(
    lake: Asked,
    text: str,
    parameters: Sequence[Any] | Mapping[str, Any] | None = None,
    relations: Mapping[str, pa.Table] | None = None,
) -> Answer:
    """Answer a text of the isoflop language; with several statements, return the answer to the last.

    Parameters
    ----------
    lake : whom the SQL goes to, and where laws are kept; a session of it where statements share what they make
    text : one or more statements, DuckDB's or ours
    parameters : values for `?` and `$1` in order, or for `$name` by name
    relations : tables that the text can name beside those of the lake

    Raises
    ------
    StatementError : with a caret in `text`, for everything that has to do with a verb
    duckdb.Error : for plain SQL, as DuckDB words it
    """
    check_encodable(text)
    typed = Text.of(text, words())
    services = Services(lake, relations or {})
    if not typed.clauses:
        if typed.tokens:
            _bring_up_to_date(Question(typed, services, None, answer_clause), 0, len(typed.tokens))
        answered = _nothing() if _is_blank(text) else _asked(typed, lake, parameters, relations)
        if called := may_call(text, lake):
            read = typed if typed.tokens else Text.read(text, typed.words)
            note_called_laws(Question(read, services, None, answer_clause), lambda _: False, called)
        return Answer(answered, statement=text, notes=services.said)
    _check_characters(text)
    table = None
    with contextlib.nullcontext(lake) if isinstance(lake, Session) else lake.session() as session:
        services.lake = session
        question = Question(typed, services, parameters, answer_clause)
        for first, last in typed.statements:
            clauses = typed.outermost(first, last)
            _check_statement(question, first, last, clauses, may_begin=isinstance(lake, Session))
            _bring_up_to_date(question, first, last)
            table = _answer_statement(question, session, first, last, clauses)
        if called := may_call(text, session):
            note_called_laws(question, _is_in(typed), called)
    assert table is not None
    return Answer(table, statement=text, notes=services.said, units=dict(services.units), beside=services.beside)


def _is_in(typed: Text) -> Callable[[int], bool]:
    """Return whether a token, by its position, is of a verb clause."""
    clauses = typed.clauses.values()
    return lambda index: any(clause.first <= index < clause.last for clause in clauses)


def _asked(
    typed: Text,
    lake: Asked,
    parameters: Sequence[Any] | Mapping[str, Any] | None,
    relations: Mapping[str, pa.Table] | None,
) -> pa.Table:
    """Return DuckDB's answer to a text without verbs.

    Raises
    ------
    duckdb.Error : as DuckDB words it
    StatementError : where a verb stands in the text that cannot stand there
    """
    with _sizes_in_errors(typed.text), _verbs_in_errors(typed), _laws_in_errors(typed, lake):
        return lake.query(typed.text, parameters, relations)


@contextlib.contextmanager
def _verbs_in_errors(typed: Text) -> Iterator[None]:
    """Have DuckDB's syntax errors name the verb that stands where none can."""
    import duckdb

    try:
        yield
    except (duckdb.ParserException, QuerySyntaxError) as error:
        said = restated(typed, error) if typed.tokens else None
        if said is None:
            raise
        raise said from error


@contextlib.contextmanager
def _sizes_in_errors(text: str) -> Iterator[None]:
    """Have DuckDB's syntax errors name the size, such as 5B, that it cannot read outside verbs."""
    import duckdb

    try:
        yield
    except (duckdb.ParserException, QuerySyntaxError) as error:
        said = _said_of_size(text, error)
        if said is None:
            raise
        raise said from error


def _said_of_size(text: str, error: Exception) -> QuerySyntaxError | None:
    """Return what to say in the place of a syntax error, or None where no size has to do with it."""
    if "syntax error at" not in str(error) or getattr(error, "hint", None) is not None:
        return None
    place = place_of(error, text) if not isinstance(error, QuerySyntaxError) else error.start
    text = error.text if isinstance(error, QuerySyntaxError) else text
    size = None if place is None else misread_size(text, place)
    if size is None:
        return None
    typed = text[size.start : size.end]
    hint = f"sizes such as {typed} are read in verbs only; in SQL write {size.text}"
    return QuerySyntaxError("Parser", f'syntax error at or near "{typed}"', text, size.start, size.end, hint=hint)


@contextlib.contextmanager
def _laws_in_errors(typed: Text, lake: Asked) -> Iterator[None]:
    """Have errors name the law that is called as a function and is none."""
    import duckdb

    try:
        yield
    except (duckdb.CatalogException, StatementError) as error:
        if "does not exist!" not in str(error):
            raise
        from isoflop.queries.language.no_function import said_of_law

        said = said_of_law(lake, Text.read(typed.text, typed.words) if not typed.tokens else typed, error)
        if said is None:
            raise
        raise said from error


@contextlib.contextmanager
def _places_as_typed(services: Services) -> Iterator[None]:
    """Have errors of a clause that is asked in other words show where they stand in the text as it was typed."""
    try:
        yield
    except StatementError as error:
        reworded = services.reworded.get(error.text)
        if reworded is None:
            raise
        raise reworded.as_typed(error) from error


def _answer_statement(
    question: Question, session: Session, first: int, last: int, clauses: Sequence[Clause]
) -> pa.Table:
    """Return the answer to one statement; all that it reads is one state of the lake."""
    tokens = question.tokens
    is_clause = len(clauses) == 1 and (clauses[0].first, clauses[0].last) == (first, last)
    analyzed = {token.upper for token in tokens[first + 1 : clauses[0].first if clauses else last]}
    is_described = tokens[first].upper == "EXPLAIN" and not analyzed & {"ANALYZE", "ANALYSE"}
    question.services.keeps_forecasts = not is_described

    def answer() -> pa.Table:
        question.begin(first)
        question.services.beside = None
        if is_clause:
            return question.answer_clause(first, last)
        with _verbs_in_errors(question.typed):
            return question.run_statement(first, last)

    errors = _laws_in_errors(question.typed, session)
    with _sizes_in_errors(question.text), errors, _places_as_typed(question.services):
        table = session.at_once(answer) if clauses else answer()
    if not is_clause:
        question.units.clear()
        question.services.beside = None
    return table


def _bring_up_to_date(question: Question, first: int, last: int) -> None:
    """Score the forecasts and look which laws are stale, when a statement reads what says so.

    Before the statement rather than in it, because this writes, and the statement is to see it.
    """
    tokens = question.tokens[first:last]
    question.services.looked.clear()
    read = {
        token.name.lower()
        for before, token in pairwise(tokens)
        if token.is_name and (before.upper in ("FROM", "JOIN") or before.text in (",", "."))
    }
    words = {token.upper for token in tokens}
    shown = {after.upper for before, after in pairwise(tokens) if before.upper == "SHOW"}
    scores = "forecasts" in read or "FORECASTS" in shown
    looks = "LAWS" in shown or ("laws" in read and ("SELECT" not in words or bool(words & {"*", "STALE"})))
    if not (scores or looks) or question.lake.is_read_only:
        return
    if scores:
        from isoflop.queries.language.forecasts import score_forecasts

        scored = score_forecasts(question.lake)
        if scored and "FORECASTS" in shown:
            question.note(f"{scored} forecast{'s' * (scored != 1)} scored now")
    if looks:
        from isoflop.queries.language.provenance import refresh_stale

        refresh_stale(question)


def _is_blank(text: str) -> bool:
    """Return whether a text holds no statement; only one that begins like a comment is looked at closely."""
    rest = text.lstrip()
    return not rest or (rest[0] in "-/;" and not split_statements(tokenize(rest)))


def _nothing() -> pa.Table:
    import pyarrow as pa

    return pa.table({})


def answer_clause(question: Question, first: int, last: int) -> pa.Table:
    """Return the rows of the verb clause, or the table function, in tokens `first` up to, without, `last`.

    Raises
    ------
    StatementError : when it does not parse or cannot be answered
    """
    from isoflop.queries.language.parse import parse_clause

    found = question.typed.clauses.get(first)
    if found is not None and found.call:
        from isoflop.queries.language.calling import answer_call

        return answer_call(question, found)
    try:
        clause = parse_clause(question.text, question.tokens, first, last, question.typed.words)
        return clause.verb.plan(question, clause.node).run()
    except QuerySyntaxError as error:
        opening = question.typed.words.at(question.tokens, first)
        if error.text != question.text or opening is None:
            raise
        raise hinted(question.typed, error, first, last, opening.called) from error.__cause__


def _check_characters(text: str) -> None:
    """Check that DuckDB reads a text to its end: it stops at a zero byte without a word."""
    position = text.find("\0")
    if position >= 0:
        raise QuerySyntaxError("Parser", "a statement cannot hold a zero byte", text, position, position + 1)


def _check_statement(question: Question, first: int, last: int, clauses: Sequence[Clause], *, may_begin: bool) -> None:
    """Check that a statement does not keep or undo what only lasts while it is answered."""
    tokens = question.tokens
    word = tokens[first].upper
    if word in _TRANSACTION and not may_begin:
        raise question.error(
            "Transaction", f"a text with verbs cannot hold {word}", tokens[first],
            "each verb that changes laws is a transaction of its own; in a session, lake.session(), they share one",
        )  # fmt: skip
    for clause in clauses:
        opening = question.typed.words.at(tokens, clause.first)
        if opening is not None and opening.verb.changes and question.lake.is_read_only:
            message = f"the lake is open for reading only, and {opening.called} writes into it"
            raise question.error("Permission", message, tokens[clause.first], MEND)
    if not clauses:
        return
    kept = refuse_kept(question.typed, first, clauses[0].first)
    if kept is not None:
        raise kept
