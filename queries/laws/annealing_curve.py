r"""The loss at every step of a run from its learning-rate schedule: the law of annealing.

    loss(step) = E + A / S_1 ^ alpha - C S_2

S_1 is the area under the schedule up to the step, S_2 the sum over the drops of the learning rate so far of
drop * memory * (1 - exp(-ago / memory)): a drop has taken effect once `memory` steps have gone by. The factor by
which momentum decays a step is lambda = 1 - 1 / memory in the paper, which sets it to 0.99 to 0.999; here it is
fitted, or kept by `PARAMETERS (memory FIXED 1000)`. Fitted to the points of one or two schedules it predicts the curve
of another. Points of the warm-up do not follow it: leave them out. [What the inputs are](sweeps.md#schedules).

>>> import numpy as np
>>> cosine = np.array([[20_000.0, 2e-4, 500.0, 500.0, 20_000.0, 2e-5, 2.0]])
>>> ANNEALING_CURVE.predict(np.array([2.628, 0.429, 0.507, 0.41, 1000.0]), cosine).round(3)
array([2.843])
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isoflop.queries.laws.algebra.expression import Array
from isoflop.queries.laws.law import Coefficient, Role, amplitude, exponent, floor
from isoflop.queries.laws.schedule import Drops
from isoflop.queries.laws.schedule_law import ScheduleLaw


@dataclass(frozen=True)
class AnnealingCurve(ScheduleLaw):
    """A power of the area under the schedule, less the area of its annealing.

    Source: Tissue et al. 2024 (arXiv:2408.11029), eqs. 1 and 2.
    """

    name: str = "annealing_curve"
    coefficients: tuple[Coefficient, ...] = (
        floor("E"), amplitude("A"), exponent("alpha"), amplitude("C"),
        Coefficient("memory", Role.AMPLITUDE, 1.0, 1e7),
    )  # fmt: skip
    source: str = "Tissue et al. 2024, learning-rate annealing (arXiv:2408.11029), eqs. 1 and 2"

    tried: ClassVar[tuple[tuple[float, float], ...]] = ((0.2, 1.0), (30.0, 1e4))  # alpha [1], memory [step]

    @property
    def formula(self) -> str:
        """How it is written for display."""
        return "E + A / area ^ alpha - C * sum over drops of drop * memory * (1 - exp(-ago / memory))"

    def kernel(self, coefficients: Array, drops: Drops, *, slopes: bool) -> tuple[Array, tuple[Array, ...]]:
        """Return how far a drop has taken effect [step], and its derivative by the memory."""
        (memory,) = coefficients
        gone = drops.ago / memory
        taken = -np.expm1(-gone)
        return memory * taken, () if not slopes else (taken - gone * np.exp(-gone),)


ANNEALING_CURVE = AnnealingCurve()
