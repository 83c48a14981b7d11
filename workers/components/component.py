"""A part of an experiment's config that is chosen as a whole: an optimizer, a task, a number format.

A component is a config inside a config, and its fields are settings of the run like any others: a sweep file
may write them nested or flat, expressions read them, and each is a column of `runs`.

    optimizer: {kind: sgd, learning_rate: 0.1, momentum: 0.9}
    optimizer: sgd, learning_rate: 0.1, momentum: 0.9              # the same
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, get_args

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

Scalar = int | float | str | bool | None


class Component(BaseModel):
    """Settings that belong together; those of one family that differ by `kind` are alternatives.

    Two facts say how its fields are called when they are written flat: `short_field` is what the component's own
    name sets (`optimizer: sgd` is its kind), and `is_prefixed` puts that name before the others
    (`precision_weights`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    short_field: ClassVar[str | None] = "kind"
    is_prefixed: ClassVar[bool] = False

    @classmethod
    def settings(cls, name: str) -> dict[str, str]:
        """Return the flat names of the fields, in a config whose field `name` this is: setting to field."""
        return {
            name if field == cls.short_field else f"{name}_{field}" if cls.is_prefixed else field: field
            for field in cls.model_fields
        }

    @classmethod
    def kind_name(cls) -> str | None:
        """Return the kind that tells this component from its alternatives, None where it has none."""
        kind = cls.model_fields.get("kind")
        return None if kind is None else str(kind.default)

    def values(self, name: str) -> dict[str, Scalar]:
        """Return every setting with its value."""
        own = self.model_dump()
        return {setting: own[field] for setting, field in self.settings(name).items()}

    def config(self, name: str) -> dict[str, Scalar]:
        """Return the settings that identify a run; None counts as absent."""
        return self.values(name)

    def extra(self, name: str) -> dict[str, Scalar]:
        """Return columns of `runs` that are no part of the run's identity."""
        return {}


def wrong_field(field: str, problem: str) -> PydanticCustomError:
    """Return the validation error of one field; raised inside any pydantic validator."""
    return PydanticCustomError("config", "{problem}", {"field": field, "problem": f"'{field}' {problem}"})


def components_of(config: type[BaseModel]) -> dict[str, tuple[type[Component], ...]]:
    """Return the fields of a config that are components, with the alternatives of each; the first is the default."""
    found = {name: choices_of(info.annotation) for name, info in config.model_fields.items()}
    return {name: choices for name, choices in found.items() if choices}


def choices_of(annotation: object) -> tuple[type[Component], ...]:
    """Return the components that a type stands for: itself, or those of a union."""
    if isinstance(annotation, type):
        return (annotation,) if issubclass(annotation, Component) else ()
    return tuple(choice for part in get_args(annotation) for choice in choices_of(part))


def nested_settings(choices: tuple[type[Component], ...], name: str) -> dict[str, str]:
    """Return the flat settings of all alternatives: setting to field.

    Example
    -------
    >>> from isoflop.workers.components import Precision
    >>> nested_settings((Precision,), "precision")
    {'precision': 'activations', 'precision_weights': 'weights'}
    """
    return {setting: field for choice in choices for setting, field in choice.settings(name).items()}


def gathered(
    choices: tuple[type[Component], ...], name: str, config: Mapping[str, object]
) -> tuple[dict[str, object], list[str], str | None]:
    """Return a component's own config from one that is written flat, nested or both.

    Returns
    -------
    its fields, the settings of `config` that were flat, and a setting that is said twice or None
    """
    settings = nested_settings(choices, name)
    given = config.get(name)
    own: dict[str, object] = dict(given) if isinstance(given, Mapping) else {}
    flat = [
        setting for setting in settings if setting in config and not (setting == name and isinstance(given, Mapping))
    ]
    twice = next((setting for setting in flat if settings[setting] in own), None)
    return {**own, **{settings[setting]: config[setting] for setting in flat}}, flat, twice
