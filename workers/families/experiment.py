"""What can be run and recorded: a validated, frozen config that knows its identity, its costs and its record.

An experiment has an axis along which it is measured: the steps of an optimizer, or the layers of a network that is
never trained. `Family` is an experiment with steps and tokens; how an experiment is computed is said by

- `GradientFamily`, trained by back-propagation, one run at a time on one device;
- `PackedExperiment` and `PackedFamily`, a program of their own that advances many runs at once.

The settings of an experiment are the keys of a sweep file and the columns of `runs`. Nothing here imports torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from isoflop.lakehouse.models.counts import Counts
from isoflop.lakehouse.runs.records import LARGEST_WHOLE, RunRecord
from isoflop.workers.components import Component, Scalar, components_of
from isoflop.workers.components.component import gathered
from isoflop.workers.families.refusal import config_error, settings_named, wrong_field


class Experiment(BaseModel, ABC):
    """A config of one run: its settings are sweep-file keys and columns of `runs`.

    A subclass says what it is by these facts:

    - `name` : as in a sweep file and in `runs.family`
    - `axis` : what its measurements are numbered by, `step` or `layer`
    - `example` : a config that is run in about a second, for the documentation and the tests of every family
    - `length_settings` : which settings say how far a run goes; its costs a step do not depend on them
    - `shape_settings` : which settings its params follow from, where `shape_for` can choose them
    - `unidentifying` : fields that are no part of `config()`
    - `aliases` : further names of fields
    - `open_settings` : whether every name that a sweep file gives is a setting, as with a script of the user's

    Raises
    ------
    pydantic.ValidationError : from the constructor; `parse` raises `ConfigError` with one clear sentence
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=False)

    name: ClassVar[str]
    axis: ClassVar[str] = "step"
    example: ClassVar[Mapping[str, object]]
    length_settings: ClassVar[tuple[str, ...]] = ()
    shape_settings: ClassVar[tuple[str, ...]] = ()
    unidentifying: ClassVar[tuple[str, ...]] = ("seed",)
    aliases: ClassVar[Mapping[str, str]] = {}
    open_settings: ClassVar[bool] = False

    seed: int = Field(default=0, ge=0, description="of the initial weights and the order of the data")

    # What a run is

    @property
    @abstractmethod
    def length(self) -> int:
        """How far along its axis a run goes: its steps, its layers."""

    @abstractmethod
    def metrics(self) -> Mapping[str, str]:
        """Return what is measured, with units; `loss` is one of them where there is one."""

    def counts(self) -> Counts:
        """Return what a step costs, without building anything; what is not known stays None."""
        return Counts()

    def config(self) -> dict[str, Scalar]:
        """Return every setting that changes the result, as scalars, without the seed."""
        own = self.model_dump(exclude={*self.unidentifying, *self.components()})
        return {**own, **{key: value for name, part in self._parts() for key, value in part.config(name).items()}}

    def extra(self) -> dict[str, Scalar]:
        """Return columns of `runs` that follow from the config and are not part of the run's identity."""
        return {key: value for name, part in self._parts() for key, value in part.extra(name).items()}

    def record(self) -> RunRecord:
        """Return what is known of this run before it trains."""
        counts = self.counts()
        flops, moved = counts.flops_per_step, counts.memcpy_bytes_per_step
        return RunRecord(
            family=self.name,
            config=self.config(),
            seed=self.seed,
            extra=self.extra(),
            params=counts.params,
            params_non_embedding=counts.params_non_embedding,
            steps=self.length if self.axis == "step" else None,
            flops=None if flops is None else self.length * flops,
            memcpy_bytes=None if moved is None else self.length * moved,
        )

    def shown(self) -> dict[str, Scalar]:
        """Return the size of a run as a dry run shows it, before times and memory."""
        record = self.record()
        return {"params": record.params, f"{self.axis}s": self.length, "flops": record.flops}

    def pack_key(self) -> Hashable | None:
        """Return what runs of one pack have in common, or None for a run that trains alone."""
        return None

    def values(self) -> dict[str, Any]:
        """Return the value of every setting of this run; those of a component under their flat names."""
        own = {name: value for name, value in dict(self).items() if name not in self.components()}
        return {**own, **{key: value for name, part in self._parts() for key, value in part.values(name).items()}}

    # What a family is

    @classmethod
    def components(cls) -> dict[str, tuple[type[Component], ...]]:
        """Return the fields that are components, with the alternatives of each."""
        return components_of(cls)

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """Return the flat names of all settings."""
        return tuple(settings_named(cls, cls.components()))

    @classmethod
    def defaults(cls) -> dict[str, Scalar]:
        """Return the settings that have one default, whatever else is chosen."""
        found: dict[str, list[FieldInfo]] = {}
        components = cls.components()
        for name, info in cls.model_fields.items():
            for choice in components.get(name, ()):
                for setting, field in choice.settings(name).items():
                    found.setdefault(setting, []).append(choice.model_fields[field])
            if name not in components:
                found[name] = [info]
        return {
            name: fields[0].get_default()
            for name, fields in found.items()
            if not any(field.is_required() for field in fields)
            and len({repr(field.get_default()) for field in fields}) == 1
            and isinstance(fields[0].get_default(), bool | int | float | str)
        }

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> Self:
        """Return the experiment of a config read from a file.

        Raises
        ------
        ConfigError : with the offending field, what it is and what it may be
        """
        try:
            return cls.model_validate(dict(config))
        except ValidationError as error:
            raise config_error(cls.name, cls, cls.components(), error) from error

    @classmethod
    def parse_shape(cls, config: Mapping[str, Any]) -> Self:
        """Return the shortest run of a config that does not say yet how long it is.

        Raises
        ------
        ConfigError : as `parse`
        """
        shape = {key: value for key, value in config.items() if key not in cls.length_settings}
        return cls.parse({**shape, **{name: 1 for name in cls.length_settings if name == "steps"}})

    @classmethod
    def shape_for(cls, params: float, given: Mapping[str, Any]) -> dict[str, Scalar]:
        """Return settings with which a run has about so many params; empty where a family has no such choice.

        Parameters
        ----------
        given : settings that every planned run has

        Raises
        ------
        UsageError : where no settings have so many
        """
        return {}

    @classmethod
    def notes(cls, runs: Sequence[Experiment], read: frozenset[str]) -> list[str]:
        """Return what the user should know about runs that are planned together.

        Parameters
        ----------
        read : names that expressions of the sweep file use, in lower case
        """
        return []

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, given: Any) -> Any:
        """Put flat settings into the components that they belong to."""
        if not isinstance(given, Mapping):
            return given
        config = {cls.aliases.get(name, name): value for name, value in given.items()}
        if len(config) < len(given):
            alias = next(name for name, field in cls.aliases.items() if name in given and field in given)
            raise wrong_field(alias, f"and {cls.aliases[alias]} are one setting; give one of the two")
        for name, choices in cls.components().items():
            if isinstance(config.get(name), Component):
                continue
            own, flat, twice = gathered(choices, name, config)
            if twice is not None:
                raise wrong_field(twice, f"is given twice, by itself and inside {name}; give one of the two")
            if name in config and name not in flat and not isinstance(config[name], Mapping):
                inside = ", ".join(setting for choice in choices for setting in choice.settings(name))
                raise wrong_field(name, f"is {config[name]!r}; it should be a mapping of {inside}")
            config = {key: value for key, value in config.items() if key not in flat}
            config[name] = _with_kind(name, choices, own)
            for field, value in own.items():
                _check_scalar(field, value, [choice.model_fields.get(field) for choice in choices])
        for name, value in config.items():
            _check_scalar(name, value, [cls.model_fields.get(name)])
        return config

    def _parts(self) -> list[tuple[str, Component]]:
        own = dict(self)
        return [(name, own[name]) for name in self.components()]


