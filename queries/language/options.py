"""The `WITH (key = value, …)` list: which keys a verb takes, and what their values are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from isoflop.lakehouse.errors import UnknownName, did_you_mean
from isoflop.queries.language.nodes import Expression, Option
from isoflop.queries.language.question import Question
from isoflop.queries.language.tokens import Kind
from isoflop.queries.laws.algebra.parser import match_name


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


OPTIONS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "objective": (lambda value: isinstance(value, str), "a name in quotes, like 'huber_log'"),
    "delta": (_is_positive, "a number above 0, like 1e-3"),
    "resamples": (_is_count, "a whole number, like 1000; 0 for none"),
    "seed": (_is_count, "a whole number, like 0"),
    "level": (lambda value: _is_positive(value) and value < 1, "a share between 0 and 1, like 0.95"),
    "interval": (lambda value: value in ("prediction", "confidence"), "'prediction' or 'confidence'"),
}
FIT_OPTIONS = ("objective", "delta", "resamples", "seed", "level")


def read_values(question: Question, options: Iterable[Option], known: Sequence[str], verb: str) -> dict[str, Any]:
    """Return the values of a WITH list by key.

    Raises
    ------
    UnknownName : for a key that `verb` does not take
    StatementError : for a value of the wrong kind
    """
    found: dict[str, Any] = {}
    for option in options:
        key = match_name(option.key.text, known)
        if key is None:
            hint = did_you_mean(option.key.text, known, f"{verb} takes {', '.join(known)}")
            raise UnknownName(
                "Binder", f"{verb} has no option '{option.key.text}'", question.text, option.key.start, option.key.end,
                hint=hint,
            )  # fmt: skip
        value = _option_value(question, option.value)
        is_right, what = OPTIONS[key]
        if not is_right(value):
            raise question.error("Binder", f"{key} is {what}, got {option.value.text}", option.value)
        found[key] = value
    return found


def _option_value(question: Question, expression: Expression) -> Any:
    """Return an option's value; a bare word is a text."""
    if expression.last == expression.first + 1 and question.tokens[expression.first].kind is Kind.WORD:
        return expression.text
    return question.constant(expression)
