"""Worlds whose law is known: runs up to some size to fit, and larger ones to hold the forecast against.

Ten worlds, each with as many draws as wanted. In six the fitted law is the true one; in four it is not, because the
curve bends, the terms interact or the scatter drifts with size, as real losses do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.laws import CHINCHILLA, KAPLAN, POWER, Law
from isoflop.queries.laws.shifted_power import SHIFTED_POWER

Array = NDArray[np.float64]
Generator = np.random.Generator


@dataclass(frozen=True)
class Sample:
    """Rows to fit and larger rows to predict: inputs (R, P) and measured values (R,) of each."""

    law: Law
    inputs: Array
    values: Array
    larger_inputs: Array
    larger_values: Array


@dataclass(frozen=True)
class World:
    """A true curve, its scatter and the law that is fitted to it.

    Parameters
    ----------
    name : for the table
    law : what is fitted
    is_true : whether the curve is of that law
    curve : the true values (R,) of inputs (R, P), with this draw's coefficients
    num_rows : rows to fit
    ranges : (P) natural logarithms of the lowest and largest input fitted on
    beyond : natural logarithm of how far larger runs reach beyond
    noise : scatter of log values (R,) in the order of size
    """

    name: str
    law: Law
    is_true: bool
    curve: Callable[[Array, Generator], Array]
    num_rows: int
    ranges: tuple[tuple[float, float], ...]
    beyond: float
    noise: Callable[[int, Generator], Array]

    def draw(self, seed: int, num_larger: int = 12) -> Sample:
        """Return one draw: coefficients, sizes and scatter all depend on the seed."""
        generator = np.random.default_rng(seed)
        low, high = np.array(self.ranges).T
        small = generator.uniform(low, high, (self.num_rows, len(low)))
        corner = generator.uniform(high - 0.3 * (high - low), high + self.beyond, (40 * num_larger, len(low)))
        large = corner[corner.sum(axis=1) > small.sum(axis=1).max()][:num_larger]
        logs = np.concatenate([small, large])
        order = np.argsort(logs.sum(axis=1))
        values = np.empty(len(logs))
        values[order] = self.curve(np.exp(logs[order]), generator) * np.exp(self.noise(len(logs), generator))
        inputs = np.exp(logs)
        count = self.num_rows
        return Sample(self.law, inputs[:count], values[:count], inputs[count:], values[count:])


def _around(values: tuple[float, ...], generator: Generator) -> Array:
    """Coefficients spread by 7 % around typical ones."""
    return np.array(values) * np.exp(generator.normal(0, 0.07, len(values)))


def _normal(scale: float) -> Callable[[int, Generator], Array]:
    return lambda count, generator: generator.normal(0, scale, count)


def _heavy(scale: float) -> Callable[[int, Generator], Array]:
    return lambda count, generator: scale * generator.standard_t(3, count)


def _drifting(scale: float) -> Callable[[int, Generator], Array]:
    """Scatter that a run shares with runs of nearly its size."""

    def noise(count: int, generator: Generator) -> Array:
        walk = np.zeros(count)
        for k in range(1, count):
            walk[k] = 0.8 * walk[k - 1] + 0.6 * generator.normal(0, scale)
        return walk + generator.normal(0, 0.5 * scale, count)

    return noise


def _of(law: Law, *values: float) -> Callable[[Array, Generator], Array]:
    return lambda inputs, generator: np.asarray(law.predict(_around(values, generator), inputs))


def _bend(inputs: Array, generator: Generator) -> Array:
    """A power whose exponent falls by a third over a few decades."""
    floor, scale, slope, place = _around((1.5, 60.0, 0.25, 2e8), generator)
    x = inputs[:, 0]
    return np.asarray(floor + scale / x**slope * (1 + x / place) ** (slope / 3))


def _interacting(inputs: Array, generator: Generator) -> Array:
    """A floor, two powers, and a third that needs both parameters and tokens."""
    floor, first, second, third = _around((1.7, 350.0, 1200.0, 60.0), generator)
    params, tokens = inputs.T
    return np.asarray(floor + first / params**0.34 + second / tokens**0.36 + third / (params * tokens) ** 0.12)


ONE = ((13.8, 20.7),)  # 1e6 to 1e9
TWO = ((16.1, 20.7), (18.4, 23.0))  # 1e7 to 1e9 params, 1e8 to 1e10 tokens
HOFFMANN = (1.82, 480.0, 2140.0, 0.348, 0.366)

WORLDS = (
    World("power", POWER, True, _of(POWER, 1.7, 400.0, 0.33), 24, ONE, 2.3, _normal(0.004)),
    World("power, few rows", POWER, True, _of(POWER, 1.7, 60.0, 0.25), 12, ONE, 2.3, _normal(0.006)),
    World("shifted power", SHIFTED_POWER, True, _of(SHIFTED_POWER, 1.7, 400.0, 1e6, 0.33), 30, ONE, 2.3,
          _normal(0.004)),
    World("chinchilla", CHINCHILLA, True, _of(CHINCHILLA, *HOFFMANN), 60, TWO, 1.5, _normal(0.003)),
    World("chinchilla, few rows", CHINCHILLA, True, _of(CHINCHILLA, *HOFFMANN), 20, TWO, 1.5, _normal(0.008)),
    World("chinchilla, heavy tails", CHINCHILLA, True, _of(CHINCHILLA, *HOFFMANN), 40, TWO, 1.5, _heavy(0.004)),
    World("power on a bend", POWER, False, _bend, 30, ONE, 2.3, _normal(0.003)),
    World("chinchilla on kaplan", CHINCHILLA, False, _of(KAPLAN, 8.8e13, 5.4e13, 0.076, 0.095), 50, TWO, 1.5,
          _normal(0.003)),
    World("chinchilla, terms interact", CHINCHILLA, False, _interacting, 50, TWO, 1.5, _normal(0.003)),
    World("chinchilla, scatter drifts", CHINCHILLA, False, _of(CHINCHILLA, *HOFFMANN), 50, TWO, 1.5, _drifting(0.006)),
)  # fmt: skip
