r"""The loss at every step of a run from its learning-rate schedule: the multi-power law.

    loss(step) = E + A / S ^ alpha - B sum over drops of drop (1 - (1 + C rate ^ -gamma since) ^ -beta)

S is the area under the schedule up to the step. Each drop of the learning rate brings the loss down, the more the
larger the area `since`, under the schedule from the drop to the step; `rate` is the learning rate after it. Fitted
to the points of one or two schedules it predicts the curve of another. Points of the warm-up do not follow it:
leave them out. [What the inputs are](sweeps.md#schedules).

Of a run whose learning rate never falls only E, A and alpha are told; one schedule that decays leaves B, C, beta and
gamma to trade off, and what they predict is sharper than they are.

>>> import numpy as np
>>> coefficients = np.array([2.65, 0.62, 0.44, 448.0, 2.07, 0.56, 0.61])
>>> cosine = np.array([[24_000.0, 3e-4, 2_000.0, 2_000.0, 24_000.0, 3e-5, 2.0]])
>>> MULTI_POWER.predict(coefficients, cosine).round(3)
array([2.874])
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isoflop.queries.laws.algebra.expression import Array
from isoflop.queries.laws.law import Coefficient, Cost, amplitude, exponent, floor
from isoflop.queries.laws.schedule import Drops
from isoflop.queries.laws.schedule_law import ScheduleLaw


@dataclass(frozen=True)
class MultiPower(ScheduleLaw):
    """A power of the area, and powers of the areas since each drop.

    Source: Luo et al. 2025 (arXiv:2503.12811), eqs. 1 and 2.
    """

    name: str = "multi_power"
    coefficients: tuple[Coefficient, ...] = (
        floor("E"), amplitude("A"), exponent("alpha"), amplitude("B"), amplitude("C"), exponent("beta"),
        exponent("gamma"),
    )  # fmt: skip
    source: str = "Luo et al. 2025, multi-power law (arXiv:2503.12811), eqs. 1 and 2"

    cost: Cost = Cost.COSTLY

    # alpha, C, beta, gamma about the published fits [1]
    tried: ClassVar[tuple[tuple[float, float], ...]] = ((0.2, 1.0), (0.1, 30.0), (0.2, 1.2), (0.2, 1.2))

    @property
    def formula(self) -> str:
        """How it is written for display."""
        return "E + A / area ^ alpha - B * sum over drops of drop * (1 - (1 + C * rate ^ -gamma * since) ^ -beta)"

    def kernel(self, coefficients: Array, drops: Drops, *, slopes: bool) -> tuple[Array, tuple[Array, ...]]:
        """Return the share of a drop that has taken effect, and its derivatives by C, beta and gamma."""
        speed, power, slowing = coefficients
        log_rate = np.log(np.where(drops.rate > 0, drops.rate, np.nan))
        reach = np.where(drops.rate > 0, np.exp(-slowing * log_rate) * drops.since, 0.0)  # at rate 0 nothing is since
        grown = 1 + speed * reach
        rest = grown**-power
        if not slopes:
            return 1 - rest, ()
        by_reach = power * rest / grown
        return 1 - rest, (
            by_reach * reach,
            rest * np.log(grown),
            -by_reach * speed * reach * np.where(drops.rate > 0, log_rate, 0.0),
        )


MULTI_POWER = MultiPower()
