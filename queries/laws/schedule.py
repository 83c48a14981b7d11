"""A learning-rate schedule as laws of whole curves see it: the area under it, and the drops of its decay.

A schedule rises linearly from zero for `warmup_steps`, keeps `learning_rate` until `decay_start`, falls by
`decay_shape` to `final_learning_rate` at `steps`, and stays there. A constant one has `decay_start = steps`, a cosine
`decay_start = warmup_steps`, warm-up-stable-decay something between. Sums over steps are taken as integrals.

Shapes: 1 linear, 2 cosine, 3 one minus the square root, 4 exponential.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from isoflop.queries.laws.algebra.expression import Array
from isoflop.queries.laws.law import Input

NODES = (
    40  # drops that the decay of a row is cut into: losses then agree with sums over 20,000 steps to five parts in 1e5
)
LINEAR, COSINE, SQUARE_ROOT, EXPONENTIAL = 1.0, 2.0, 3.0, 4.0
SHAPES = {LINEAR: "linear", COSINE: "cosine", SQUARE_ROOT: "1 - sqrt", EXPONENTIAL: "exponential"}
INPUTS = (
    Input("step", "step"),
    Input("learning_rate", "1"),
    Input("warmup_steps", "step", positive=False, is_setting=True),
    Input("decay_start", "step", is_setting=True),
    Input("steps", "count", is_setting=True),
    Input("final_learning_rate", "1", positive=False, is_setting=True),
    Input("decay_shape", "1", is_setting=True),
)


@dataclass(frozen=True, eq=False)
class Drops:
    """What R rows have behind them.

    Parameters
    ----------
    area : (R,) under the schedule up to each row, warm-up included [step]; nan where there is no such schedule
    size : (R, Q) by how much the rate fell in each part of the decay so far [1]
    rate : (R, Q) what it was there [1]
    since : (R, Q) area under the schedule from there to the row [step]
    ago : (R, Q) steps from there to the row
    """

    area: Array
    size: Array
    rate: Array
    since: Array
    ago: Array


def drops_of(inputs: Array) -> Drops:
    """Return what each row has behind it.

    Parameters
    ----------
    inputs : (R, 7) in the order of `INPUTS`

    Example
    -------
    >>> found = drops_of(np.array([[100.0, 0.01, 0.0, 50.0, 100.0, 0.0, LINEAR]]))
    >>> found.area, found.size.sum().round(9), found.rate.mean() < 0.01
    (array([0.75]), np.float64(0.01), np.True_)
    """
    inputs = np.ascontiguousarray(inputs, dtype=np.float64)
    return _drops(inputs.tobytes(), len(inputs))


def faults_of(inputs: Array) -> list[str]:
    """Return why each row (R, 7) has no such schedule, empty where it has one."""
    _, peak, warmup, start, end, final, shape = np.asarray(inputs, dtype=np.float64).T
    shapes = ", ".join(f"{number:g} {name}" for number, name in SHAPES.items())
    wrong = (
        (~np.isin(shape, list(SHAPES)), f"decay_shape is none of {shapes}"),
        (~(warmup >= 0), "warmup_steps are below zero"),
        (~(warmup <= start), "decay_start lies before the end of the warm-up"),
        (~(start <= end), "decay_start lies behind steps"),
        (~((final >= 0) & (final <= peak)), "final_learning_rate is not between zero and learning_rate"),
        ((shape == EXPONENTIAL) & ~(final > 0), "final_learning_rate is zero, which no exponential decay reaches"),
    )
    return [str(text) for text in np.select([bad for bad, _ in wrong], [reason for _, reason in wrong], "")]


@functools.lru_cache(maxsize=8)
def _drops(rows: bytes, count: int) -> Drops:
    step, peak, warmup, start, end, final, shape = np.frombuffer(rows).reshape(count, len(INPUTS)).T
    is_known = np.array([not fault for fault in faults_of(np.frombuffer(rows).reshape(count, len(INPUTS)))])
    length = end - start
    with np.errstate(all="ignore"):
        done = np.where(length > 0, np.clip((step - start) / length, 0.0, 1.0), 0.0)
        rising = np.where(warmup > 0, np.minimum(step, warmup) ** 2 / (2 * warmup), 0.0)
        ratio = final / peak
    fall = peak - final
    beyond = np.maximum(step - end, 0.0) * np.where(length > 0, final, peak)
    stable = np.maximum(np.minimum(step, start) - warmup, 0.0)
    left = functools.partial(_left, shape[:, None], ratio[:, None])
    under = functools.partial(_under, shape[:, None], ratio[:, None])
    whole = done[:, None]
    decayed = (final[:, None] * whole + fall[:, None] * under(whole))[:, 0] * length
    area = peak * (rising + stable) + decayed + beyond
    edges = whole * (1 - (np.arange(NODES, -1, -1) / NODES) ** 2)  # (R, Q + 1), closest before the row
    middle = (edges[:, 1:] + edges[:, :-1]) / 2
    since = final[:, None] * (whole - middle) + fall[:, None] * (under(whole) - under(middle))
    found = Drops(
        area=np.where(is_known, area, np.nan),
        size=fall[:, None] * (left(edges[:, :-1]) - left(edges[:, 1:])),
        rate=final[:, None] + fall[:, None] * left(middle),
        since=np.maximum(since * length[:, None] + beyond[:, None], 0.0),
        ago=(whole - middle) * length[:, None] + np.maximum(step - end, 0.0)[:, None],
    )
    for part in (found.area, found.size, found.rate, found.since, found.ago):
        part.setflags(write=False)
    return found


def _left(shape: Array, ratio: Array, done: Array) -> Array:
    """Share of the fall that is still to come (R, …) after a share of the decay."""
    with np.errstate(all="ignore"):
        falling = np.where(ratio == 1, 1 - done, (ratio**done - ratio) / (1 - ratio))
        return np.asarray(
            np.select(
                [shape == LINEAR, shape == COSINE, shape == SQUARE_ROOT],
                [1 - done, (1 + np.cos(np.pi * done)) / 2, 1 - np.sqrt(done)],
                falling,
            )
        )


def _under(shape: Array, ratio: Array, done: Array) -> Array:
    """Integral of `_left` from the start of the decay."""
    with np.errstate(all="ignore"):
        falling = np.where(
            ratio == 1, done - done**2 / 2, ((ratio**done - 1) / np.log(ratio) - ratio * done) / (1 - ratio)
        )
        return np.asarray(
            np.select(
                [shape == LINEAR, shape == COSINE, shape == SQUARE_ROOT],
                [done - done**2 / 2, done / 2 + np.sin(np.pi * done) / (2 * np.pi), done - done**1.5 / 1.5],
                falling,
            )
        )
