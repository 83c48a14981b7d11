"""What OVER and SUBJECT TO give verbs to choose from."""

from __future__ import annotations

import math
from collections.abc import Sequence

from isoflop.queries.language.question import Question
from isoflop.queries.language.scope import Scope
from isoflop.queries.language.syntax.nodes import Span
from isoflop.queries.language.syntax.planning import ConditionClause, OverList, OverRange
from isoflop.queries.planning.problem import Variable


def variable_of(question: Question, over: OverRange) -> Variable:
    """Return a range of OVER with its numbers."""
    name = over.name.text
    lower = question.number(over.lower, f"the lower end of '{name}'")
    upper = question.number(over.upper, f"the upper end of '{name}'")
    ends = Span(over.lower.start, over.upper.end)
    if not (math.isfinite(lower) and math.isfinite(upper)):
        raise question.error("Binder", f"'{name}' needs finite ends, got {lower:g} and {upper:g}", ends)
    if not lower < upper:
        raise question.error("Binder", f"'{name}' has no values between {lower:g} and {upper:g}", ends)
    if over.is_log and lower <= 0:
        raise question.error("Binder", f"a LOG range begins above 0, got {lower:g}", over.lower)
    if over.is_integer and math.ceil(lower) > math.floor(upper):
        raise question.error("Binder", f"'{name}' has no whole numbers between {lower:g} and {upper:g}", ends)
    return Variable(name, lower, upper, over.is_log, over.is_integer)


def title_of(condition: ConditionClause) -> str:
    """Return a condition as it is called in the answer: as typed, on one line."""
    left, right = (" ".join(side.text.split()) for side in (condition.left, condition.right))
    left = f"SUM({left})" if condition.is_total else left
    return f"{left} {condition.relation} {right}"


def check_used(question: Question, scope: Scope, ranges: Sequence[OverRange | OverList], verb: str) -> None:
    """Check that the choice of every name matters to something."""
    for over in ranges:
        if over.name.text not in scope.used:
            message = f"nothing in {verb} depends on '{over.name.text}'"
            raise question.error("Binder", message, over.name, "leave it out")
