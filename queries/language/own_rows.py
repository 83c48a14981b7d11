"""The rows of saved laws in the place of a FROM that was left out: the clause asked again with them written in."""

from __future__ import annotations

from typing import TypeVar

from isoflop.queries.language.parse import parse_clause
from isoflop.queries.language.provenance import statement_of
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord, load_law
from isoflop.queries.language.services import Reworded
from isoflop.queries.language.syntax.nodes import Name, Span
from isoflop.queries.language.syntax.tokens import Kind

Node = TypeVar("Node", bound=Span)
UNWEIGHTED = ("PREDICT",)  # verbs that take every row as it is


def with_own_rows(question: Question, node: Node, names: list[Name], verb: str, end: int) -> tuple[Question, Node]:
    """Return a clause without FROM as a question of its own that has the FROM of its saved laws, and its node.

    Parameters
    ----------
    names : the saved laws in it; their rows must be the same ones
    verb : what the clause is called in errors
    end : where in the text its laws end and FROM would begin

    Raises
    ------
    StatementError : when there is no saved law, or two were fitted to different rows
    """
    if not names:
        raise question.error("Parser", f"{verb} needs rows: FROM", Span(node.start, end), f"{verb} … FROM runs")
    records = [load_law(question, name) for name in names]
    for name, record in zip(names, records, strict=True):
        check_has_rows(question, record, name, verb)
    sources = [_source_of(question, record, with_weight=verb not in UNWEIGHTED) for record in records]
    said = [" ".join(source) for source in sources]
    for name, record, words, shown in zip(names, records, sources, said, strict=True):
        if words != sources[0]:
            message = f"{records[0].title} was fitted {said[0]}, and {record.title} {shown}; {verb} takes one FROM"
            raise question.error("Binder", message, name, f"say which rows: {verb} … {said[0]}")
    text = f"{question.text[node.start : end]} {' '.join(sources[0])}{question.text[end : node.end]}"
    kept, added = end - node.start, len(text) - (node.end - node.start)
    question.services.reworded[text] = Reworded(question.text, node.start, kept, added, (names[0].start, names[-1].end))
    asking = question.rewritten(text, question.values_in(node.start, node.end))
    question.note(f"the rows are those of {records[0].title}: {said[0]}")
    clause = parse_clause(asking.text, asking.tokens, 0, len(asking.tokens) - 1, asking.typed.words)
    assert isinstance(clause.node, type(node))
    return asking, clause.node


def check_has_rows(question: Question, record: LawRecord, at: Span, verb: str) -> None:
    """Check that a saved law was fitted to rows that a statement can be asked of.

    Raises
    ------
    StatementError : for a law of given coefficients
    """
    if record.is_given:
        message = f"{record.title} is of given coefficients: it has no rows of its own"
        raise question.error("Binder", message, at, f"{verb} … FROM runs says which rows")


def _source_of(question: Question, record: LawRecord, *, with_weight: bool) -> list[str]:
    """Return the words of `FROM … [WHERE …] [WEIGHT BY …]` in the statement of a saved law.

    What stood between blanks is one word, so that two laws of the same rows have the same words; the values of
    parameters stand in their places.

    Raises
    ------
    QuerySyntaxError : when its statement cannot be read any more
    """
    own, made = statement_of(question, record)
    source = made.fit.source
    last = source.end
    if source.weight is not None and not with_weight:
        before = source.weight.start
        last = max(token.start for token in own.tokens if token.upper == "WEIGHT" and token.start < before)
    words: list[str] = []
    end = None
    for index, token in enumerate(own.tokens):
        if not source.start <= token.start < last:
            continue
        text = own.literal(index) if token.kind is Kind.PARAMETER else token.text
        if end == token.start:
            words[-1] += text
        else:
            words.append(text)
        end = token.end
    return words
