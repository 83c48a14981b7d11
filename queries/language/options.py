"""The `WITH (key = value, …)` list: which keys a verb takes, and what their values are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from isoflop.lakehouse.errors import UnknownName, did_you_mean
from isoflop.queries.fitting import options as fitting
from isoflop.queries.fitting.averaging import WEIGHINGS
from isoflop.queries.fitting.bootstraps import BOOTSTRAPS, find_bootstrap
from isoflop.queries.language.clause_options import (
    ApproachOptions,
    ClauseOptions,
    ForecastOptions,
    GivenOptions,
    IntervalOptions,
    OptimumOptions,
    PlanOptions,
)
from isoflop.queries.language.defaults import RESAMPLES
from isoflop.queries.language.question import Question
from isoflop.queries.language.syntax.nodes import Expression, Name, Option
from isoflop.queries.language.syntax.tokens import Kind
from isoflop.queries.laws import OBJECTIVES, WITH_DELTA, Law, Objective, find_objective
from isoflop.queries.laws.algebra.parser import match_name

MOST_RESAMPLES = 100_000  # draws of ten coefficients are then 8 MB
MOST_SEED = 2**63 - 1  # what a BIGINT holds


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """Return a decimal number as a float."""
    return float(value) if type(value).__name__ == "Decimal" else value


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "objective": (lambda value: isinstance(value, str), "a name in quotes, like 'huber_log'"),
    "delta": (_is_positive, "a number above 0, like 1e-3"),
    "resamples": (
        lambda value: _is_count(value) and value <= MOST_RESAMPLES,
        f"a whole number up to {MOST_RESAMPLES}, like 1000; 0 for none",
    ),
    "seed": (_is_whole, "a whole number, like 0"),
    "level": (lambda value: _is_positive(value) and value < 1, "a share between 0 and 1, like 0.95"),
    "time_law": (lambda value: isinstance(value, str), "the name of a law"),
    "residual_scale": (_is_positive, "a number above 0, like 0.01"),
    "scatter": (lambda value: value in ("relative", "additive"), "'relative' or 'additive'"),
    "forward": (lambda value: isinstance(value, bool), "true or false"),
    "bootstrap": (lambda value: isinstance(value, str), "a name in quotes, like 'auto'"),
    "intervals": (lambda value: isinstance(value, str), "a name in quotes, like 'profile'"),
    "weighing": (lambda value: isinstance(value, str), "a name in quotes, like 'resamples'"),
    "tolerance": (_is_positive, "a number above 0, like 0.1"),
    "within": (_is_positive, "a number above 0, like 0.05"),
    "budgets": (
        lambda value: (
            isinstance(value, list) and all(_is_positive(_plain(number)) for number in value) and len(value) > 0
        ),
        "a list of numbers above 0, like [1e19, 1e20]",
    ),
    "interval": (lambda value: value in ("prediction", "confidence"), "'prediction' or 'confidence'"),
}
# What a number of the right kind may be at least and at most: beyond, squares and quantiles are no numbers.
_REACH: Mapping[str, tuple[float, float]] = {
    "delta": (1e-12, 1e12),
    "level": (1e-6, 1 - 1e-9),
    "seed": (0, MOST_SEED),
}
_FIT_KEYS = ("objective", "delta", "resamples", "seed", "level", "forward", "cluster", "bootstrap", "intervals")
_APPROACH_KEYS = ("budgets", "tolerance", "curves", "flops", "objective", "delta", "resamples", "seed", "level")
_EXPRESSIONS = ("cluster", "curves", "flops", "per")  # read from the rows or points, once for each
_INTERVAL_KEYS = ("level", "interval")
OPTIMIZE_KEYS = (*_INTERVAL_KEYS, "resamples", "time_law")
OPTIMUM_KEYS = ("tolerance", "within", "resamples", "seed", "level")
DESIGN_KEYS = (*_INTERVAL_KEYS, "seed", "time_law", "per")


def read_fit_options(
    question: Question, options: Sequence[Option], verb: str, law: Law | None = None, leave_out: Sequence[str] = ()
) -> ClauseOptions:
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
    places = {option.key.text.lower(): option for option in options}
    for key, names in (("bootstrap", tuple(BOOTSTRAPS)), ("intervals", fitting.INTERVALS)):
        if key in values:
            values[key] = _one_of(question, places[key].value, key, values[key], names)
            values["is_asked"] = True
    if values.get("bootstrap") == "cluster" and "cluster" not in values:
        hint = "say which rows belong together: WITH (bootstrap = 'cluster', cluster = run_id)"
        raise question.error("Binder", "a cluster bootstrap needs groups of rows", places["bootstrap"].value, hint)
    if "bootstrap" in values:
        values["resampling"] = find_bootstrap(values.pop("bootstrap"))
    return ClauseOptions(objective=_objective(question, options, values, law), **values)


def read_compare_options(
    question: Question, options: Sequence[Option], verb: str, law: Law
) -> tuple[ClauseOptions, str | None]:
    """Return how the candidates of COMPARE are fitted, and how they are weighed where the statement says so.

    Raises
    ------
    UnknownName : for a key, an objective or a way to weigh that does not exist
    StatementError : for a value of the wrong kind
    """
    keys = [key for key in _FIT_KEYS if key not in ("forward", "bootstrap", "intervals")]
    values = _read_values(question, options, [*keys, "weighing"], verb)
    weighing = _weighing(question, options, values)
    values.setdefault("resamples", RESAMPLES)
    return ClauseOptions(objective=_objective(question, options, values, law), **values), weighing


def read_average_options(
    question: Question, options: Sequence[Option], verb: str, law: Law, leave_out: Sequence[str] = ()
) -> tuple[ClauseOptions, str, IntervalOptions]:
    """Return how the laws of an average are fitted, how they are weighed, and what interval it has.

    Parameters
    ----------
    law : whose objective a `delta` alone belongs to
    leave_out : keys that this verb does not take

    Raises
    ------
    UnknownName : for a key, an objective or a way to weigh that does not exist
    StatementError : for a value of the wrong kind
    """
    keys = [key for key in (*_FIT_KEYS, "weighing", "interval") if key not in ("bootstrap", "intervals", *leave_out)]
    values = _read_values(question, options, keys, verb)
    weighing = _weighing(question, options, values) or WEIGHINGS[0]
    kind = values.pop("interval", "prediction")
    values.setdefault("resamples", RESAMPLES)
    fit = ClauseOptions(objective=_objective(question, options, values, law), **values)
    return fit, weighing, IntervalOptions(fit.level, kind)


def _weighing(question: Question, options: Sequence[Option], values: dict[str, Any]) -> str | None:
    """Return how laws are weighed, and take it out of the values."""
    given = values.pop("weighing", None)
    if given is None:
        return None
    place = next(option.value for option in options if option.key.text.lower() == "weighing")
    return _one_of(question, place, "weighing", given, WEIGHINGS)


def read_approach_options(
    question: Question, options: Sequence[Option], verb: str, law: Law | None = None
) -> ApproachOptions:
    """Return how the approaches to the best size are compared.

    Parameters
    ----------
    law : whose objective a `delta` alone belongs to

    Raises
    ------
    UnknownName : for a key or an objective that does not exist
    StatementError : for a value of the wrong kind
    """
    values = _read_values(question, options, _APPROACH_KEYS, verb)
    own = {key: values.pop(key) for key in ("budgets", "tolerance", "curves", "flops") if key in values}
    if "budgets" in own:
        own["budgets"] = tuple(float(budget) for budget in own["budgets"])
    values.setdefault("resamples", RESAMPLES)
    return ApproachOptions(ClauseOptions(objective=_objective(question, options, values, law), **values), **own)


def _objective(
    question: Question, options: Sequence[Option], values: dict[str, Any], law: Law | None
) -> Objective | None:
    """Return the objective that a WITH list names, and take its keys out of the values."""
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
    return None if chosen is None else find_objective(chosen, 1e-3 if delta is None else delta)


def _one_of(question: Question, place: Expression, key: str, value: str, names: Sequence[str]) -> str:
    """Return the name that a value spells."""
    found = match_name(value, names)
    if found is None:
        hint = did_you_mean(value, names, f"choose from {', '.join(names)}")
        raise UnknownName("Binder", f"{key} '{value}' does not exist", question.text, place.start, place.end, hint=hint)
    return found


def read_interval_options(question: Question, options: Sequence[Option], verb: str) -> IntervalOptions:
    """Return what interval a prediction is to have.

    Raises
    ------
    UnknownName : for a key that does not exist
    StatementError : for a value of the wrong kind
    """
    return IntervalOptions(**_read_values(question, options, _INTERVAL_KEYS, verb))


def read_given_options(question: Question, options: Sequence[Option]) -> GivenOptions:
    """Return what is said of a law of given coefficients beyond them.

    Raises
    ------
    UnknownName : for a key that does not exist
    StatementError : for a value of the wrong kind
    """
    keys = ("residual_scale", "scatter", "resamples", "seed", "level")
    values = _read_values(question, options, keys, "a law of given coefficients")
    if "scatter" in values and "residual_scale" not in values:
        place = next(option.key for option in options if option.key.text.lower() == "scatter")
        hint = "WITH (residual_scale = 0.01, scatter = 'additive')"
        raise question.error("Binder", "scatter says what residual_scale is, and there is none", place, hint)
    return GivenOptions(**values)


def read_forecast_options(question: Question, options: Sequence[Option], verb: str) -> ForecastOptions:
    """Return how a forecast is to be made.

    Raises
    ------
    UnknownName : for a key that does not exist
    StatementError : for a value of the wrong kind
    """
    values = _read_values(question, options, (*_INTERVAL_KEYS, "tolerance"), verb)
    if values.get("tolerance", 0) >= 1:
        place = next(option.value for option in options if option.key.text.lower() == "tolerance")
        message = f"the tolerance of a forecast is a share between 0 and 1, like 1e-3, got {place.text}"
        raise question.error("Binder", message, place)
    return ForecastOptions(**values)


def read_optimum_options(question: Question, options: Sequence[Option], verb: str) -> OptimumOptions:
    """Return how the optimum of a swept setting is read off each cell.

    Raises
    ------
    UnknownName : for a key that does not exist
    StatementError : for a value of the wrong kind
    """
    return OptimumOptions(**_read_values(question, options, OPTIMUM_KEYS, verb))


def read_plan_options(question: Question, options: Sequence[Option], verb: str, keys: Sequence[str]) -> PlanOptions:
    """Return how a plan is to be made.

    Parameters
    ----------
    keys : that this verb takes

    Raises
    ------
    UnknownName : for a key that does not exist
    StatementError : for a value of the wrong kind
    """
    values = _read_values(question, options, keys, verb)
    if verb == "DESIGN":  # what a run adds of its own scatter no other run takes away
        values.setdefault("interval", "confidence")
    if "time_law" in values:
        place = next(option.value for option in options if option.key.text.lower() == "time_law")
        values["time_law"] = Name(place.start, place.end, values["time_law"])
    return PlanOptions(**values)


def _read_values(question: Question, options: Iterable[Option], known: Sequence[str], verb: str) -> dict[str, Any]:
    """Return the values of a WITH list by key, each checked; those of `_EXPRESSIONS` stay slices."""
    found: dict[str, Any] = {}
    for option in options:
        key = match_name(option.key.text, known)
        if key is None:
            hint = did_you_mean(option.key.text, known, f"{verb} takes {', '.join(known)}")
            message = f"{verb} has no option '{option.key.text}'"
            raise UnknownName("Binder", message, question.text, option.key.start, option.key.end, hint=hint)
        if key in _EXPRESSIONS:
            found[key] = option.value
            continue
        value = _value(question, option.value)
        is_right, what = _KINDS[key]
        if not is_right(value):
            raise question.error("Binder", f"{key} is {what}, got {option.value.text}", option.value)
        low, high = _REACH.get(key, (value, value))
        if not low <= value <= high:
            ends = " and ".join(f"{end:.12g}" if isinstance(end, float) else str(end) for end in (low, high))
            message = f"{key} lies between {ends}, got {option.value.text}"
            raise question.error("Binder", message, option.value)
        found[key] = value
    return found


def _value(question: Question, expression: Expression) -> Any:
    """Return an option's value; a bare word is true, false, or a text."""
    if expression.last == expression.first + 1 and question.tokens[expression.first].kind is Kind.WORD:
        return {"TRUE": True, "FALSE": False}.get(expression.text.upper(), expression.text)
    return question.constant(expression)


