"""A floor and a power of every input, for as many inputs as there are: the law to start from with columns of one's own.

    loss = E + sum_i A_i / x_i ^ alpha_i

With two inputs it is `chinchilla`, with one `power`, and `width_depth` with three.

>>> separable(2).formula
'E + A_1 / x_1 ^ alpha_1 + A_2 / x_2 ^ alpha_2'
"""

from __future__ import annotations

from isoflop.lakehouse.errors import UsageError
from isoflop.queries.laws.formula import Formula
from isoflop.queries.laws.law import Input, amplitude, exponent, floor


def separable(num_inputs: int) -> Formula:
    """Return the law with a power of each of some inputs, called x_1, x_2 and so on.

    Parameters
    ----------
    num_inputs : 1 or more

    Raises
    ------
    UsageError : if there is no input
    """
    if num_inputs < 1:
        raise UsageError(f"a law cannot have {num_inputs} inputs; it needs 1 or more")
    numbers = range(1, num_inputs + 1)
    return Formula(
        name="separable",
        law=" + ".join(["E", *(f"A_{i} / x_{i} ^ alpha_{i}" for i in numbers)]),
        inputs=tuple(Input(f"x_{i}") for i in numbers),
        coefficients=(
            floor("E"),
            *(amplitude(f"A_{i}") for i in numbers),
            *(exponent(f"alpha_{i}") for i in numbers),
        ),
        target="y",
        unit="",
        source="Hoffmann et al. 2022 (arXiv:2203.15556), eq. 2, for any number of inputs",
    )
