"""Programs whose runs are networks that train one after another, so that their bits depend on no other run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Network(Protocol):
    """One run."""

    def advance(self) -> None:
        """Take one step."""

    def measure(self) -> Mapping[str, float]:
        """Return every metric now."""

    def state(self) -> dict[str, Any]:
        """Return what continues the run exactly, as arrays."""

    def restore(self, step: int, state: Mapping[str, Any]) -> None:
        """Continue from a state after `step` steps."""

    def results(self) -> dict[str, float]:
        """Return further facts."""


N = TypeVar("N", bound=Network)


class OneByOne(Generic[N]):
    """The program of R networks of one shape.

    Parameters
    ----------
    networks : before their first step
    metrics : names of what is measured
    """

    def __init__(self, networks: Sequence[N], metrics: Iterable[str]) -> None:
        self.networks = networks
        self._metrics = tuple(metrics)

    def advance(self, num_steps: int) -> None:
        """Take `num_steps` steps in every run; one that grows without bound overflows quietly."""
        with np.errstate(over="ignore", invalid="ignore"):
            for network in self.networks:
                for _ in range(num_steps):
                    network.advance()

    def measure(self) -> dict[str, Floats]:
        """Return what is measured of every run now, each (R,)."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            rows = [network.measure() for network in self.networks]
        return {name: np.array([row[name] for row in rows]) for name in self._metrics}

    def state(self, run: int) -> dict[str, Any]:
        """Return what continues one run."""
        return self.networks[run].state()

    def restore(self, step: int, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue every run from its state after `step` steps."""
        for network, state in zip(self.networks, states, strict=True):
            network.restore(step, state)

    def results(self, run: int) -> dict[str, float]:
        """Return further facts about one run."""
        return self.networks[run].results()
