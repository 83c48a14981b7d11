"""The loss of a routed model by the size of its dense base and its number of experts: bilinear in logarithms.

    log10 loss = a log10 N + b log10 E' + c log10 N log10 E' + d,    N = params, E = experts
    1 / E' = 1 / (E - 1 + 1 / (1 / E_start - 1 / E_max)) + 1 / E_max

params are those of the dense model of the same arithmetic per token, which is also what a token makes active with one
expert chosen. E' is the number of experts as far as it counts: it begins at E_start for a dense model and never
exceeds E_max. With c above zero experts help large models less. There is no floor: the law is for the range of sizes
that was trained. The paper's coefficients, by way of routing, are those of the published laws `clark_2022_…`.

>>> import numpy as np
>>> paper = np.array([-0.082, -0.108, 0.009, 1.104, 1.847, 314.478])
>>> MOE.predict(paper, np.array([[1e9, 1.0], [1e9, 64.0], [1e9, 512.0]])).round(3)
array([2.285, 2.086, 2.015])
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoflop.queries.laws.algebra.expression import Array
from isoflop.queries.laws.formula import Chart, Formula
from isoflop.queries.laws.law import Coefficient, Input, Role, free

FARTHEST = 1e6  # E_max over E_start [1]: more experts than anyone has, so that nothing saturates
MOST_START = 30.0  # E_start of a start [1]; the paper finds 1.8 to 4.2
LEAST_ROOM, MOST_ROOM = 3.0, 1e4  # E_max over E_start of a start [1]; the paper finds 110 to 250

_EXPERTS = "1 / (1 / (experts - 1 + 1 / (1 / E_start - 1 / {most})) + 1 / {most})"
_LAW = "10 ^ (a * log10(params) + b * log10({experts}) + c * log10(params) * log10({experts}) + d)"


def _law(most: str) -> str:
    return _LAW.format(experts=_EXPERTS.format(most=most))


@dataclass(frozen=True, kw_only=True)
class Routed(Formula):
    """The bilinear law, which starts from lines in logarithms."""

    def starts(self, inputs: Array, values: Array, count: int, generator: np.random.Generator) -> Array | None:
        """Return coefficients (count, 6): E_start and E_max drawn, and a to d solved for.

        Parameters
        ----------
        inputs : (R, 2) positive
        values : (R,) measured
        count : number of starts
        generator : of what is drawn
        """
        if not (values > 0).all():
            return None
        first = MOST_START ** generator.random(count)
        last = first * LEAST_ROOM * (MOST_ROOM / LEAST_ROOM) ** generator.random(count)
        size, heights, found = np.log10(inputs[:, 0]), np.log10(values), []
        for start, most in zip(first, last, strict=True):
            counted = 1 / (1 / (inputs[:, 1] - 1 + 1 / (1 / start - 1 / most)) + 1 / most)
            experts = np.log10(np.maximum(counted, 1e-300))
            design = np.column_stack([size, experts, size * experts, np.ones_like(size)])
            found.append([*np.linalg.lstsq(design, heights, rcond=None)[0], start, most])
        return np.array(found)


MOE = Routed(
    name="moe",
    law=_law("E_max"),  # loss [nat/token]
    inputs=(Input("params", "count"), Input("experts", "count")),
    coefficients=(free("a"), free("b"), free("c"), free("d"), free("E_start", 0.0), free("E_max", 0.0)),
    source="Clark et al. 2022 (arXiv:2202.01169), eq. 1",
    chart=Chart(  # E_max lies above E_start
        law=_law("(E_start * room)"),
        coefficients=(
            free("a"),
            free("b"),
            free("c"),
            free("d"),
            free("E_start", 0.0),
            Coefficient("room", Role.FREE, 1.0, FARTHEST),
        ),
        back=(("E_max", "E_start * room"),),
        forth=(("room", "E_max / E_start"),),
    ),
)
