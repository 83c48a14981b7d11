"""The loss by the proportions of domains in the training text, for any number of domains.

    mixture3            loss = c + k exp(t_1 r_1 + t_2 r_2 + t_3 r_3)
    mixture_additive3   loss = E + 1 / (C_1 h_1^gamma_1 + C_2 h_2^gamma_2 + C_3 h_3^gamma_3) + A / N^alpha + B / D^beta

The number in the name counts the proportions that are given: `mixture2` to `mixture16`, and
`mixture_additive2(params, tokens, h_1, h_2)` and so on. A proportion may be zero.

`mixture` is for models of one size on one number of tokens. Leave one domain out: it is what the others are compared
with, t_i being what each does to log (loss - c) in its place. Where proportions that are given add up to one in every
row, any number may be added to all t_i and taken off log k, so that the rows do not determine them; the fit says so,
and its predictions hold nevertheless.

`mixture_additive` takes all domains. It holds over sizes and tokens: the mixture moves the floor, and the best mixture
is the same for all. With one mixture it is `chinchilla`.

>>> import numpy as np
>>> MIXTURE3.predict(np.array([2.0, 1.0, np.log(4.0), 0.0, -1.0]), np.array([[0.5, 0.2, 0.0]]))
array([4.])
>>> halves = np.array([[100.0, 400.0, 0.25, 0.25, 0.5]])
>>> MIXTURE_ADDITIVE3.predict(np.array([1.0, 10.0, 20.0, 0.5, 0.5, 1.0, 1.0, 1.0, 0.5, 0.5, 1.0]), halves).round(9)
array([3.66666667])
>>> mixture(2).formula, mixture_additive(5).name, len(mixture_additive(5).coefficients)
('c + k * exp(t_1 * r_1 + t_2 * r_2)', 'mixture_additive5', 15)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from isoflop.lakehouse.errors import UsageError
from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Input, amplitude, exponent, floor, free

FEWEST, MOST = 2, 16  # proportions; one is a curve of one input, and more than sixteen no study has mixed
PROPORTION = "proportion"  # unit [1]
LEAST = "1e-100"  # proportion that stands for none: its powers are nothing, and its logarithm is a number
_SIZES = f"{FEWEST} to {MOST} proportions, as many as the number in the name"
_ABOVE_NONE = re.compile(rf"greatest\(([^()]+), {LEAST}\)")


@dataclass(frozen=True, kw_only=True)
class Mixture(Formula):
    """A law of proportions, of which there are as many as its name says.

    Parameters
    ----------
    tells_shares_apart : whether proportions that add up to one in every row still determine all coefficients
    """

    tells_shares_apart: bool = False

    def latex(self) -> str:
        """Return the law in LaTeX, as it is for proportions above zero."""
        return Formula.latex(replace(self, law=_ABOVE_NONE.sub(r"\1", self.law)))


def mixture(num_proportions: int) -> Mixture:
    """Return the exponential law of some proportions, called r_1, r_2 and so on.

    Parameters
    ----------
    num_proportions : 2 to 16

    Raises
    ------
    UsageError : if there are fewer or more
    """
    numbers = _numbers(num_proportions)
    return Mixture(
        name=f"mixture{num_proportions}",
        law=f"c + k * exp({' + '.join(f't_{i} * r_{i}' for i in numbers)})",  # loss [nat/token]
        inputs=tuple(Input(f"r_{i}", PROPORTION, positive=False, least=0.0, most=1.0) for i in numbers),
        coefficients=(floor("c"), amplitude("k"), *(free(f"t_{i}") for i in numbers)),
        source=f"Ye et al. 2024 (arXiv:2403.16952), for {_SIZES}",
    )


def mixture_additive(num_proportions: int) -> Mixture:
    """Return the additive law of params, tokens and some proportions, called h_1, h_2 and so on.

    Parameters
    ----------
    num_proportions : 2 to 16

    Raises
    ------
    UsageError : if there are fewer or more
    """
    numbers = _numbers(num_proportions)
    parts = " + ".join(f"C_{i} * greatest(h_{i}, {LEAST}) ^ gamma_{i}" for i in numbers)
    return Mixture(
        name=f"mixture_additive{num_proportions}",
        law=f"E + 1 / ({parts}) + A / params ^ alpha + B / tokens ^ beta",  # loss [nat/token]
        inputs=(
            Input("params", "count"),
            Input("tokens", "count"),
            *(Input(f"h_{i}", PROPORTION, positive=False, least=0.0, most=1.0) for i in numbers),
        ),
        coefficients=(
            floor("E"),
            amplitude("A"),
            amplitude("B"),
            exponent("alpha"),
            exponent("beta"),
            *(amplitude(f"C_{i}") for i in numbers),
            *(exponent(f"gamma_{i}") for i in numbers),
        ),
        source=f"Shukor et al. 2025 (arXiv:2507.09404), additive law, eq. 2.4, for {_SIZES}",
        tells_shares_apart=True,
    )


def _numbers(count: int) -> range:
    if not FEWEST <= count <= MOST:
        raise UsageError(f"a mixture law takes {FEWEST} to {MOST} proportions, not {count}")
    return range(1, count + 1)


FAMILIES: dict[str, tuple[Callable[[int], Mixture], int]] = {
    "mixture": (mixture, 0),
    "mixture_additive": (mixture_additive, 2),
}
"""name without its number: the law of some proportions, and how many other inputs it has"""


def of_family(name: str, num_inputs: int) -> Mixture | None:
    """Return the law of a family that takes some number of inputs; None for other names and numbers.

    Parameters
    ----------
    name : of the family, in any case, with any number or none behind it
    num_inputs : columns that it is to take, others than proportions included

    Example
    -------
    >>> of_family("mixture", 4).name, of_family("mixture_additive2", 5).name, of_family("mixture", 1)
    ('mixture4', 'mixture_additive3', None)
    """
    found = FAMILIES.get(name.lower().rstrip("0123456789"))
    if found is None:
        return None
    family, others = found
    return family(num_inputs - others) if FEWEST <= num_inputs - others <= MOST else None


MIXTURE3 = mixture(3)
MIXTURE_ADDITIVE3 = mixture_additive(3)
