"""What a trainable family is: a validated, frozen config that knows its costs and its record.

Two kinds of family exist, and `train` tells them apart by their class:

- a `GradientFamily` builds a torch model, batches and a loss; one run trains at a time on one device;
- a `PackedFamily` is a small program of its own that advances many runs at once.

The fields of a family are the keys of a sweep file and the columns of `runs`. Nothing here imports torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from isoflop.lakehouse.errors import RecordError, nearest
from isoflop.lakehouse.models.counts import Counts
from isoflop.lakehouse.runs.records import RunRecord

if TYPE_CHECKING:
    import torch

    from isoflop.workers.corpora import Corpus
    from isoflop.workers.devices import Device

Scalar = int | float | str | bool | None
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


def wrong_field(field: str, problem: str) -> PydanticCustomError:
    """Return the validation error of one field; raised inside any pydantic validator."""
    return PydanticCustomError("config", "{problem}", {"field": field, "problem": f"'{field}' {problem}"})


def _rounded(value: object) -> object:
    """Let a count be computed: 1.5e6 / 64 tokens are a whole number of tokens."""
    return round(value) if isinstance(value, float) and np.isfinite(value) else value


Count = Annotated[int, BeforeValidator(_rounded)]


class Family(BaseModel, ABC):
    """A config of one run: its fields are sweep-file keys and columns of `runs`.

    `tokens` or `steps` says how long the run is. It is rounded to whole steps, at least one, and both
    fields are filled in.

    Raises
    ------
    pydantic.ValidationError : from the constructor; `parse` raises `ConfigError` with one clear sentence
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=False)

    name: ClassVar[str]

    seed: int = Field(default=0, ge=0, description="of the initial weights and the order of the data")
    # The constructor fills in both, whichever of the two it was given.
    tokens: Count = Field(default=None, gt=0, description="training tokens, in whole steps")  # type: ignore[assignment]
    steps: int = Field(default=None, gt=0, description="optimiser steps; or tokens")  # type: ignore[assignment]

    @property
    @abstractmethod
    def batch_tokens(self) -> int:
        """Tokens (samples, for a family without sequences) of one step."""

    @abstractmethod
    def counts(self) -> Counts:
        """Return what a step costs, without building anything."""

    def config(self) -> dict[str, Scalar]:
        """Return every setting that changes the result, as scalars, without the seed."""
        return self.model_dump(exclude={"seed", "steps"})

    def extra(self) -> dict[str, Scalar]:
        """Return columns of `runs` that follow from the config and are not part of the run's identity."""
        return {}

    def record(self) -> RunRecord:
        """Return what is known of this run before it trains."""
        counts = self.counts()
        return RunRecord(
            family=self.name,
            config=self.config(),
            seed=self.seed,
            extra=self.extra(),
            params=counts.params,
            params_non_embedding=counts.params_non_embedding,
            tokens=self.tokens,
            steps=self.steps,
            flops=self.steps * counts.flops_per_step,
            memcpy_bytes=self.steps * counts.memcpy_bytes_per_step,
        )

    def pack_key(self) -> Hashable | None:
        """Return what runs of one pack have in common, or None for a run that trains alone."""
        return None

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> Self:
        """Return the family of a config read from a file.

        Raises
        ------
        ConfigError : with the offending field, what it is and what it may be
        """
        try:
            return cls.model_validate(dict(config))
        except ValidationError as error:
            raise config_error(cls, error) from error

    @classmethod
    def counts_of(cls, config: Mapping[str, Any]) -> Counts:
        """Return the costs of a config that does not say yet how long it trains.

        Raises
        ------
        ConfigError : as `parse`
        """
        shape = {key: value for key, value in config.items() if key not in ("tokens", "steps")}
        return cls.parse({**shape, "steps": 1}).counts()

    @model_validator(mode="after")
    def _fill_in_length(self) -> Self:
        tokens, steps = self.__dict__["tokens"], self.__dict__["steps"]
        if tokens is None and steps is None:
            raise wrong_field("tokens", "is missing; a run needs tokens or steps")
        whole = max(1, round(tokens / self.batch_tokens)) if tokens is not None else steps
        if steps is not None and steps != whole:
            raise wrong_field("steps", f"is {steps}, but {tokens} tokens are {whole} steps; give one of the two")
        object.__setattr__(self, "steps", whole)
        object.__setattr__(self, "tokens", whole * self.batch_tokens)
        return self


