"""A family: an experiment that takes steps, each of which sees so many tokens."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from isoflop.lakehouse.runs.records import RunRecord
from isoflop.workers.components import Scalar
from isoflop.workers.families.experiment import Experiment
from isoflop.workers.families.refusal import wrong_field


def _rounded(value: object) -> object:
    """Let a count be computed: 1.5e6 / 64 tokens are a whole number of tokens."""
    return round(value) if isinstance(value, float) and np.isfinite(value) else value


Count = Annotated[int, BeforeValidator(_rounded)]


class Family(Experiment):
    """An experiment with steps and tokens.

    `tokens` or `steps` says how long the run is. It is rounded to whole steps, at least one, and both
    fields are filled in.
    """

    length_settings: ClassVar[tuple[str, ...]] = ("tokens", "steps")
    unidentifying: ClassVar[tuple[str, ...]] = ("seed", "steps")

    # The constructor fills in both, whichever of the two it was given.
    tokens: Count = Field(default=None, gt=0, description="training tokens, in whole steps")  # type: ignore[assignment]
    steps: int = Field(default=None, gt=0, description="optimizer steps; or tokens")  # type: ignore[assignment]

    @property
    @abstractmethod
    def batch_tokens(self) -> int:
        """Tokens (samples, for a family without sequences) of one step."""

    @property
    def length(self) -> int:
        """The steps of the run."""
        return self.steps

    def record(self) -> RunRecord:
        """Return what is known of this run before it trains."""
        return replace(super().record(), tokens=self.tokens)

    def shown(self) -> dict[str, Scalar]:
        """Return params, tokens, steps and FLOPs."""
        shown = super().shown()
        return {"params": shown.pop("params"), "tokens": self.tokens, **shown}

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
