"""The zoo of learning curves: an accuracy or an error over the number of examples, as LCDB fits them.

    mmf4    (a b + c x^alpha) / (b + x^alpha)      from a to c, half of it at x = b^(1/alpha)
    wbl4    c - b exp(-a x^alpha)                  from c - b to c, a stretched exponential
    exp4    c - exp(-a x^alpha + b)                the half of wbl4 that rises
    vap3    exp(a + b / x + c ln x)                vapor pressure
    ilog2   c - a / ln x                           for x above 1, without an end that data would ever show

Signs are free, so the first two and the last two serve what rises and what falls. x is a number of examples, or any
size. Names of the zoo that are other laws here: `pow2` is `plain_power`, `pow3` is `power`, `pow4` is `shifted_power`
(its slope a is the unit of x), `hill4` is `mmf4` and `sigmoid`, `exp2` is `wbl4` with alpha 1 and c 0, `exp3` and
`expd3` are `wbl4` with alpha 1: `PARAMETERS (alpha FIXED 1)`. The powers fall to a floor, so an accuracy is fitted as
the error 1 - accuracy with them.

All are fitted by least squares on the value itself, as LCDB does.

>>> import numpy as np
>>> x = np.array([[1.0], [16.0]])
>>> MMF4.predict(np.array([0.2, 4.0, 0.8, 1.0]), x).round(3)
array([0.32, 0.68])
>>> WBL4.predict(np.array([0.5, 0.6, 0.9, 0.5]), x).round(3), EXP4.predict(np.array([0.5, 0.0, 0.9, 0.5]), x).round(3)
(array([0.536, 0.819]), array([0.293, 0.765]))
>>> VAP3.predict(np.array([0.0, -1.0, 0.0]), x).round(3), ILOG2.predict(np.array([1.0, 0.9]), np.exp(x)).round(3)
(array([0.368, 0.939]), array([-0.1  ,  0.838]))
"""

from isoflop.queries.laws.formula import Chart, Formula
from isoflop.queries.laws.law import LARGEST_EXPONENT, Coefficient, Input, Role, amplitude, exponent, free
from isoflop.queries.laws.objectives import PlainSquares

SOURCE = "Mohr et al. 2022 (LCDB 1.0, ECML PKDD), {}; Viering and Loog 2021 (arXiv:2103.10948), table 1"


def _curve(name: str, law: str, coefficients: tuple[Coefficient, ...], chart: Chart | None = None) -> Formula:
    return Formula(
        name=name,
        law=law,  # accuracy or error [1]
        inputs=(Input("x", "any"),),
        coefficients=coefficients,
        target="accuracy",
        unit="1",
        objective=PlainSquares(),
        source=SOURCE.format(name.upper()),
        chart=chart,
    )


MMF4 = _curve(
    "mmf4",
    "(a * b + c * x ^ alpha) / (b + x ^ alpha)",
    (free("a"), free("b", 0.0), free("c"), exponent("alpha")),
)

WBL4 = _curve(
    "wbl4",
    "c - b * exp(-a * x ^ alpha)",
    (free("a", 0.0), free("b"), free("c"), exponent("alpha")),
)

EXP4 = _curve(
    "exp4",
    "c - exp(-a * x ^ alpha + b)",
    (free("a", 0.0), free("b"), free("c"), exponent("alpha")),
    Chart(  # the height of what is missing at x = 0 is linear, its logarithm is not
        law="c - height * exp(-a * x ^ alpha)",
        coefficients=(free("a", 0.0), amplitude("height"), free("c"), exponent("alpha")),
        back=(("b", "ln(height)"),),
        forth=(("height", "exp(b)"),),
    ),
)

_GROWTH = Coefficient("c", Role.EXPONENT, -LARGEST_EXPONENT, LARGEST_EXPONENT)

VAP3 = _curve(
    "vap3",
    "exp(a + b / x + c * ln(x))",
    (free("a"), free("b"), _GROWTH),
    Chart(  # the factor takes on the unit of x, its logarithm cannot
        law="factor * exp(b / x) * x ^ c",
        coefficients=(amplitude("factor"), free("b"), _GROWTH),
        back=(("a", "ln(factor)"),),
        forth=(("factor", "exp(a)"),),
    ),
)

ILOG2 = _curve("ilog2", "c - a / ln(x)", (free("a"), free("c")))
