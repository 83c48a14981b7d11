"""Where a saved law came from, read again: its statement as a question of its own, and whether its rows changed."""

from __future__ import annotations

from dataclasses import dataclass

from isoflop.lakehouse.errors import EmptySelection, StatementError
from isoflop.queries.fitting.rows import usable_rows
from isoflop.queries.language.bind import bind_candidate, is_plain
from isoflop.queries.language.catalogue import mark_stale
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord, newest_laws
from isoflop.queries.language.rows import checksum, read_rows, source_pieces
from isoflop.queries.language.syntax.clauses import find_clauses
from isoflop.queries.language.syntax.nodes import CreateLaw
from isoflop.queries.language.syntax.tokens import quote_name, tokenize

QUICK_ROWS = 50_000  # rows read again when a law is used; beyond them they are only counted
MOST_ROWS = 1_000_000  # rows read again when people look at laws


@dataclass(frozen=True)
class Staleness:
    """Whether a law's rows are other ones now.

    Parameters
    ----------
    is_stale : None when it is unknown
    reason : how the rows have changed, or why that is unknown; empty when they are the same
    """

    is_stale: bool | None
    reason: str = ""


def statement_of(question: Question, record: LawRecord) -> tuple[Question, CreateLaw]:
    """Return the statement that made a saved law as a question of its own, and its node.

    Raises
    ------
    QuerySyntaxError : when the statement cannot be read any more
    """
    from isoflop.queries.language.parse import parse_clause

    tokens = tokenize(record.statement)
    own = Question(question.lake, record.statement, tokens, record.values, question.answer, question.words)
    made = parse_clause(record.statement, tokens, 0, len(tokens) - 1, question.words).node
    assert isinstance(made, CreateLaw)
    return own, made


def staleness(question: Question, record: LawRecord, most_rows: int = MOST_ROWS) -> Staleness:
    """Return whether the rows of a saved law have changed since it was fitted.

    Parameters
    ----------
    most_rows : of more rows only the number is looked at
    """
    key = (str(record.name).lower(), record.version or 0, most_rows)
    if key not in question.looked:
        question.looked[key] = _looked(question, record, most_rows)
    return question.looked[key]


def _looked(question: Question, record: LawRecord, most_rows: int) -> Staleness:
    """Look whether the rows of a saved law have changed since it was fitted."""
    import duckdb

    try:
        own, made = statement_of(question, record)
        source = made.fit.source
        if find_clauses(question.words, own.tokens, source.relation.first, source.relation.last, is_statement=False):
            return Staleness(None, "its rows are the answer of a verb")
        known = record.options.get("checksum")
        if known is not None and known == checksum(own, bind_candidate(own, made.fit.candidate), source):
            return Staleness(False)
        counted = own.run("SELECT count(*) AS matched", *source_pieces(source), place=source.relation)
        matched: int = counted.column("matched")[0].as_py()
        if matched != record.matched:
            return Staleness(True, f"{record.matched} then, {matched} now")
        if matched > most_rows:
            return Staleness(None, f"there are as many as then, {matched}, which are too many to compare one by one")
        bound = bind_candidate(own, made.fit.candidate)
        rows = read_rows(own, bound, source)
        found = usable_rows(bound.law, rows.inputs, rows.target, rows.weight).data_hash
    except EmptySelection:
        return Staleness(True, "none of them can be used any more")
    except StatementError as error:
        return Staleness(None, _first_line(error))
    except duckdb.Error as error:
        return Staleness(None, str(error).partition("\n")[0])
    if found == record.data_hash:
        return Staleness(False)
    return Staleness(True, f"{matched} then and now, with other values")


def note_stale(question: Question, record: LawRecord, found: Staleness | None = None) -> None:
    """Say that the rows behind a law are not what they were, when they are not.

    Parameters
    ----------
    found : whether they are; looked at when None
    """
    if record.name is None:
        return
    found = found or staleness(question, record, QUICK_ROWS)
    if found.is_stale:
        name = record.name if is_plain(record.name) else quote_name(record.name)
        question.note(
            f"{record.title} is stale: the rows behind it have changed since it was fitted ({found.reason}); "
            f"REFIT LAW {name} fits it to them"
        )


def refresh_stale(question: Question) -> None:
    """Look whether the newest version of each saved law is stale, and keep what is otherwise than at the last look."""
    changed = []
    for record, was in newest_laws(question.lake):
        now = staleness(question, record).is_stale
        if now is not was:
            changed.append((str(record.name), record.version or 1, now))
    if changed:
        mark_stale(question.lake, changed)


def _first_line(error: StatementError) -> str:
    return error.message.partition("\n")[0]
