"""The `WITH (key = value, …)` list: which keys a verb takes, and what their values are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isoflop.lakehouse.errors import UnknownName, did_you_mean
from isoflop.queries.language.question import Question
from isoflop.queries.language.syntax.nodes import Expression, Option
from isoflop.queries.language.syntax.tokens import Kind
from isoflop.queries.laws import OBJECTIVES, WITH_DELTA, Law, Objective, find_objective
from isoflop.queries.laws.algebra.parser import match_name

MOST_RESAMPLES = 100_000
MOST_SEED = 2**63 - 1


@dataclass(frozen=True)
class FitOptions:
    """How a law is fitted.

    Parameters
    ----------
    objective : what is minimised; None takes the law's own
    resamples : how many bootstrap resamples give the intervals
    seed : of starts and resamples
    level : share that intervals cover
    forward : whether the large rows are predicted from the small ones, to widen intervals beyond the rows until
        they would have held; None does so where there are intervals
    cluster : value that rows which belong together share, or None
    """

    objective: Objective | None = None
    resamples: int = 1000
    seed: int = 0
    level: float = 0.95
    forward: bool | None = None
    cluster: Expression | None = None

    @property
    def checks_forward(self) -> bool:
        """Whether the large rows are predicted from the small ones."""
        return self.resamples > 0 if self.forward is None else self.forward


@dataclass(frozen=True)
class IntervalOptions:
    """What interval a prediction has; `level` None takes the one of the law."""

    level: float | None = None
    interval: str = "prediction"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "objective": (lambda value: isinstance(value, str), "a name in quotes, like 'huber_log'"),
    "delta": (_is_positive, "a number above 0, like 1e-3"),
    "resamples": (
        lambda value: _is_count(value) and value <= MOST_RESAMPLES,
        f"a whole number up to {MOST_RESAMPLES}, like 1000; 0 for none",
    ),
    "seed": (lambda value: _is_count(value) and value <= MOST_SEED, "a whole number, like 0"),
    "level": (lambda value: _is_positive(value) and value < 1, "a share between 0 and 1, like 0.95"),
    "forward": (lambda value: isinstance(value, bool), "true or false"),
    "interval": (lambda value: value in ("prediction", "confidence"), "'prediction' or 'confidence'"),
}
MEANINGS: Mapping[str, str] = {
    "objective": "the penalty that is minimised, like 'huber_log'",
    "delta": "misfit beyond which a Huber penalty grows linearly",
    "resamples": "how many bootstrap resamples give the intervals; 0 for none",
    "seed": "of starts and resamples",
    "level": "share that intervals cover, like 0.95",
    "forward": "whether the large rows are predicted from the small ones",
    "cluster": "what rows that belong together share",
    "interval": "'prediction' of a new run or 'confidence' in the curve",
}
_FIT_KEYS = ("objective", "delta", "resamples", "seed", "level", "forward", "cluster")
_INTERVAL_KEYS = ("level", "interval")


def read_fit_options(
    question: Question, options: Sequence[Option], verb: str, law: Law | None = None, leave_out: Sequence[str] = ()
) -> FitOptions:
    """Return how a law is to be fitted.

    Parameters
    ----------
    law : whose objective a `delta` alone belongs to
    leave_out : keys that this verb does not take

    Raises
    ------
    UnknownName : for a key or an objective that does not exist
    StatementError : for a value of the wrong kind
    """
    keys = [key for key in _FIT_KEYS if key not in leave_out]
    values = _read_values(question, options, keys, verb)
    name, delta = values.pop("objective", None), values.pop("delta", None)
    places = {option.key.text.lower(): option for option in options}
    if name is not None and match_name(name, OBJECTIVES) is None:
        place = places["objective"].value
        hint = did_you_mean(name, OBJECTIVES, f"choose from {', '.join(OBJECTIVES)}")
        message = f"objective '{name}' does not exist"
        raise UnknownName("Binder", message, question.text, place.start, place.end, hint=hint)
    chosen = match_name(name, OBJECTIVES) if name is not None else None
    if delta is not None:
        chosen = chosen or (law.objective.name if law is not None else WITH_DELTA[0])
        if chosen not in WITH_DELTA:
            message = f"objective '{chosen}' has no delta"
            raise question.error("Binder", message, places["delta"].key, f"delta belongs to {', '.join(WITH_DELTA)}")
    objective = None if chosen is None else find_objective(chosen, 1e-3 if delta is None else delta)
    return FitOptions(objective=objective, **values)


def read_interval_options(question: Question, options: Sequence[Option], verb: str) -> IntervalOptions:
    """Return what interval a prediction is to have.

    Raises
    ------
    UnknownName : for a key that does not exist
    StatementError : for a value of the wrong kind
    """
    return IntervalOptions(**_read_values(question, options, _INTERVAL_KEYS, verb))


def _read_values(question: Question, options: Iterable[Option], known: Sequence[str], verb: str) -> dict[str, Any]:
    """Return the values of a WITH list by key, each checked; the value of `cluster` stays an expression."""
    found: dict[str, Any] = {}
    for option in options:
        key = match_name(option.key.text, known)
        if key is None:
            hint = did_you_mean(option.key.text, known, f"{verb} takes {', '.join(known)}")
            message = f"{verb} has no option '{option.key.text}'"
            raise UnknownName("Binder", message, question.text, option.key.start, option.key.end, hint=hint)
        if key == "cluster":
            found[key] = option.value
            continue
        value = _value(question, option.value)
        is_right, what = _KINDS[key]
        if not is_right(value):
            raise question.error("Binder", f"{key} is {what}, got {option.value.text}", option.value)
        found[key] = value
    return found


def _value(question: Question, expression: Expression) -> Any:
    """Return an option's value; a bare word is true, false, or a text."""
    if expression.last == expression.first + 1 and question.tokens[expression.first].kind is Kind.WORD:
        return {"TRUE": True, "FALSE": False}.get(expression.text.upper(), expression.text)
    return question.constant(expression)
