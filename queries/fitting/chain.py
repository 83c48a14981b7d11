"""Laws one behind another: each takes what the one before predicts, and the intervals are carried through.

A pair is one draw of every law: what it says of a point is a plausible course of the whole chain. Where intervals are
those of a new run, each law adds the scatter of a run to what it hands on, because the next one was fitted to what runs
measured; on its own scale, as a factor or as an amount in its target's unit. Draws of different laws are paired at
random, as those of fits that know nothing of each other are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.intervals import Prediction, predict, spread
from isoflop.queries.fitting.record import FittedLaw
from isoflop.queries.fitting.widening import draw_errors
from isoflop.queries.laws.pairwise import predict_each

Array = NDArray[np.float64]

PAIRS = 10_000  # of draws: the end of a 95 % interval is then known to a thirtieth of its half width
CHUNK = 2_000_000  # values computed at a time


@dataclass(frozen=True, eq=False)
class Link:
    """One law of a chain.

    Parameters
    ----------
    fitted : law, coefficients and draws
    inputs : (R, P) in the law's order; what the law before predicts is filled in
    takes : which input that is; None for the first law
    """

    fitted: FittedLaw
    inputs: Array
    takes: int | None = None


@dataclass(frozen=True, eq=False)
class Chained:
    """What a chain predicts.

    Parameters
    ----------
    predictions : one a law, in order
    pairs : how many pairs of draws the intervals behind the first law come from; 0 where the first two have none
    carried : how many laws, from the first on, have draws and a scatter; there is no interval behind them
    """

    predictions: tuple[Prediction, ...]
    pairs: int
    carried: int


def predict_chain(links: Sequence[Link], level: float = 0.95, kind: str = "prediction", seed: int = 0) -> Chained:
    """Return what laws predict one behind another.

    Parameters
    ----------
    links : the laws in order, with the same R rows
    level : coverage of the intervals [1], between 0 and 1
    kind : `prediction` for where a new run falls, `confidence` for where the curves lie
    seed : of which draws are paired

    Raises
    ------
    UsageError : if level or kind is not one of those

    Example
    -------
    >>> from isoflop.queries.laws import POWER
    >>> half = FittedLaw(POWER, np.array([0.0, 8.0, 0.5]), np.empty((0, 3)), 0.0, np.array([[1.0, 10.0]]))
    >>> chained = predict_chain([Link(half, np.array([[4.0]])), Link(half, np.array([[np.nan]]), 0)])
    >>> [found.predicted.tolist() for found in chained.predictions]
    [[4.0], [4.0]]
    """
    links = list(links)
    predictions = [predict(links[0].fitted, links[0].inputs, level, kind)]
    for position, link in enumerate(links[1:], 1):
        links[position] = link = _filled(link, predictions[-1].predicted)
        predictions.append(predict(link.fitted, link.inputs, level, kind))
    curves = [spread(link.fitted, kind) for link in links]
    carried = next(
        (k for k, (_, noise) in enumerate(curves) if not (len(noise) and np.isfinite(noise).all())), len(links)
    )
    ends = np.full((len(links), 2, len(links[0].inputs)), np.nan)
    count = 0
    if carried > 1:
        last = len(curves[carried - 1][0])
        count = -(-max(PAIRS, last) // last) * last
        tail = (1 - level) / 2
        size = max(1, CHUNK // count)
        for first in range(0, len(links[0].inputs), size):
            chunk = slice(first, first + size)
            for position, values in enumerate(_courses(links[:carried], curves[:carried], chunk, count, seed)):
                usable = np.isfinite(values).all(axis=0)
                values[:, ~usable] = np.nan
                ends[position, :, chunk] = np.quantile(values, [tail, 1 - tail], axis=0)
    behind = [_with_ends(found, *ends[position]) for position, found in enumerate(predictions[1:], 1)]
    return Chained((predictions[0], *behind), count, carried)


def _courses(
    links: Sequence[Link], curves: Sequence[tuple[Array, Array]], chunk: slice, count: int, seed: int
) -> list[Array]:
    """What each law gives some rows in every pair, (count, rows)."""
    generator = np.random.default_rng(seed)
    found: list[Array] = []
    for position, (link, (draws, noise)) in enumerate(zip(links, curves, strict=True)):
        chosen = np.resize(np.arange(len(draws)), count)
        if position < len(links) - 1:  # of the last law every draw comes equally often, in order
            chosen = generator.permutation(chosen)
        center = link.inputs[chunk]
        inputs = np.repeat(center[None], count, axis=0)
        if link.takes is not None:
            inputs[:, :, link.takes] = found[-1]
        with np.errstate(all="ignore"):
            scatter = link.fitted.scatter
            values = scatter.noisy(predict_each(link.fitted.law, draws[chosen], inputs), noise[chosen, None])
            widening = link.fitted.widening
            if widening is not None:
                errors = draw_errors(widening, count, seed + position)
                values = widening.moved(scatter, values, center, errors)
        found.append(values)
    return found


def _filled(link: Link, values: Array) -> Link:
    """A link with what the law before predicts among its inputs."""
    assert link.takes is not None
    inputs = link.inputs.copy()
    inputs[:, link.takes] = values
    return Link(link.fitted, inputs, link.takes)


def _with_ends(found: Prediction, lower: Array, upper: Array) -> Prediction:
    return Prediction(found.predicted, lower, upper, found.level, found.kind, found.ratio, found.in_support)
