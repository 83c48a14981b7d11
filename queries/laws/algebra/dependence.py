"""Whether a formula depends on what it names: `A - A`, `params / params` and `1 / (params - params)` do not.

A formula is looked at where it is: at points spread over all sizes that coefficients and inputs usually have. What
moves it at none of them cancels out of it, whatever the way it is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isoflop.queries.laws.algebra.expression import Array, Call, Expression, evaluate

POINTS = 256  # places that are looked at, half of them with moderate inputs
SIZES = (-3.0, 15.0)  # decimal logarithms of inputs: from losses to FLOPs
MODERATE = (-0.5, 0.5)  # the same where an input may stand in an exponential
COEFFICIENTS = (-2.0, 2.0)  # the same of coefficients
STEP = 1.5  # factor by which one value moves
ROUNDING = 1e-9  # relative change [1] that rounding makes of what cancels
DIGITS = 1e-14  # what rounding leaves of a summand that cancels [1]


@dataclass(frozen=True)
class Dependence:
    """What a formula depends on.

    Parameters
    ----------
    is_defined : whether it has a finite value anywhere
    without : the names that do not move it
    """

    is_defined: bool
    without: tuple[str, ...]


def dependence(expression: Expression, domains: Mapping[str, tuple[float, float]], inputs: Sequence[str]) -> Dependence:
    """Return what a formula depends on.

    Parameters
    ----------
    expression : the formula
    domains : lowest and largest value of each coefficient, equal ones for a fixed one
    inputs : names of its inputs

    Example
    -------
    >>> from isoflop.queries.laws.algebra.parser import parse_expression
    >>> dependence(parse_expression("A - A + x"), {"A": (0.0, 9.0)}, ["x"])
    Dependence(is_defined=True, without=('A',))
    """
    generator = np.random.default_rng(0)
    half = POINTS // 2
    values: dict[str, Array] = {
        name: 10.0 ** np.concatenate([generator.uniform(*SIZES, half), generator.uniform(*MODERATE, half)])
        for name in inputs
    }
    for name, (low, high) in domains.items():
        values[name] = _within(10.0 ** generator.uniform(*COEFFICIENTS, POINTS), low, high, generator)
    base = evaluate(expression, values) + np.zeros(POINTS)
    if not np.isfinite(base).any():
        return Dependence(False, ())
    free = [name for name, (low, high) in domains.items() if low < high]
    without = [name for name in (*free, *inputs) if not _moves(expression, values, base, name, domains.get(name))]
    return Dependence(True, tuple(without))


def _within(sizes: Array, low: float, high: float, generator: np.random.Generator) -> Array:
    """Values in a domain, of sizes that are usual where it leaves them open."""
    if low == high:
        return np.full(len(sizes), low)
    if np.isfinite(low) and np.isfinite(high):
        return np.asarray(low + generator.uniform(0.05, 0.95, len(sizes)) * (high - low))
    if np.isfinite(low):
        return low + sizes
    return high - sizes if np.isfinite(high) else sizes * np.where(np.arange(len(sizes)) % 2, -1.0, 1.0)


def _moves(
    expression: Expression,
    values: Mapping[str, Array],
    base: Array,
    name: str,
    domain: tuple[float, float] | None,
) -> bool:
    """Whether a formula is another one anywhere, once one of its values is."""
    moved = values[name] * STEP
    if domain is not None and np.isfinite(domain).all():
        moved = domain[0] + domain[1] - values[name]  # mirrored, so that it stays inside
    elif domain is not None:
        moved = values[name] + np.where(np.isfinite(domain[0]), 0.5, -0.5) * np.maximum(np.abs(values[name]), 1e-3)
    changed = evaluate(expression, {**values, name: moved}) + np.zeros(POINTS)
    with np.errstate(all="ignore"):
        distance = np.abs(changed - base)
        lost = DIGITS * np.maximum(_summands(expression, values), _summands(expression, {**values, name: moved}))
        is_other = distance > ROUNDING * np.maximum(np.abs(changed), np.abs(base)) + lost
    is_gone = np.isfinite(changed) != np.isfinite(base)
    return bool((is_other | is_gone).any())


def _summands(expression: Expression, values: Mapping[str, Array]) -> Array:
    """Largest size (POINTS,) of what a formula adds or subtracts anywhere."""
    if not isinstance(expression, Call):
        return np.zeros(POINTS)
    inner = [_summands(argument, values) for argument in expression.arguments]
    if expression.operation in ("add", "subtract"):
        inner += [np.abs(evaluate(argument, values)) + np.zeros(POINTS) for argument in expression.arguments]
    return np.asarray(np.nanmax(np.nan_to_num(np.array(inner), posinf=0.0), axis=0))
