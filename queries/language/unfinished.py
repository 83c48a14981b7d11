"""Runs that have not finished among the rows of `runs`."""

from __future__ import annotations

from isoflop.lakehouse.errors import StatementError
from isoflop.queries.language.bind import Bound
from isoflop.queries.language.question import Question
from isoflop.queries.language.reading import source_pieces
from isoflop.queries.language.syntax.nodes import Source


def note_unfinished(question: Question, bound: Bound, source: Source) -> None:
    """Say how many rows of `runs` are of runs that have not finished, unless the statement looks at their status."""
    read = question.tokens[source.relation.first : (source.where or source.relation).last]
    words = {token.name.lower() for token in read}
    if source.relation.text.lower() != "runs" or "status" in words:
        return
    try:
        table = question.run(
            "SELECT count(*) AS matched, count(*) FILTER (status <> 'finished' AND (",
            bound.target,
            ") IS NOT NULL) AS unfinished",
            *source_pieces(source),
        )
    except StatementError:  # a table of that name that knows no status
        return
    unfinished = table.column("unfinished")[0].as_py()
    if unfinished:
        hint = "WHERE status = 'finished' leaves them out"
        question.note(f"{unfinished} of {table.column('matched')[0]} rows are of unfinished runs; {hint}")
