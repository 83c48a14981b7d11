"""What tests and benchmarks plant: published or measured coefficients of every law, on inputs as it is used on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.laws import Coefficient, Law, Role

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Planted:
    """Published or measured coefficients of a law, and rows of inputs as it is used on.

    Parameters
    ----------
    coefficients : (K,) in the law's order
    ranges : lowest and highest value of each input; logarithms are uniform between them
    rows : number of rows
    target : what the law predicts
    """

    coefficients: tuple[float, ...]
    ranges: tuple[tuple[float, float], ...]
    rows: int = 60
    target: str = "loss"

    def inputs(self, seed: int, rows: int | None = None) -> Array:
        """(R, P) rows of inputs, as many as planned or as asked for."""
        generator = np.random.default_rng(seed)
        count = rows or self.rows
        logs = [generator.uniform(np.log(low), np.log(high), count) for low, high in self.ranges]
        return np.exp(np.column_stack(logs))


SIZES, TOKENS, BUDGETS = (5e7, 2e10), (8e8, 3e11), (1e17, 1e23)

PLANTED = {
    "power": Planted((1.69, 406.4, 0.34), ((1e6, 1e10),)),
    "plain_power": Planted((9.4, 0.05), (BUDGETS,)),
    "shifted_power": Planted((1.7, 400.0, 3e7, 0.34), ((1e6, 1e10),)),
    "saturating_power": Planted((30.0, 1e-9, 0.13), ((1e7, 1e12),)),
    "bounded_power": Planted((1.2, 4.6, 900.0, 0.35, 0.8), ((1e4, 1e12),)),
    "bnsl": Planted((0.4, 30.0, 0.12, 0.35, 3e7, 0.3), ((1e5, 1e10),)),
    "bnsl2": Planted((0.4, 12.0, 0.05, 0.4, 1e6, 0.25, -0.3, 1e8, 0.2), ((1e4, 1e11),), 120),
    "bnsl3": Planted((0.4, 12.0, 0.05, 0.4, 1e6, 0.2, -0.3, 1e8, 0.2, 0.5, 1e10, 0.2), ((1e4, 1e12),), 120),
    "compute_loss": Planted((1.7, 70.0, 0.08), (BUDGETS,)),
    "chinchilla": Planted((1.8172, 477.8, 2143.0, 0.3473, 0.3672), (SIZES, TOKENS)),
    "chinchilla_tied": Planted((1.84, 110.0, 300.0, 0.27), (SIZES, TOKENS)),
    "kaplan": Planted((8.8e13, 5.4e13, 0.076, 0.095), ((1e5, 1e10), (2e7, 2e10))),
    "overtraining": Planted((1.8366, 166.21, 287.2, 0.27285), ((1e7, 7e9), (5.0, 640.0))),
    "task_error": Planted((0.86, 2.4, 0.75), ((1.9, 4.5),), target="task_error"),
    "data_constrained": Planted(
        (1.87, 521.0, 1488.0, 0.353, 0.353, 15.4, 5.31), ((1e7, 1e10), (1e8, 1e11), (1.0, 60.0))
    ),
    "width_depth": Planted((1.6, 60.0, 2.0, 3e4, 0.7, 0.8, 0.5), ((128, 4096), (2, 80), (1e9, 1e11))),
    "precision": Planted(
        (2.7648, 4299.0, 1.806e4, 0.4965, 0.4965, 2.6745, 2.2102, 0.9578),
        ((3e7, 2.2e8), (1.5e9, 2.6e10), (2, 16), (2, 16), (1, 8)),
    ),
    "ptq": Planted((0.0598, 0.5068, 0.3439, 0.5907), ((3e7, 2.2e8), (1.5e9, 2.6e11), (3, 6)), target="loss_increase"),
    "additive": Planted((0.3, 4.0, 8.0, 0.5, 0.75), ((10, 1e5), (16, 512))),
    "smooth_max": Planted((1.4, 2.3, 0.5, 0.75, 2.2), ((10, 1e5), (16, 512))),
    "optimal_params": Planted((0.09, 0.5), (BUDGETS,), target="params"),
    "optimal_tokens": Planted((1.9, 0.5), (BUDGETS,), target="tokens"),
    "optimal_learning_rate": Planted((1.79, -0.713, 0.307), ((6e7, 1e9), (2e9, 1e11)), target="learning_rate"),
    "optimal_batch": Planted((0.58, 0.571), ((2e9, 1e11),), target="batch_tokens"),
    "step_time": Planted(
        (3.7e-4, 1.46e-11, 8.2e-11, 8.4e-4), ((1e6, 1e10), (1e6, 1e9), (1.0, 12.0)), target="step_seconds"
    ),
    "loss_in_time": Planted((1.8172, 477.8, 2143.0, 0.3473, 0.3672), (SIZES, (1e4, 1e6), (0.01, 3.0), (1e3, 1e6))),
}

# The noisy quadratic system on rows from few directions and steps to many, and with batches from one sequence on: on a
# narrower set, and where gradient noise falls as steeply as published, P_1, Q_1, e, R_1 and r trade off.
_NQS = Planted((1.25, 0.6, 3.4, 0.6, 0.35, 2.0, 0.9), ((1e3, 1e9), (1, 4096), (10, 1e6)), 84)
PLANTED_SUMS = {"nqs": _NQS, "nqs_regularised": _NQS}


def planned(law: Law) -> Planted:
    """Return what is planted for a law: declared above, or usual coefficients on inputs of 1 to 1000."""
    known = (PLANTED | PLANTED_SUMS).get(law.name)
    if known is not None:
        return known
    coefficients = tuple(_usual(coefficient, k) for k, coefficient in enumerate(law.coefficients))
    return Planted(coefficients, ((1.0, 1e3),) * len(law.inputs), target=law.target)


def _usual(coefficient: Coefficient, position: int) -> float:
    """A number that a coefficient of its role could have; no two are the same."""
    value = {Role.FLOOR: 1.5, Role.AMPLITUDE: 3.0, Role.EXPONENT: 0.4, Role.FREE: 2.0}[coefficient.role]
    value *= 1.0 + 0.07 * position
    if coefficient.lower <= value <= coefficient.upper:
        return value
    return float(np.mean([max(coefficient.lower, -10.0), min(coefficient.upper, 10.0)]))