class GradientFamily(Family):
    """A family trained by back-propagation with AdamW: the recipe's fields and the four parts of a model."""

    batch_size: int = Field(default=16, ge=1, description="sequences a step, over all micro-batches")
    micro_batches: int = Field(default=1, ge=1, description="forward and backward passes a step; divides batch_size")
    learning_rate: float = Field(default=3e-3, gt=0, description="peak, after warm-up")
    warmup_fraction: float = Field(default=0.02, ge=0, le=1, description="of the steps, rising linearly")
    final_learning_rate_fraction: float = Field(default=0.1, ge=0, le=1, description="of the peak, at the last step")
    weight_decay: float = Field(default=0.1, ge=0, description="decoupled, of matrices only")
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    gradient_clip: float | None = Field(default=1.0, gt=0, description="largest global norm; null for none")
    precision: Literal["float32", "bfloat16"] = Field(default="float32", description="of activations and products")
    compile: bool = Field(default=False, description="whether torch.compile builds the model's kernels")
    parametrization: Literal["standard"] = Field(default="standard", description="scheme of initial scales and rates")

    @field_validator("micro_batches")
    @classmethod
    def _divides_the_batch(cls, value: int, info: ValidationInfo) -> int:
        return divides("micro_batches", value, "batch_size", info)

    @abstractmethod
    def open_corpus(self) -> Corpus:
        """Return the data, opened."""

    @abstractmethod
    def build(self, device: Device, generator: torch.Generator) -> torch.nn.Module:
        """Return the model on `device`, its weights drawn from `generator` (a CPU one, so alike everywhere)."""

    @abstractmethod
    def batches(self, corpus: Corpus, *, first_step: int = 0) -> Iterator[NDArray[np.int64]]:
        """Yield the batch of each step from `first_step` on; a batch depends on the seed and its step only."""

    @abstractmethod
    def loss(self, model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        """Return the mean training loss of a batch [nat/token], a scalar."""

    @abstractmethod
    def validation_batches(self, corpus: Corpus) -> list[NDArray[np.int64]]:
        """Return the held-out batches, the same for every run on this corpus; empty if there are none."""

    @abstractmethod
    def loss_of_knowing_nothing(self) -> float:
        """Return the loss of a uniform guess [nat/token], the yardstick of divergence."""


class Program(Protocol):
    """Runs of a packed family, advancing together; the losses of R runs are an (R,) array."""

    initial_losses: NDArray[np.float64]

    def advance(self, num_steps: int) -> None:
        """Take `num_steps` steps in every run."""

    def losses(self) -> NDArray[np.float64]:
        """Return the loss of every run now, (R,)."""

    def state(self, run: int) -> dict[str, Any]:
        """Return what continues one run exactly, as arrays."""

    def restore(self, step: int, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue every run from its state after `step` steps."""

    def results(self, run: int) -> dict[str, float]:
        """Return further facts about one run, for its `results`."""


class PackedFamily(Family):
    """A family whose runs are so small that many advance in one program."""

    @classmethod
    @abstractmethod
    def program(cls, runs: Sequence[Self]) -> Program:
        """Return the program of runs with equal pack keys; each run's numbers do not depend on the others."""


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


def config_error(family: type[Family], error: ValidationError) -> ConfigError:
    """Return the first problem of a config as one sentence: the value seen, what was expected, what to do."""
    problems = sorted(error.errors(), key=lambda problem: problem["type"] in ("default_factory_not_called", "missing"))
    problem = problems[0]
    kind, context, seen = problem["type"], problem.get("ctx", {}), problem["input"]
    field = ".".join(_path(problem["loc"]))
    if kind == "config":
        return ConfigError(str(context["problem"]), str(context["field"]))
    if kind == "missing":
        return ConfigError(f"'{field}' is missing; a {family.name} needs it", field)
    if kind == "extra_forbidden":
        known = list(family.model_fields)
        best = nearest(field.rpartition(".")[2], known)
        hint = f"did you mean '{best}'?" if best else f"its fields are {', '.join(known)}"
        return ConfigError(f"'{field}' is not a field of {family.name}", field, hint=hint)
    return ConfigError(f"'{field}' is {seen!r}; {_expected(problem['msg'])}", field)


def _path(location: tuple[int | str, ...]) -> list[str]:
    """The keys of a pydantic location, without the tag of a union (`corpus`, `bytes`, `source`)."""
    keys = [str(part) for part in location]
    return [keys[0], *keys[2:]] if len(keys) > 2 else keys


def _expected(message: str) -> str:
    """Pydantic's sentence in the words of this code: `Input should be …` reads `it should be …`."""
    start = message.partition(",")[0]
    for theirs, ours in PLAIN_WORDS:
        start = start.replace(theirs, ours)
    return start[:1].lower() + start[1:]
