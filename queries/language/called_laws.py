"""Laws that plain SQL calls as functions: what their fits say against them is said once, below the answer.

A macro has no way to say anything, so the calls are looked for in the text: `chin(…)`, `chin_lower(…)`,
`chin_upper(…)`. A call whose arguments are numbers is also asked how far beyond the law's rows it lies; where columns
stand in their place nobody knows before DuckDB has read them, and `PREDICT chin FROM …` says it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import IsoflopError
from isoflop.queries.language.syntax.nodes import Name
from isoflop.queries.language.syntax.tokens import Kind, Token, matching

if TYPE_CHECKING:
    from isoflop.lakehouse import Asked
    from isoflop.queries.language.question import Question
    from isoflop.queries.language.records import LawRecord

_CALLED = re.compile(r'(?:\b(?P<before>[^\W\d]\w*)\s+)?(?P<name>[^\W\d][\w$]*|"(?:[^"]|"")+")\s*\(')
_STRING = re.compile(r"'(?:[^']|'')*'")
_ENDS = ("_lower", "_upper")
_NO_LAWS = frozenset(  # what stands before a parenthesis most often: no law is called so
    "abs and as avg by cast ceil coalesce count date_trunc exists exp filter first floor from if in interval join "
    "last list ln log log10 max median min not on or over range round select sqrt sum using values where".split()
)
_MAKES = frozenset("INTO TABLE VIEW MACRO FUNCTION INDEX TYPE FROM JOIN WITH RECURSIVE".split())  # these call nothing
_ARITHMETIC = frozenset("+-*/^()") | {"**", "//"}


@dataclass(frozen=True)
class _Call:
    """A law called in a statement.

    Parameters
    ----------
    name : of the law, as it is saved
    place : the token of the call
    arguments : SQL of each argument; empty unless all of them are numbers
    """

    name: str
    place: Token
    arguments: tuple[str, ...]


def may_call(text: str, lake: Asked) -> dict[str, str]:
    """Return the saved laws that a text may call, by the names of their functions in small letters.

    Laws are looked up only where the text has a call that is none of DuckDB's most usual ones.
    """
    named = (
        each["name"]
        for each in _CALLED.finditer(_STRING.sub("''", text))
        if (each["before"] or "").upper() not in _MAKES
    )
    found = {each.strip('"').replace('""', '"').lower() for each in named} - _NO_LAWS
    if not found:
        return {}
    import duckdb

    stems = {each: each.removesuffix(end) for end in _ENDS for each in found if each.endswith(end)}
    wanted = sorted(found | set(stems.values()))
    query = "SELECT DISTINCT name FROM store.laws WHERE list_contains($names, lower(name))"
    try:
        names = lake.query(query, {"names": wanted}).column("name").to_pylist()
    except duckdb.Error:  # behind USE of another database there is no store
        return {}
    saved = {name.lower(): name for name in names}
    of_ends = {each: saved[stem] for each, stem in stems.items() if stem in saved}
    return of_ends | {each: saved[each] for each in found if each in saved}


def note_called_laws(question: Question, is_ours: Callable[[int], bool], known: dict[str, str]) -> None:
    """Say what the fits of the laws that SQL calls have found against them, and how far beyond their rows they go.

    Parameters
    ----------
    is_ours : whether a token, by its position, belongs to a verb, which says it itself
    known : names of laws by the names of their functions, as `may_call` returns them
    """
    calls = list(_calls(question, is_ours, known))
    for name in dict.fromkeys(call.name for call in calls):
        own = [call for call in calls if call.name == name]
        # a law of a form that is not installed here has nothing to be asked: its function answers all the same
        with contextlib.suppress(IsoflopError):
            _note(question, name, own)


def _calls(question: Question, is_ours: Callable[[int], bool], known: dict[str, str]) -> Iterator[_Call]:
    """The calls of laws among the tokens of a text."""
    tokens = question.tokens
    for index in range(len(tokens) - 1):
        token = tokens[index]
        name = known.get(token.name.lower()) if token.is_name else None
        if name is None or tokens[index + 1].text != "(" or is_ours(index):
            continue
        last = matching(tokens, index + 1)
        before = tokens[index - 1].upper if index else ""
        if before in _MAKES or [each.upper for each in tokens[last + 1 : last + 3]] == ["AS", "("]:
            continue
        yield _Call(name, token, _numbers(question.text, tokens[index + 2 : last]))


def _numbers(text: str, inside: list[Token]) -> tuple[str, ...]:
    """The arguments between the parentheses of a call, where each is computed from numbers alone."""
    if not all(each.kind is Kind.NUMBER or each.text in _ARITHMETIC or each.text == "," for each in inside):
        return ()
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in inside:
        depth += (token.text == "(") - (token.text == ")")
        if token.text == "," and not depth:
            parts.append([])
        else:
            parts[-1].append(token)
    return tuple(text[part[0].start : part[-1].end] for part in parts) if all(parts) else ()


def _note(question: Question, name: str, calls: list[_Call]) -> None:
    """Say it of one law."""
    import numpy as np

    from isoflop.queries.fitting.intervals import predict
    from isoflop.queries.language.distance_notes import note_distance
    from isoflop.queries.language.records import GIVEN, load_law
    from isoflop.queries.language.trouble_notes import note_trouble

    place = calls[0].place
    record = load_law(question, Name(place.start, place.end, name))
    if record.status not in ("converged", GIVEN):
        question.note(f"{record.title} is {record.status.replace('_', ' ')}")
    note_trouble(question, [record])
    points = {call.arguments: None for call in calls if len(call.arguments) == len(record.inputs)}
    if any(not call.arguments for call in calls):
        _note_narrow(question, record)
    if not points or record.is_given:
        return
    lists = ", ".join(f"[{', '.join(f'CAST({each} AS DOUBLE)' for each in point)}]" for point in points)
    asked = question.lake.query(f"SELECT unnest([{lists}]) AS point").column("point").to_pylist()
    inputs = np.array(asked, dtype=np.float64)
    positive = np.array([each.positive for each in record.law.inputs])
    usable = (np.isfinite(inputs) & ((inputs > 0) | ~positive)).all(axis=1)
    if usable.any():
        inputs = inputs[usable]
        found = predict(record.fitted, inputs, record.level)
        note_distance(question, record, found, np.isfinite(found.predicted))


def _note_narrow(question: Question, record: LawRecord) -> None:
    """Say which inputs hardly varied among the rows: at columns of unknown values nothing more can be said."""
    for code, _, message in (note.partition(": ") for note in record.notes):
        if code == "narrow_input":
            question.note(f"{record.title}: {message}")
