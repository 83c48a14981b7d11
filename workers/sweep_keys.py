"""The keys of a sweep file and what each may hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from isoflop.lakehouse.errors import FileError, did_you_mean
from isoflop.lakehouse.runs.records import LARGEST_WHOLE
from isoflop.workers.budget import Budget
from isoflop.workers.resources import bytes_of, seconds_of
from isoflop.workers.sampling import MOST_SAMPLES, sampled
from isoflop.workers.saving import USUAL_SECONDS, Saving
from isoflop.workers.stop_rules import Halving, StopWhen
from isoflop.workers.sweep_file import Document, Keys

DEFAULT_RETRIES = {"crash": 1, "out_of_memory": 1, "preempted": 10, "timeout": 0}


def _as_expression(value: object) -> object:
    """Return a number or a truth value as the expression that spells it."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, int | float) else value


MAX_SEEDS = 1_000_000  # as many as a grid may have rows


def _as_list(value: object) -> object:
    return value if isinstance(value, list) or value is None else [value]


def _as_seeds(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError("expected a number of seeds, at least 1, or a list of seeds")
        if value > MAX_SEEDS:
            raise ValueError(f"expected at most {MAX_SEEDS:,} seeds")
        return list(range(value))
    return value


def _all_different(values: tuple[int, ...]) -> tuple[int, ...]:
    if not values or len(set(values)) < len(values):
        raise ValueError("expected at least one seed, each once")
    if max(map(abs, values)) > LARGEST_WHOLE:
        raise ValueError(f"expected seeds up to {LARGEST_WHOLE}")
    return values


Times = Annotated[int, Field(ge=0)]
Expression = Annotated[str, BeforeValidator(_as_expression)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ResourceKeys(_Section):
    """What each run needs: numbers, or SQL expressions over the run's settings; memory also as `4 GiB`."""

    cpus: Expression = "1"
    gpus: Expression | None = None
    memory: Expression | None = None


class RetryKeys(_Section):
    """How often a run is tried again, by what ended its attempt."""

    crash: Times = DEFAULT_RETRIES["crash"]
    out_of_memory: Times = DEFAULT_RETRIES["out_of_memory"]
    preempted: Times = DEFAULT_RETRIES["preempted"]
    timeout: Times = DEFAULT_RETRIES["timeout"]


class BudgetKeys(_Section):
    """What all runs of the sweep may take together."""

    flops: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    dollars: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


def _as_interval(value: object) -> object:
    """Return a number of steps, or a duration in seconds."""
    steps = re.fullmatch(r"\s*(\d+)\s*steps?\s*", value) if isinstance(value, str) else None
    if steps is None:
        return seconds_of(value)
    if int(steps.group(1)) < 1:
        raise ValueError("expected at least 1 step")
    return int(steps.group(1))


def _as_bytes(value: object) -> object:
    size = bytes_of(value) if isinstance(value, str) else None
    if not size:
        raise ValueError("expected an amount of memory with a unit, for example 2 GiB or 500 MB")
    return size


class CheckpointKeys(_Section):
    """How often a run saves what it needs to go on, how large that may be, and whether its weights are kept."""

    every: Annotated[int | float, BeforeValidator(_as_interval)] = USUAL_SECONDS
    at_most: Annotated[int, BeforeValidator(_as_bytes)] | None = None
    keep_final: bool = False


class HalvingKeys(_Section):
    """Asynchronous successive halving."""

    grace_steps: Annotated[int, Field(ge=1)]
    factor: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 3.0


class StopKeys(_Section):
    """When a run is ended before its last step."""

    diverged: Annotated[float, Field(gt=1, allow_inf_nan=False)] | None = None
    halving: HalvingKeys | None = None


SETTINGS_APART = ("corpus", "command", "entry", "metrics", "loss_unit")  # that stand beside the grid


class SweepKeys(_Section):
    """The keys of a sweep file."""

    name: str = Field(min_length=1)
    family: str
    tags: Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(strict=False)] = ()
    corpus: Any = None
    command: str | list[str | int | float] | None = None
    entry: str | None = None
    metrics: str | None = None
    loss_unit: str | None = None
    grid: dict[Name, Any] = Field(default_factory=dict)
    points: Annotated[tuple[dict[Name, Any], ...], Field(strict=False)] = ()
    sample: dict[Name, str] = Field(default_factory=dict)
    method: Literal["sobol", "random", "latin"] = "sobol"
    sample_seed: int = Field(default=0, ge=0)
    derive: dict[Name, Expression] = Field(default_factory=dict)
    given: dict[Name, Expression] = Field(default_factory=dict)
    exclude: Annotated[tuple[Expression, ...], BeforeValidator(_as_list), Field(strict=False)] = ()
    seeds: Annotated[
        tuple[int, ...], BeforeValidator(_as_seeds), Field(strict=False), AfterValidator(_all_different)
    ] = (0,)
    resources: ResourceKeys = ResourceKeys()
    retries: RetryKeys = RetryKeys()
    timeout: Annotated[float, BeforeValidator(seconds_of)] | None = None
    on_failure: Literal["continue", "stop"] = "continue"
    max_concurrent: Annotated[int, Field(ge=1)] | None = None
    timing: Literal["shared", "exclusive"] = "shared"
    budget: BudgetKeys | None = None
    stop_when: StopKeys | None = None
    checkpoint: CheckpointKeys | None = None
    price: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def limits(self) -> Budget | None:
        """Return what all runs may take together; None for no limit."""
        return None if self.budget is None else Budget(**self.budget.model_dump(), price=self.price)

    def saving(self, weights: Path) -> Saving:
        """Return when runs write checkpoints, and the folder of their final weights where these are kept."""
        keys = self.checkpoint or CheckpointKeys()
        is_steps = isinstance(keys.every, int)
        return Saving(
            seconds=USUAL_SECONDS if is_steps else keys.every,
            steps=int(keys.every) if is_steps else None,
            most_bytes=keys.at_most,
            weights_folder=weights if keys.keep_final else None,
        )

    def rules(self) -> StopWhen | None:
        """Return when a run is ended before its last step; None for never."""
        if self.stop_when is None:
            return None
        halving = self.stop_when.halving
        return StopWhen(self.stop_when.diverged, None if halving is None else Halving(**halving.model_dump()))

    def point_place(self, number: int, name: str) -> Keys:
        """Return where the file says a setting of a point: points that are sampled share their distributions."""
        return ("sample", name) if self.sample else ("points", number, name)

    def apart(self) -> dict[str, Any]:
        """Return the settings that stand beside the grid; only a corpus may be a list of several values."""
        said = {name: getattr(self, name) for name in SETTINGS_APART if getattr(self, name) is not None}
        return {
            name: [value] if isinstance(value, list) and name != "corpus" else value for name, value in said.items()
        }


def parse_keys(document: Document) -> SweepKeys:
    """Return the keys of a document; points that it samples are drawn.

    Raises
    ------
    FileError : for the first key that is unknown, missing or has a wrong value, at its line
    """
    written = dict(document.value)
    number = written.pop("points") if "sample" in written and "points" in written else None
    _check_number(document, number)
    try:
        keys = SweepKeys.model_validate(written)
    except ValidationError as error:
        raise _file_error(document, error) from None
    _check_limits(document, keys)
    if not keys.sample or not isinstance(number, int):
        return keys
    return keys.model_copy(update={"points": sampled(document, keys.sample, number, keys.method, keys.sample_seed)})


def _check_number(document: Document, number: object) -> None:
    """Make sure that `sample` comes with a number of points, and a number of points with `sample`."""
    if document.has("sample"):
        is_number = isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= MOST_SAMPLES
        if not is_number:
            said = "is missing" if number is None else f"is {number!r}"
            place: Keys = ("sample",) if number is None else ("points",)
            raise document.error(place, f"'points' {said}; it says how many are sampled, such as points: 64")
        if not document.value["sample"]:
            raise document.error(("sample",), "'sample' names no setting", "sample: {width: choice(64, 128)}")
        return
    for name in ("method", "sample_seed"):
        if document.has(name):
            raise document.error((name,), f"'{name}' says how to sample, and nothing is sampled: 'sample' is missing")
    if isinstance(document.value.get("points"), int):
        hint = "points: [{width: 64}], or points: 64 beside sample: {width: choice(64, 128)}"
        raise document.error(("points",), "'points' is a number, and nothing is sampled: 'sample' is missing", hint)


def _check_limits(document: Document, keys: SweepKeys) -> None:
    """Make sure that a budget and a rule say something, and that dollars and a price come together."""
    limits = {} if keys.budget is None else keys.budget.model_dump(exclude_none=True)
    if keys.budget is not None and not limits:
        hint = "budget: {flops: 1e15}, {seconds: 3600}, or {dollars: 5} with a price"
        raise document.error(("budget",), "'budget' says no limit", hint)
    if keys.stop_when is not None and keys.rules() == StopWhen():
        hint = "stop_when: {diverged: 3}, or {halving: {grace_steps: 100}}"
        raise document.error(("stop_when",), "'stop_when' has no rule", hint)
    if "dollars" in limits and keys.price is None:
        raise document.error(
            ("budget", "dollars"), "'budget.dollars' needs a price", "price: 2.5, in dollars for an hour of one run"
        )
    if keys.price is not None and "dollars" not in limits:
        raise document.error(
            ("price",), "'price' is for a budget in dollars, and there is none", "budget: {dollars: 5}"
        )


def _file_error(document: Document, error: ValidationError) -> FileError:
    """Return the first thing a validation found, at its line, in our words."""
    first = error.errors()[0]
    keys = first["loc"]
    name = ".".join(str(part) for part in keys)
    match first["type"]:
        case "extra_forbidden":
            known = _keys_at(keys[:-1])
            return document.error(
                keys, f"unknown key '{keys[-1]}'", did_you_mean(str(keys[-1]), known, f"keys: {', '.join(known)}")
            )
        case "missing":
            return document.error((), f"'{name}' is missing")
        case "value_error":
            problem = first["ctx"]["error"]
        case "string_pattern_mismatch":
            return document.error(keys, f"'{keys[-2]}' is not a name: letters, digits and underscores, no digit first")
        case _:
            message = str(first["msg"]).replace("Input should be", "expected")
            problem = message[:1].lower() + message[1:]
    return document.error(keys, f"'{name}' is {first['input']!r}: {problem}")


def _keys_at(location: Sequence[object]) -> list[str]:
    model: type[BaseModel] = SweepKeys
    for part in location:
        annotation: Any = model.model_fields[str(part)].annotation
        annotation = next((each for each in get_args(annotation) if each is not NoneType), annotation)
        if not isinstance(annotation, type) or not issubclass(annotation, BaseModel):
            return []
        model = annotation
    return list(model.model_fields)
