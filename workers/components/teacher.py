"""The task of learning a linear function of power-law data, mode by mode."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from isoflop.workers.components.component import Component


class Teacher(Component):
    """A linear target of Gaussian data whose modes fall as powers of their number."""

    short_field: ClassVar[str | None] = None

    spectrum_exponent: float = Field(ge=0, description="alpha, of the data's standard deviations")
    target_exponent: float = Field(ge=0, description="beta, of the target's coefficients")


class DecayingTeacher(Teacher):
    """A teacher whose modes do fall."""

    spectrum_exponent: float = Field(gt=0, description="alpha, of the data's standard deviations")


class RoughTeacher(DecayingTeacher):
    """A decaying teacher of any target: one whose coefficients grow from mode to mode makes a hard task."""

    target_exponent: float = Field(description="beta, of the target's coefficients; negative where they grow")
