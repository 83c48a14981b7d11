"""Fifteen kinds of truth, each asked 1 to 1,000 times beyond the runs: what an interval beyond the runs has to hold.

Some truths are the fitted law; most are not, as real losses are not: terms interact, a floor lies elsewhere, a power
bends or breaks, scatter drifts, sizes are noisy, sizes lie close together, runs come in clusters or as whole curves.
Reach is in training compute over the largest that was spent; a law of one input is asked that many times beyond it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.laws import CHINCHILLA, KAPLAN, POWER, Law, find_law

Array = NDArray[np.float64]
Generator = np.random.Generator
Curve = Callable[[Array], Array]

REACHES = ((1.0, 3.0), (3.0, 10.0), (10.0, 100.0), (100.0, 1000.0))  # compute over the largest trained [1]
ASKED = 3  # places asked in each range of reach
TARGET_RATIOS = (10.0, 60.0)  # tokens per parameter of the runs asked for [1]


@dataclass(frozen=True)
class Drawn:
    """One draw of a world.

    Parameters
    ----------
    law : what is fitted
    inputs, values : (R, P) and (R,) rows to fit
    asked : (len(REACHES) * ASKED, P) inputs of larger runs, in the order of `REACHES`
    truth : (len(asked),) their values without scatter
    measured : (len(asked),) their values with it
    groups : (R,) the run of each row where runs have several rows, otherwise None
    """

    law: Law
    inputs: Array
    values: Array
    asked: Array
    truth: Array
    measured: Array
    groups: list[str] | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of truth: its name, whether the fitted law is the true one, and how it is drawn from a seed."""

    name: str
    is_true: bool
    draw: Callable[[Generator], Drawn]


def _grid(generator: Generator) -> Array:
    """Rows of three sorts that people train: a grid of ratios, isoFLOP budgets, or sizes and tokens at will."""
    largest = np.exp(generator.uniform(np.log(2e8), np.log(1.5e9)))
    sort = generator.integers(3)
    if sort == 0:
        sizes = np.geomspace(largest / generator.uniform(15, 60), largest, generator.integers(5, 9))
        return np.array([(n, n * ratio) for n in sizes for ratio in (5.0, 20.0, 80.0)])
    if sort == 1:
        budgets = 120 * largest**2 * np.geomspace(1 / generator.uniform(50, 500), 1, generator.integers(4, 7))
        return np.array([(n, c / 6 / n) for c in budgets for n in np.sqrt(c / 120) * np.geomspace(1 / 4, 4, 7)])
    logs = generator.uniform(0, 1, (generator.integers(24, 60), 2))
    sizes = largest * np.exp(-np.log(60) * logs[:, 0])
    return np.column_stack([sizes, sizes * 5 * np.exp(np.log(20) * logs[:, 1])])


def _beyond(inputs: Array, generator: Generator) -> Array:
    """Places with a usual ratio of tokens to parameters, each range of reach in turn."""
    compute = inputs.prod(axis=1).max()
    places = []
    for low, high in REACHES:
        for _ in range(ASKED):
            ratio, times = (np.exp(generator.uniform(np.log(a), np.log(b))) for a, b in (TARGET_RATIOS, (low, high)))
            places.append((np.sqrt(compute * times / ratio), np.sqrt(compute * times * ratio)))
    return np.array(places)


def _line(generator: Generator) -> Array:
    """Sizes of a law of one input over two to three decades."""
    largest = np.exp(generator.uniform(np.log(1e8), np.log(3e9)))
    return np.geomspace(largest / 10 ** generator.uniform(2, 3), largest, generator.integers(9, 25))[:, None]


def _ahead(inputs: Array, generator: Generator) -> Array:
    logs = [generator.uniform(np.log(low), np.log(high)) for low, high in REACHES for _ in range(ASKED)]
    return np.asarray(inputs.max() * np.exp(logs))[:, None]


def _noise(generator: Generator) -> float:
    """Scatter of log losses between what a repeated seed gives and what careless runs give."""
    return float(np.exp(generator.uniform(np.log(0.002), np.log(0.01))))


