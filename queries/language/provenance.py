"""Where a saved law came from, read again: its statement as a question of its own, and whether its rows changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import DataFileMissing, EmptySelection, IsoflopError, StatementError
from isoflop.queries.fitting.data import usable_rows
from isoflop.queries.language.bind import bind_candidate, is_plain
from isoflop.queries.language.parse import parse_clause
from isoflop.queries.language.question import Question
from isoflop.queries.language.reading import source_pieces
from isoflop.queries.language.records import LawRecord, newest_laws
from isoflop.queries.language.rows import checksum, read_rows
from isoflop.queries.language.saved_laws import mark_stale
from isoflop.queries.language.staleness import Staleness
from isoflop.queries.language.syntax.nodes import CreateLaw
from isoflop.queries.language.syntax.tokens import quote_name

if TYPE_CHECKING:
    from isoflop.lakehouse import Asked

_LOOKS = """
SELECT name, version, stale, options->>'$.checksum' AS checksum, options->>'$.checksum_sql' AS checksum_sql
FROM store.laws
WHERE statement IS NOT NULL AND options IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY lower(name) ORDER BY version DESC) = 1
"""
QUICK_ROWS = 50_000  # rows read again when a law is used; beyond them they are only counted
MOST_ROWS = 1_000_000  # rows read again when laws are listed


def statement_of(question: Question, record: LawRecord, *, is_shown: bool = False) -> tuple[Question, CreateLaw]:
    """Return the statement that made a saved law as a question of its own, and its node.

    Parameters
    ----------
    is_shown : whether EXPLAIN shows what it sends

    Raises
    ------
    QuerySyntaxError : when the statement cannot be read any more
    """
    own = question.about(record.statement, record.values, is_shown=is_shown)
    made = parse_clause(own.text, own.tokens, 0, len(own.tokens) - 1, own.typed.words).node
    assert isinstance(made, CreateLaw)
    return own, made


def staleness(question: Question, record: LawRecord, most_rows: int = MOST_ROWS) -> Staleness:
    """Return whether the rows of a saved law have changed since it was fitted.

    Parameters
    ----------
    most_rows : of more rows only the number is looked at
    """
    key = (str(record.name).lower(), record.version or 0, most_rows)
    looked = question.services.looked
    if key not in looked:
        looked[key] = _looked(question, record, most_rows)
    return looked[key]


def _looked(question: Question, record: LawRecord, most_rows: int) -> Staleness:
    """Look whether the rows of a saved law have changed since it was fitted."""
    import duckdb

    if record.is_given:
        return Staleness(False)
    try:
        own, made = statement_of(question, record)
        source = made.fit.source
        if own.typed.outermost(source.relation.first, source.relation.last):
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
        rows = read_rows(own, bound, source, objective=record.penalty)
        data = usable_rows(bound.law, rows.inputs, rows.target, rows.weight, objective=record.penalty)
        found = data.data_hash
    except EmptySelection:
        return Staleness(True, "none of them can be used any more")
    except (StatementError, DataFileMissing) as error:
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
    """Look whether the newest version of each saved law is stale, and keep what is otherwise than at the last look.

    A law whose rows have the checksum that was kept with it is not stale; the checksums of all laws are one query.
    Only the other laws are read and bound again.
    """
    looks = question.lake.query(_LOOKS).to_pylist()
    same = _unchanged(question.lake, looks)
    changed: list[tuple[str, int, bool | None]] = [
        (look["name"], look["version"], False) for look in looks if look["name"] in same and look["stale"] is not False
    ]
    rest = [look["name"] for look in looks if look["name"] not in same]
    for record, was in newest_laws(question.lake, rest) if rest else ():
        now = staleness(question, record).is_stale
        if now is not was:
            changed.append((str(record.name), record.version or 1, now))
    if changed:
        mark_stale(question.lake, changed)


def _unchanged(lake: Asked, looks: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the names of the laws whose rows have the checksum they had.

    Parameters
    ----------
    looks : name, checksum and the query of it, of each law
    """
    asked = list(dict.fromkeys(look["checksum_sql"] for look in looks if look["checksum_sql"] and look["checksum"]))
    found = _checksums(lake, asked)
    return {look["name"] for look in looks if found.get(look["checksum_sql"]) == look["checksum"] is not None}


def _checksums(lake: Asked, asked: Sequence[str]) -> dict[str, str]:
    """Return the answers to queries of one value, those left out that name what is no longer there."""
    import duckdb

    if not asked:
        return {}
    try:
        row = lake.query("SELECT " + ", ".join(f"({sql})" for sql in asked))
    except (duckdb.BinderException, duckdb.CatalogException):
        half = len(asked) // 2
        return {**_checksums(lake, asked[:half]), **_checksums(lake, asked[half:])} if half else {}
    except (duckdb.Error, DataFileMissing):  # each law says for itself what is wrong
        return {}
    return {sql: str(column[0]) for sql, column in zip(asked, row.columns, strict=True)}


def _first_line(error: IsoflopError) -> str:
    return error.message.partition("\n")[0]