def _check_scalar(name: str, value: object, fields: Sequence[FieldInfo | None]) -> None:
    """Refuse what would be taken for another number: true for 1, and a whole number that no column holds."""
    kinds = {kind for field in fields if field is not None for kind in _kinds(field.annotation)}
    if isinstance(value, bool) and bool not in kinds and kinds & {int, float}:
        raise wrong_field(name, f"is {str(value).lower()}; it should be a number")
    if int in kinds and isinstance(value, int | float) and abs(value) > LARGEST_WHOLE:
        raise wrong_field(name, f"is {value:g}; it should be at most {LARGEST_WHOLE:g}")


def _kinds(annotation: object) -> set[object]:
    """Return the plain types that an annotation allows."""
    parts = get_args(annotation)
    return {kind for part in parts for kind in _kinds(part)} if parts else {annotation}


def _with_kind(name: str, choices: tuple[type[Component], ...], own: dict[str, object]) -> dict[str, object]:
    """Return a component's config with the kind that tells it from its alternatives."""
    kinds = [kind for choice in choices if (kind := choice.kind_name()) is not None]
    if not kinds:
        return own
    chosen = own.get("kind", kinds[0])
    if chosen not in kinds:
        raise wrong_field(name, f"is {chosen!r}; it should be {' or '.join(repr(each) for each in kinds)}")
    return {**own, "kind": chosen}