def _scattered(values: Array, generator: Generator, scale: float) -> Array:
    """Values (R,) with normal scatter of their logarithms."""
    return np.asarray(values * np.exp(generator.normal(0, scale, len(values))))


def _two(curve: Callable[[Generator], Curve], law: Law = CHINCHILLA) -> Callable[[Generator], Drawn]:
    """Independent rows of parameters and tokens."""

    def draw(generator: Generator) -> Drawn:
        inputs, true = _grid(generator), curve(generator)
        asked, noise = _beyond(inputs, generator), _noise(generator)
        values, later = (_scattered(true(places), generator, noise) for places in (inputs, asked))
        return Drawn(law, inputs, values, asked, true(asked), later)

    return draw


def _one(curve: Callable[[Generator], Curve], law: Law = POWER) -> Callable[[Generator], Drawn]:
    """Independent rows of one input."""

    def draw(generator: Generator) -> Drawn:
        inputs = _line(generator)
        true, asked, noise = curve(generator), _ahead(inputs, generator), _noise(generator)
        values, later = (_scattered(true(places), generator, noise) for places in (inputs, asked))
        return Drawn(law, inputs, values, asked, true(asked), later)

    return draw


def _chinchilla(generator: Generator) -> Curve:
    floor, a, b = generator.uniform(1.4, 2.0), generator.uniform(0.28, 0.4), generator.uniform(0.28, 0.4)
    first = generator.uniform(0.25, 0.8) * (1e8) ** a  # what is left to gain at 1e8 parameters [nat/token]
    second = generator.uniform(0.25, 0.8) * (2e9) ** b
    return lambda x: np.asarray(floor + first / x[:, 0] ** a + second / x[:, 1] ** b)


def _interacting(generator: Generator) -> Curve:
    plain, size = _chinchilla(generator), generator.uniform(0.05, 0.15)
    first, second = generator.uniform(0.1, 0.3, 2)
    return lambda x: np.asarray(plain(x) + size * (1e8 / x[:, 0]) ** first * (2e9 / x[:, 1]) ** second)


def _bracket(generator: Generator, floor: float) -> Curve:
    a, b = generator.uniform(0.07, 0.12, 2) if floor == 0 else generator.uniform(0.2, 0.4, 2)
    size = generator.uniform(2.5, 3.2) if floor == 0 else generator.uniform(0.5, 1.2)

    def curve(x: Array) -> Array:
        left = (1e8 / x[:, 0]) ** (a / b) + (2e9 / x[:, 1])
        return np.asarray(floor + size * (left / 2) ** b)

    return curve


def _kaplan(generator: Generator) -> Curve:
    return _bracket(generator, 0.0)


def _kaplan_floor(generator: Generator) -> Curve:
    return _bracket(generator, generator.uniform(1.2, 1.9))


def _broken(generator: Generator) -> Curve:
    """A law of two powers of which that of parameters becomes flatter or steeper within the rows."""
    floor, a, b = generator.uniform(1.4, 2.0), generator.uniform(0.25, 0.4), generator.uniform(0.28, 0.4)
    place, turn = np.exp(generator.uniform(np.log(5e7), np.log(2e8))), generator.uniform(-0.12, 0.12)
    first, second = generator.uniform(0.25, 0.8, 2)

    def curve(x: Array) -> Array:
        bend = ((1 + x[:, 0] / place) / 2) ** -turn
        return np.asarray(floor + first * (x[:, 0] / 1e8) ** -a * bend + second * (x[:, 1] / 2e9) ** -b)

    return curve


def _nqs(generator: Generator) -> Curve:
    """A loss whose two powers saturate each other: a sum over modes that are learnt one after the other."""
    floor, decay, slowness = generator.uniform(1.4, 2.0), generator.uniform(0.25, 0.4), generator.uniform(0.7, 1.1)
    modes, size = np.geomspace(1, 1e13, 500), generator.uniform(0.6, 1.4)
    weight = modes**-decay  # of the modes in a factor of e
    slowest = 2e9 * np.exp(generator.uniform(-1, 1)) / 1e8**slowness  # tokens a mode takes, over mode ^ slowness

    def left(x: Array) -> Array:
        learnt = 1 / (1 + modes[None] / x[:, :1]) * -np.expm1(-x[:, 1:] / slowest / modes[None] ** slowness)
        return np.asarray(((1 - learnt) * weight).sum(axis=1))

    usual = float(left(np.array([[1e8, 2e9]]))[0])
    return lambda x: np.asarray(floor + size * left(x) / usual)


