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

from isoflop.queries.laws.formula import Chart, Formula
from isoflop.queries.laws.law import Coefficient, Input, Role, amplitude, floor

STEEPEST = 5.0  # [1]; published exponents between breaks lie below 2
SHARPEST, SMOOTHEST = 0.02, 10.0  # width of a break in log x [1]: a kink, and a bend over more decades than data has
FARTHEST = 1e12  # factor between one break and the next


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
    return Formula(
        name=name,
        law=_with_breaks(places),  # loss [nat/token]
        inputs=(Input("x", "any"),),
        coefficients=_coefficients([_position(place) for place in places]),
        source=f"Caballero et al. 2022 (arXiv:2210.14891), eq. 1 with n = {count}",
        chart=_ordered(count),
    )


BNSL = _broken("bnsl", 1)
BNSL2 = _broken("bnsl2", 2)
BNSL3 = _broken("bnsl3", 3)