# What reference and shell say of each key: default, meaning.
MEANINGS: Mapping[str, tuple[str, str]] = {
    "objective": ("the form's own", f"what is minimized: {', '.join(f'`{name}`' for name in OBJECTIVES)}"),
    "delta": (
        "`1e-3`",
        f"log residual beyond which the objective grows linearly; of {', '.join(f'`{name}`' for name in WITH_DELTA)}, "
        "for the last in units of the target's robust spread",
    ),
    "resamples": (f"`{ClauseOptions.resamples}`", "how many bootstrap resamples the intervals come from"),
    "seed": (f"`{ClauseOptions.seed}`", "of starts, resamples and random folds: one seed, one answer"),
    "level": (f"`{ClauseOptions.level}`", "share that intervals cover"),
    "residual_scale": ("unknown", "of given coefficients: scatter of a run about the law, of its logarithm"),
    "scatter": (
        "`'relative'`",
        "of given coefficients: whether `residual_scale` is of logarithms or in the target's unit",
    ),
    "forward": (
        "`true` with resamples",
        "whether the large rows are predicted from the small ones, to widen intervals beyond the rows",
    ),
    "cluster": (
        "none; `FIT` looks for one",
        "rows with one value of this expression belong together: resampled, and split, as a whole",
    ),
    "bootstrap": ("by the rows", f"how rows are redrawn: {', '.join(f'`{name}`' for name in BOOTSTRAPS)}"),
    "intervals": (
        f"`'{ClauseOptions.intervals}'`",
        f"what the coefficients' intervals are: {', '.join(f'`{name}`' for name in fitting.INTERVALS)}",
    ),
    "weighing": (
        f"`'{WEIGHINGS[0]}'` in an average",
        f"what weighs laws: {', '.join(f'`{name}`' for name in WEIGHINGS)}",
    ),
    "budgets": ("found among the rows", "compute of the slices of equal compute [flop]"),
    "tolerance": (
        f"`{ApproachOptions.tolerance}`",
        "relative distance within which a run belongs to a budget or a cell, or answers a forecast by its inputs",
    ),
    "within": ("none", "share of the best value of a cell beyond which rows are left out"),
    "curves": ("none", "points with one value of this expression are one learning curve; without it rows are runs"),
    "flops": ("the column `flops`, or 6 params tokens", "training compute of a row [flop]"),
    "time_law": ("none", "name of the law that `seconds` are computed by"),
    "per": ("none", "cost that what is gained is divided by, so that cheap runs come first"),
    "interval": (f"`'{IntervalOptions.interval}'`", "for a new run, which is noisy, or for the law's curve alone"),
}


def describe_option(key: str) -> tuple[str, str, str]:
    """Return an option's default, the values it takes and what it means, as Markdown.

    Example
    -------
    >>> describe_option("seed")
    ('`0`', 'a whole number, like 0', 'of starts, resamples and random folds: one seed, one answer')
    """
    default, meaning = MEANINGS[key]
    return default, "an expression" if key in _EXPRESSIONS else _KINDS[key][1], meaning