def _repeating(generator: Generator) -> Curve:
    """Tokens of which those beyond a limit within the rows are worth ever less."""
    plain = _chinchilla(generator)
    unique = np.exp(generator.uniform(np.log(2e10), np.log(1e11)))

    def curve(x: Array) -> Array:
        epochs = np.maximum(x[:, 1] / unique - 1, 0)
        worth = np.minimum(x[:, 1], unique) + unique * 15 * -np.expm1(-epochs / 15)
        return plain(np.column_stack([x[:, 0], worth]))

    return curve


def _drifting(generator: Generator) -> Drawn:
    """Scatter that a run shares with runs of nearly its size, the ones asked for too."""
    inputs, true, scale = _grid(generator), _chinchilla(generator), _noise(generator)
    asked = _beyond(inputs, generator)
    every = np.concatenate([inputs, asked])
    walk, values = 0.0, np.empty(len(every))
    for row in np.argsort(every.prod(axis=1)):
        walk = 0.9 * walk + np.sqrt(1 - 0.81) * generator.normal(0, scale)
        values[row] = walk + 0.3 * generator.normal(0, scale)
    measured = true(every) * np.exp(values)
    return Drawn(CHINCHILLA, inputs, measured[: len(inputs)], asked, true(asked), measured[len(inputs) :])


def _noisy_sizes(generator: Generator) -> Drawn:
    """Counts that leave out what differs from run to run: embeddings, heads, a last partial epoch."""
    inputs, true, scale = _grid(generator), _chinchilla(generator), _noise(generator)
    asked = _beyond(inputs, generator)
    meant = inputs * np.exp(generator.normal(0, 0.08, inputs.shape))
    values = _scattered(true(meant), generator, scale)
    later = _scattered(true(asked), generator, scale)
    return Drawn(CHINCHILLA, inputs, values, asked, true(asked), later)


def _heavy_tails(generator: Generator) -> Drawn:
    inputs, true, scale = _grid(generator), _chinchilla(generator), _noise(generator)
    asked = _beyond(inputs, generator)
    values = true(inputs) * np.exp(scale * generator.standard_t(2.5, len(inputs)))
    later = true(asked) * np.exp(scale * generator.standard_t(2.5, len(asked)))
    return Drawn(CHINCHILLA, inputs, values, asked, true(asked), later)


def _narrow(generator: Generator) -> Drawn:
    """Five sizes within a factor of 1.2, many lengths of training; one shift for each size."""
    true, middle = _chinchilla(generator), np.exp(generator.uniform(np.log(5e7), np.log(5e8)))
    rows, runs, values = [], [], []
    for run, params in enumerate(middle * np.linspace(0.9, 1.08, 5)):
        tokens = params * np.geomspace(20, 400, 12)
        inputs = np.column_stack([np.full(12, params), tokens])
        values.append(true(inputs) * np.exp(generator.normal(0, 0.002) + generator.normal(0, 0.001, 12)))
        rows.append(inputs)
        runs += [f"run {run}"] * 12
    inputs = np.concatenate(rows)
    asked = _beyond(inputs, generator)
    later = _scattered(true(asked), generator, 0.002)
    return Drawn(CHINCHILLA, inputs, np.concatenate(values), asked, true(asked), later, runs)


def _clustered(generator: Generator) -> Drawn:
    """Runs with a shift of their own, each measured at several of its checkpoints."""
    inputs, true, scale = _grid(generator), _chinchilla(generator), _noise(generator)
    shifts = generator.normal(0, scale, len(inputs))
    shares = np.array([0.4, 0.6, 0.8, 1.0])
    many = np.concatenate([np.column_stack([inputs[:, 0], inputs[:, 1] * share]) for share in shares])
    values = true(many) * np.exp(np.tile(shifts, len(shares)) + generator.normal(0, 0.3 * scale, len(many)))
    asked = _beyond(many, generator)
    runs = [f"run {run}" for _ in shares for run in range(len(inputs))]
    later = _scattered(true(asked), generator, scale)
    return Drawn(CHINCHILLA, many, values, asked, true(asked), later, runs)


