"""Curves whose truth is known, of five forms in turn: what a fit is asked to find the best coefficients on.

Every fifth curve is a power above a floor, a power that ends in a plateau, a power between two bounds, a power with
one or two breaks, and a loss of three inputs: parameters, unique tokens and epochs. Each has 8 to 40 points, 0.1 to
3 % of noise; every third has outliers, of 5 to 30 % on a tenth of the points, and every fourth of the first four forms
begins with a plateau that the form does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.laws import BNSL, BNSL2, BOUNDED_POWER, DATA_CONSTRAINED, KAPLAN, POWER, SATURATING_POWER, Law

Array = NDArray[np.float64]
Generator = np.random.Generator
Planted = tuple[str, Array, Array]  # name of the true law, inputs (R, P), values (R,) without noise
FEWEST, MOST = 8, 40  # points
LOWEST_NOISE, HIGHEST_NOISE = 0.001, 0.03  # deviation of log values
OUTLIERS, OFF = 0.1, (0.05, 0.3)  # share of points [1], and how far off in log values
FLAT = (0.1, 0.3)  # share of the points [1] that lie on an added plateau


@dataclass(frozen=True)
class Curve:
    """A planted curve.

    Parameters
    ----------
    form : name of the law that is true
    inputs : (R, P); one column, or parameters, unique tokens and epochs
    values : (R,) with noise
    """

    form: str
    inputs: Array
    values: Array

    def inputs_of(self, law: Law) -> Array | None:
        """Return the inputs (R, P) of a law, or None where the curve has others."""
        if self.inputs.shape[1] == len(law.inputs):
            return self.inputs
        if self.inputs.shape[1] == 3 and len(law.inputs) == 2:  # with as many tokens as were read
            return np.column_stack([self.inputs[:, 0], self.inputs[:, 1] * self.inputs[:, 2]])
        return None


def curve(number: int) -> Curve:
    """Return the curve of a number, which says its form and seeds it."""
    generator = np.random.default_rng([7, number])
    form, inputs, values = FORMS[number % len(FORMS)](number // len(FORMS), generator)
    if number % 4 == 0 and inputs.shape[1] == 1:
        count = max(2, round(generator.uniform(*FLAT) * len(values)))
        values[:count] = values[count]
    noise = np.exp(generator.uniform(np.log(LOWEST_NOISE), np.log(HIGHEST_NOISE)))
    logs = noise * generator.standard_normal(len(values))
    if number % 3 == 0:
        chosen = generator.random(len(values)) < OUTLIERS
        logs[chosen] += generator.uniform(*OFF, int(chosen.sum())) * generator.choice([-1, 1], int(chosen.sum()))
    return Curve(form, inputs, values * np.exp(logs))


def _sizes(generator: Generator) -> Array:
    """One input (R, 1) over two to five decades, evenly in logarithms or not."""
    count, decades = generator.integers(FEWEST, MOST + 1), generator.uniform(2, 5)
    places = np.linspace(0, 1, count) if generator.random() < 0.5 else np.sort(generator.random(count))
    return np.asarray(10 ** (generator.uniform(3, 7) + decades * places))[:, None]


def _power(number: int, generator: Generator) -> Planted:
    x = _sizes(generator)
    alpha, floor = generator.uniform(0.08, 0.7), generator.choice([0.0, generator.uniform(0.2, 3.0)])
    return _planted(POWER, x, [floor, generator.uniform(1, 6) * x.min() ** alpha, alpha])


def _saturating(number: int, generator: Generator) -> Planted:
    x = _sizes(generator)
    alpha, bend = generator.uniform(0.08, 0.7), np.exp(generator.uniform(*np.log([x.min(), x.max()])))
    return _planted(SATURATING_POWER, x, [generator.uniform(1, 6) * x.min() ** alpha, 1 / bend, alpha])


def _bounded(number: int, generator: Generator) -> Planted:
    x = _sizes(generator)
    alpha, gamma, low = generator.uniform(0.2, 1.0), np.exp(generator.uniform(-1.5, 1.5)), generator.uniform(0.1, 2.0)
    bend = np.exp(np.quantile(np.log(x), generator.uniform(0, 0.6)))
    return _planted(BOUNDED_POWER, x, [low, low + generator.uniform(1, 6), bend**alpha, alpha, gamma])


def _broken(number: int, generator: Generator) -> Planted:
    x = _sizes(generator)
    breaks = 1 + number % 2
    places = np.exp(np.log(x.min()) + np.ptp(np.log(x)) * np.sort(generator.uniform(0.1, 0.9, breaks)))
    floor, slope = generator.choice([0.0, generator.uniform(0.2, 2.0)]), generator.uniform(0.0, 0.3)
    parts = []
    for place, sign in zip(places, (1, -1), strict=False):  # a second break bends back
        parts += [sign * generator.uniform(0.1, 0.5), place, np.exp(generator.uniform(*np.log([0.03, 1.0])))]
    return _planted((BNSL, BNSL2)[breaks - 1], x, [floor, generator.uniform(1, 6) * x.min() ** slope, slope, *parts])


def _of_three_inputs(number: int, generator: Generator) -> Planted:
    count = generator.integers(FEWEST + 4, MOST + 1)
    low, high = np.log([[1e7, 1e8], [3e9, 1e11]])
    sizes = np.exp(generator.uniform(low, high, (count, 2)))
    epochs = np.where(generator.random(count) < 0.4, 1.0, np.exp(generator.uniform(0, np.log(60), count)))
    inputs = np.column_stack([sizes, epochs])
    if number % 2:
        tokens = np.column_stack([inputs[:, 0], inputs[:, 1] * inputs[:, 2]])  # a repeated one is worth a fresh one
        return (
            KAPLAN.name,
            inputs,
            np.asarray(KAPLAN.predict(np.array([8.8e13, 5.4e13, *generator.uniform(0.05, 0.15, 2)]), tokens)),
        )
    constants = [generator.uniform(0.5, 2.0), generator.uniform(200, 600), generator.uniform(500, 2000)]
    return _planted(DATA_CONSTRAINED, inputs, [*constants, *generator.uniform(0.28, 0.4, 2), 15.4, 5.3])


def _planted(law: Law, inputs: Array, coefficients: list[float]) -> Planted:
    return law.name, inputs, np.asarray(law.predict(np.array(coefficients), inputs))


FORMS: tuple[Callable[[int, Generator], Planted], ...] = (
    _power,
    _saturating,
    _bounded,
    _broken,
    _of_three_inputs,
)
