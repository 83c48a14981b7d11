"""What is wrong with a config, in one sentence: the field, the value seen, what it may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ValidationInfo

from isoflop.lakehouse.errors import RecordError, nearest
from isoflop.workers.components import Component
from isoflop.workers.components.component import wrong_field as wrong_field  # beside what reads it

PLAIN_WORDS = (
    ("Input should be", "it should be"),
    ("a valid integer", "a whole number"),
    ("a valid number", "a number"),
    ("a valid boolean", "true or false"),
    ("a valid string", "text"),
    ("greater than or equal to", "at least"),
    ("less than or equal to", "at most"),
    ("greater than", "more than"),
)


class ConfigError(RecordError):
    """A config that no run can have; `field` is the offending key, with dots where it is nested."""

    def __init__(self, message: str, field: str | None = None, *, hint: str | None = None) -> None:
        self.field = field
        super().__init__(message, hint=hint)


def divides(field: str, value: int, whole_field: str, info: ValidationInfo) -> int:
    """Check that a field divides another one that comes before it."""
    whole = info.data.get(whole_field)
    if whole is not None and whole % value:
        raise wrong_field(
            field, f"is {value}, which does not divide {whole_field} {whole}; choose from {_divisors(whole)}"
        )
    return value


def _divisors(whole: int) -> str:
    found = [str(number) for number in range(1, min(whole, 4096) + 1) if whole % number == 0]
    return ", ".join(found if len(found) <= 12 else [*found[:12], "…"])


def config_error(
    name: str,
    config: type[BaseModel],
    components: Mapping[str, Sequence[type[Component]]],
    error: ValidationError,
) -> ConfigError:
    """Return the first problem of a config as one sentence: the value seen, what was expected, what to do.

    Parameters
    ----------
    name : of the family
    config : its class
    components : its fields that are components, with their alternatives
    error : what pydantic found
    """
    problems = sorted(error.errors(), key=lambda problem: problem["type"] in ("default_factory_not_called", "missing"))
    problem = problems[0]
    location = problem["loc"]
    choices = components.get(str(location[0]), ()) if len(location) > 1 else ()
    if choices:
        return _component_error(name, str(location[0]), _chosen(choices, location), problem)
    field = ".".join(_path(location))
    kind, context, seen = problem["type"], problem.get("ctx", {}), problem["input"]
    if kind == "config":
        return ConfigError(str(context["problem"]), str(context["field"]))
    if kind == "missing":
        return ConfigError(f"'{field}' is missing; a {name} needs it", field)
    if kind == "extra_forbidden":
        known = settings_named(config, components)
        best = nearest(field.rpartition(".")[2], known)
        hint = f"did you mean '{best}'?" if best else f"its fields are {', '.join(known)}"
        return ConfigError(f"'{field}' is not a field of {name}", field, hint=hint)
    return ConfigError(f"'{field}' is {seen!r}; {_expected(problem)}", field)


def settings_named(config: type[BaseModel], components: Mapping[str, Sequence[type[Component]]]) -> list[str]:
    """Return the flat names of a config's settings: its own fields, and in place of a component that one's."""
    names: dict[str, None] = {}
    for field in config.model_fields:
        choices = components.get(field, ())
        names |= dict.fromkeys(setting for choice in choices for setting in choice.settings(field))
        if not choices:
            names[field] = None
    return list(names)


def _chosen(choices: Sequence[type[Component]], location: tuple[int | str, ...]) -> type[Component]:
    """Return the alternative that a location is about: pydantic names its kind where there are several."""
    return next((choice for choice in choices if choice.kind_name() == location[1]), choices[0])


def _component_error(name: str, part: str, chosen: type[Component], problem: ErrorDetails) -> ConfigError:
    """Return what is wrong inside a component, by the setting's flat name."""
    field = str(problem["loc"][-1])
    setting = next((setting for setting, own in chosen.settings(part).items() if own == field), field)
    match problem["type"]:
        case "config":
            context = problem.get("ctx", {})
            return ConfigError(str(context["problem"]), str(context["field"]))
        case "missing":
            return ConfigError(f"'{setting}' is missing; a {name} needs it", setting)
        case "extra_forbidden":
            known = list(chosen.settings(part))
            best = nearest(field, known)
            hint = f"did you mean '{best}'?" if best else f"its settings are {', '.join(known)}"
            kind = chosen.kind_name()
            whose = f"{part} {kind}" if kind else part
            return ConfigError(f"'{setting}' is not a setting of the {whose}", setting, hint=hint)
        case _:
            return ConfigError(f"'{setting}' is {problem['input']!r}; {_expected(problem)}", setting)


def _path(location: tuple[int | str, ...]) -> list[str]:
    """The keys of a pydantic location, without the tag of a union (`corpus`, `bytes`, `source`)."""
    keys = [str(part) for part in location]
    return [keys[0], *keys[2:]] if len(keys) > 2 else keys


def _expected(problem: ErrorDetails) -> str:
    """Pydantic's sentence in the words of this code: `Input should be …` reads `it should be …`."""
    message = problem["msg"]
    start = message if problem["type"] == "literal_error" else message.partition(",")[0]
    for theirs, ours in PLAIN_WORDS:
        start = start.replace(theirs, ours)
    return start[:1].lower() + start[1:]