def _curves(generator: Generator) -> Drawn:
    """Six runs, each a whole curve whose points share their scatter with their neighbors."""
    true, scale = _chinchilla(generator), _noise(generator)
    largest = np.exp(generator.uniform(np.log(2e8), np.log(1e9)))
    rows, values, runs = [], [], []
    for run, params in enumerate(np.geomspace(largest / 30, largest, 6)):
        inputs = np.column_stack([np.full(40, params), params * np.geomspace(2, 60, 40)])
        walk = np.empty(40)
        walk[0] = generator.normal(0, scale)
        for point in range(1, 40):
            walk[point] = 0.9 * walk[point - 1] + np.sqrt(1 - 0.81) * generator.normal(0, scale)
        rows.append(inputs)
        values.append(true(inputs) * np.exp(walk))
        runs += [f"run {run}"] * 40
    inputs = np.concatenate(rows)
    asked = _beyond(inputs, generator)
    later = _scattered(true(asked), generator, scale)
    return Drawn(CHINCHILLA, inputs, np.concatenate(values), asked, true(asked), later, runs)


def _power(generator: Generator) -> Curve:
    floor, slope, size = generator.uniform(1.2, 2.2), generator.uniform(0.2, 0.4), generator.uniform(0.4, 1.5)
    return lambda x: np.asarray(floor + size * (x[:, 0] / 1e7) ** -slope)


def _bend(generator: Generator) -> Curve:
    """A power whose exponent changes by up to two fifths over a few decades."""
    floor, slope, size = generator.uniform(1.2, 2.2), generator.uniform(0.2, 0.35), generator.uniform(0.4, 1.5)
    place, turn = np.exp(generator.uniform(np.log(1e7), np.log(1e9))), generator.uniform(-0.4, 0.4)
    return lambda x: np.asarray(floor + size * (x[:, 0] / 1e7) ** -slope * (1 + x[:, 0] / place) ** (turn * slope))


def _two_powers(generator: Generator) -> Curve:
    """The lowest loss of a budget where parameters and tokens have exponents of their own."""
    floor, (a, b) = generator.uniform(1.4, 2.0), generator.uniform(0.1, 0.25, 2)
    first, second = generator.uniform(0.2, 1.0, 2)
    return lambda x: np.asarray(floor + first * (x[:, 0] / 1e7) ** -a + second * (x[:, 0] / 1e7) ** (-2 * b))


KINDS = (
    Kind("chinchilla", True, _two(_chinchilla)),
    Kind("chinchilla, heavy tails", True, _heavy_tails),
    Kind("chinchilla, noisy sizes", True, _noisy_sizes),
    Kind("chinchilla, scatter drifts", True, _drifting),
    Kind("chinchilla, runs of several points", True, _clustered),
    Kind("chinchilla, one curve a run", True, _curves),
    Kind("chinchilla, narrow sizes", True, _narrow),
    Kind("terms interact", False, _two(_interacting)),
    Kind("kaplan", False, _two(_kaplan)),
    Kind("kaplan with a floor", False, _two(_kaplan_floor)),
    Kind("a power breaks", False, _two(_broken)),
    Kind("modes learnt in turn", False, _two(_nqs)),
    Kind("tokens repeat", False, _two(_repeating)),
    Kind("power", True, _one(_power)),
    Kind("power on a bend", False, _one(_bend)),
    Kind("power on two powers", False, _one(_two_powers)),
    Kind("kaplan, true", True, _two(_kaplan, KAPLAN)),
    Kind("saturating power on a power", False, _one(_power, find_law("saturating_power"))),
)


def drawn(kind: Kind, seed: int) -> Drawn:
    """Return one draw of a kind: coefficients, sizes, places and scatter all depend on the seed."""
    return kind.draw(np.random.default_rng([seed, KINDS.index(kind)]))
