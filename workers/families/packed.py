"""Experiments whose runs are so small that many advance in one program of their own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from isoflop.workers.devices import Device, Processor
from isoflop.workers.families.experiment import Experiment
from isoflop.workers.families.family import Family
from isoflop.workers.outcome import TrainOptions

Measured = Mapping[str, NDArray[np.float64]]


class Program(Protocol):
    """R runs that advance together along the axis of their experiment."""

    def advance(self, num_steps: int) -> None:
        """Go `num_steps` further in every run."""

    def measure(self) -> Measured:
        """Return what the experiment's `metrics` name, for every run now, each (R,).

        Beside a `loss`, NaN says that a metric has no value yet, and nothing is logged of it; a loss that is NaN has
        diverged, as has any metric where there is no loss.
        """

    def state(self, run: int) -> dict[str, Any]:
        """Return what continues one run exactly, as arrays."""

    def restore(self, step: int, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue every run from its state after `step` steps."""

    def results(self, run: int) -> dict[str, float]:
        """Return further facts about one run, for its `results`."""


class PackedExperiment(Experiment):
    """An experiment that is a program; a run's numbers do not depend on which others are beside it."""

    @classmethod
    @abstractmethod
    def program(cls, runs: Sequence[Self], device: Device) -> Program:
        """Return the program of runs with equal pack keys, before its first step."""

    @classmethod
    def device(cls, options: TrainOptions) -> Device:
        """Return where the program computes, and whose clock times it: one core, unless a family says otherwise."""
        return Processor()


class PackedFamily(PackedExperiment, Family):
    """A packed experiment with steps and tokens."""
