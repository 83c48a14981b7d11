"""A family as an installed package has it: how a signal goes through the layers of a random network.

Nothing is trained, so there are no steps, no tokens, no loss and no FLOPs that anybody counted; the axis is the layer.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field

from isoflop.lakehouse.models.counts import Counts
from isoflop.workers.devices import Device
from isoflop.workers.families import PackedExperiment, Program


class RandomLayers(PackedExperiment):
    """Two inputs through layers of random matrices and tanh: their sizes and their overlap."""

    name: ClassVar[str] = "random_layers"
    axis: ClassVar[str] = "layer"
    example: ClassVar[Mapping[str, object]] = {"width": 32, "depth": 12}
    length_settings: ClassVar[tuple[str, ...]] = ()

    width: int = Field(ge=1, description="of every layer")
    depth: int = Field(ge=1, description="layers")
    gain: float = Field(default=1.0, gt=0, description="standard deviation of a matrix's entries times sqrt(width)")

    @property
    def length(self) -> int:
        return self.depth

    def metrics(self) -> Mapping[str, str]:
        return {"squared_length": "1", "cosine": "1"}

    def counts(self) -> Counts:
        return Counts(params=self.depth * self.width**2)

    def pack_key(self) -> Hashable:
        return (self.name, self.width, self.depth)

    @classmethod
    def program(cls, runs: Sequence[Self], device: Device) -> Program:
        return _Signals(runs)


class _Signals:
    def __init__(self, runs: Sequence[RandomLayers]) -> None:
        self._runs = runs
        self._layer = 0
        self._signals = [np.random.default_rng([run.seed, 0]).standard_normal((run.width, 2)) for run in runs]

    def advance(self, num_steps: int) -> None:
        for layer in range(self._layer + 1, self._layer + num_steps + 1):
            for number, run in enumerate(self._runs):
                matrix = np.random.default_rng([run.seed, layer]).standard_normal((run.width, run.width))
                self._signals[number] = np.tanh(run.gain / np.sqrt(run.width) * matrix @ self._signals[number])
        self._layer += num_steps

    def measure(self) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
        gram = [signals.T @ signals / len(signals) for signals in self._signals]
        return {
            "squared_length": np.array([each[0, 0] for each in gram]),
            "cosine": np.array([each[0, 1] / np.sqrt(each[0, 0] * each[1, 1]) for each in gram]),
        }

    def state(self, run: int) -> dict[str, Any]:
        return {"signals": self._signals[run].copy()}

    def restore(self, step: int, states: Sequence[Mapping[str, Any]]) -> None:
        self._layer = step
        self._signals = [np.array(state["signals"]) for state in states]

    def results(self, run: int) -> dict[str, float]:
        return {}
