"""Broken neural scaling laws: a power whose exponent changes at one, two or three breaks.

    loss(x) = a + b * x ^ -c_0 * product_i (1 + (x / d_i) ^ (1 / f_i)) ^ (-c_i * f_i)

Break i lies at x = d_i; there the exponent goes from its value before to c_i more, over 2 f_i factors of e on either
side, roughly. Exponents may have either sign, so the curve may rise between breaks: double descent is two breaks.
`bnsl` has one break, `bnsl2` two, `bnsl3` three.

Breaks are fitted in order: d_2 is d_1 times a factor of one or more, and so on. Without that the same curve could be
written in as many ways as breaks can be numbered.

>>> import numpy as np
>>> BNSL.predict(np.array([1.0, 8.0, 0.5, 0.0, 100.0, 0.2]), np.array([[4.0], [16.0]]))
array([5., 3.])
>>> [len(law.coefficients) for law in (BNSL, BNSL2, BNSL3)]
[6, 9, 12]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoflop.queries.laws.algebra.expression import Array
from isoflop.queries.laws.formula import Chart, Formula
from isoflop.queries.laws.law import Coefficient, Input, Role, amplitude, floor

STEEPEST = 20.0  # [1]; the exponents of the paper's own examples reach 15 where a break is sharp
SHARPEST, SMOOTHEST = 0.02, 10.0  # width of a break in log x [1]: a kink, and a bend over more decades than data has
FARTHEST = 1e12  # factor between one break and the next
GENTLEST_START, OUTSIDE = 3.0, 0.1  # width of a break [1] that a search starts with; how far off the rows, in spans
FIRM = 1e-6  # added to the diagonal of the line's normal equations [1], where rows do not tell its slopes apart


@dataclass(frozen=True, kw_only=True)
class BrokenPower(Formula):
    """A power law with breaks.

    Parameters
    ----------
    num_breaks : 1 or more
    """

    num_breaks: int = 1

    def starts(self, inputs: Array, values: Array, count: int, generator: np.random.Generator) -> Array | None:
        """Return coefficients (count, 3 + 3 M) for M breaks: floor, breaks and widths drawn, and the rest solved for.

        Above a known floor, and with breaks in known places, the logarithm of the loss is linear in log b and all
        exponents.

        Parameters
        ----------
        inputs : (R, 1) positive
        values : (R,) measured
        count : number of starts
        generator : of floors, places and widths
        """
        if not (values > 0).all():
            return None
        logs, breaks = np.log(inputs[:, 0]), self.num_breaks
        span = float(np.ptp(logs))
        shares = _stratified(count, 1 + 2 * breaks, generator)
        # A third has no floor; the others come closer to the lowest value, evenly in orders of magnitude.
        lowest = float(values.min())
        floors = np.where(shares[:, 0] < 1 / 3, 0.0, lowest * (1.0 - 10.0 ** (-4.5 * (shares[:, 0] - 1 / 3))))
        places = logs.min() - OUTSIDE * span + (1 + 2 * OUTSIDE) * span * np.sort(shares[:, 1 : 1 + breaks], axis=1)
        widths = SHARPEST * (GENTLEST_START / SHARPEST) ** shares[:, 1 + breaks :]
        bends = -widths[:, :, None] * np.logaddexp(0.0, (logs - places[:, :, None]) / widths[:, :, None])
        ones = np.ones((count, 1, len(logs)))
        design = np.concatenate([ones, -ones * (logs - logs.mean()), bends], axis=1)  # (count, 2 + M, R)
        scale = np.maximum(np.sqrt(np.mean(design**2, axis=2, keepdims=True)), 1e-300)
        design = design / scale
        heights = np.log(values - floors[:, None])
        # what lies just above the floor has a logarithm that a little noise moves far
        weights = (1.0 - floors[:, None] / values) ** 2
        gram = np.einsum("spr,sr,sqr->spq", design, weights, design)
        gram += FIRM * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(2 + breaks)
        solved = np.linalg.solve(gram, np.einsum("spr,sr->sp", design, weights * heights)[:, :, None])[:, :, 0]
        solved = solved / scale[:, :, 0]
        steps = np.clip(solved[:, 1:], -STEEPEST, STEEPEST)  # c_0, then what each break adds
        middle = np.exp(np.clip(solved[:, 0] + solved[:, 1] * logs.mean(), -600.0, 600.0))
        parts = [
            np.column_stack([steps[:, i], np.exp(places[:, i - 1]), widths[:, i - 1]]) for i in range(1, breaks + 1)
        ]
        return np.column_stack([floors, middle, steps[:, 0], *parts])


def _stratified(count: int, width: int, generator: np.random.Generator) -> Array:
    """Points (count, width) between 0 and 1, one in each of `count` slices of every axis."""
    ranks = np.stack([generator.permutation(count) for _ in range(width)], axis=1)
    return np.asarray((ranks + generator.random((count, width))) / count)


def _exponent(name: str) -> Coefficient:
    return Coefficient(name, Role.EXPONENT, -STEEPEST, STEEPEST)


def _sharpness(name: str) -> Coefficient:
    return Coefficient(name, Role.FREE, SHARPEST, SMOOTHEST)


def _position(name: str) -> Coefficient:
    return Coefficient(name, Role.FREE, 0.0)


def _with_breaks(positions: list[str]) -> str:
    """The formula with the breaks at the given places."""
    factors = [f"(1 + (x / {d}) ^ (1 / f_{i})) ^ (-c_{i} * f_{i})" for i, d in enumerate(positions, 1)]
    return " * ".join(["a + b / x ^ c_0", *factors])


def _coefficients(positions: list[Coefficient]) -> tuple[Coefficient, ...]:
    parts = [(_exponent(f"c_{i}"), place, _sharpness(f"f_{i}")) for i, place in enumerate(positions, 1)]
    return (floor("a"), amplitude("b"), _exponent("c_0"), *(coefficient for part in parts for coefficient in part))


def _ordered(count: int) -> Chart | None:
    """The chart that writes each break but the first as a factor times the one before."""
    if count == 1:
        return None
    places = ["d_1"]
    for i in range(2, count + 1):
        places.append(f"({places[-1]} * r_{i})")
    steps = [Coefficient(f"r_{i}", Role.FREE, 1.0, FARTHEST) for i in range(2, count + 1)]
    return Chart(
        law=_with_breaks(places),
        coefficients=_coefficients([_position("d_1"), *steps]),
        back=tuple((f"d_{i}", places[i - 1]) for i in range(2, count + 1)),
        forth=tuple((f"r_{i}", f"d_{i} / d_{i - 1}") for i in range(2, count + 1)),
    )


def _broken(name: str, count: int) -> Formula:
    places = [f"d_{i}" for i in range(1, count + 1)]
    return BrokenPower(
        name=name,
        num_breaks=count,
        law=_with_breaks(places),  # loss [nat/token]
        inputs=(Input("x", "any"),),
        coefficients=_coefficients([_position(place) for place in places]),
        source=f"Caballero et al. 2022 (arXiv:2210.14891), eq. 1 with n = {count}",
        chart=_ordered(count),
    )


BNSL = _broken("bnsl", 1)
BNSL2 = _broken("bnsl2", 2)
BNSL3 = _broken("bnsl3", 3)
