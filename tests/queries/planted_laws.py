"""What tests and benchmarks plant: published or measured coefficients of every law, on inputs as it is used on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.hull import corners, hull_of
from isoflop.queries.fitting.widening import Widening
from isoflop.queries.laws import Coefficient, Law, Role

Array = NDArray[np.float64]


def drifting(law: Law, support: Array, drift: float, freedom: int = 10) -> Widening | None:
    """How intervals grow beyond rows in the corners of a range (P, 2); None for a drift of 0."""
    return Widening(hull_of(law, corners(support)), drift, freedom) if drift else None


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


# Points of as many cosine schedules, each step with one of its own.
SCHEDULES = ((200, 2e4), (1e-4, 1e-3), (10, 100), (1e3, 5e3), (6e3, 2e4), (1e-6, 1e-5), (2, 2))
SIZES, TOKENS, BUDGETS = (5e7, 2e10), (8e8, 3e11), (1e17, 1e23)
EXAMPLES, SHARES = (16.0, 2e5), (0.03, 0.6)

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
    "kaplan_floor": Planted((1.5, 4.6e6, 2.7e7, 0.3, 0.35), (SIZES, TOKENS)),
    "overtraining": Planted((1.8366, 166.21, 287.2, 0.27285), ((1e7, 7e9), (5.0, 640.0))),
    "task_error": Planted((0.86, 2.4, 0.75), ((1.9, 4.5),), target="task_error"),
    "task_accuracy": Planted((-0.6, 3.0, 2.6, 0.85), ((1.9, 4.5),), target="task_accuracy"),
    "sigmoid": Planted((0.2, 0.61, 3e19, 1.1), ((1e17, 1e22),), target="reward"),
    "mmf4": Planted((0.15, 60.0, 0.92, 0.6), (EXAMPLES,), target="accuracy"),
    "wbl4": Planted((0.05, 0.7, 0.9, 0.4), (EXAMPLES,), target="accuracy"),
    "exp4": Planted((0.05, -0.4, 0.9, 0.4), (EXAMPLES,), target="accuracy"),
    "vap3": Planted((-0.6, -20.0, 0.04), (EXAMPLES,), target="accuracy"),
    "ilog2": Planted((0.9, 0.95), (EXAMPLES,), target="accuracy"),
    "margin_growth": Planted((0.0182, 0.0216, 1.0), ((700.0, 1e5), (50.0, 150.0)), target="margin"),
    "data_constrained": Planted(
        (1.87, 521.0, 1488.0, 0.353, 0.353, 15.4, 5.31), ((1e7, 1e10), (1e8, 1e11), (1.0, 60.0))
    ),
    "width_depth": Planted((1.6, 60.0, 2.0, 3e4, 0.7, 0.8, 0.5), ((128, 4096), (2, 80), (1e9, 1e11))),
    "precision": Planted(
        (2.7648, 4299.0, 1.806e4, 0.4965, 0.4965, 2.6745, 2.2102, 0.9578),
        ((3e7, 2.2e8), (1.5e9, 2.6e10), (2, 16), (2, 16), (1, 8)),
    ),
    "ptq": Planted((0.0598, 0.5068, 0.3439, 0.5907), ((3e7, 2.2e8), (1.5e9, 2.6e11), (3, 6)), target="loss_increase"),
    "moe": Planted((-0.082, -0.108, 0.009, 1.104, 1.847, 314.478), ((1.5e7, 1.3e9), (1.0, 512.0)), 72),
    "moe_granularity": Planted((1.2, 60.0, 30.0, 200.0, 0.25, 0.28, 0.58), ((1e8, 4e9), (5e9, 1e11), (1.0, 16.0)), 84),
    "vocabulary": Planted((-1.2, 60.0, 20.0, 900.0, 0.3, 0.35, 0.35), ((3e7, 3e9), (4e6, 3e8), (1e9, 5e11)), 84),
    "transfer": Planted((1.9e4, 0.18, 0.38), ((1e5, 1e9), (1e6, 1e9)), target="transferred_tokens"),
    "distillation": Planted(
        (1.5, 2.0, 0.9, 0.1, 2000.0, 1e4, 0.35, 0.4, 0.6), ((1.8, 3.2), (2.2, 3.2), (5e7, 7.8e9), (1e9, 5e11)), 108
    ),
    "mixture3": Planted((1.9, 1.6, -2.1, 0.7, -0.4), (SHARES,) * 3),
    "mixture_additive3": Planted(
        (1.2, 300.0, 900.0, 0.32, 0.35, 2.5, 1.2, 0.6, 0.3, 0.6, 0.9), (SIZES, TOKENS, *(SHARES,) * 3), 132
    ),
    "additive": Planted((0.3, 4.0, 8.0, 0.5, 0.75), ((10, 1e5), (16, 512))),
    "smooth_max": Planted((1.4, 2.3, 0.5, 0.75, 2.2), ((10, 1e5), (16, 512))),
    "annealing_curve": Planted((2.628, 0.429, 0.507, 0.41, 1000.0), SCHEDULES),
    "optimal_params": Planted((0.09, 0.5), (BUDGETS,), target="params"),
    "optimal_tokens": Planted((1.9, 0.5), (BUDGETS,), target="tokens"),
    "optimal_learning_rate": Planted((1.79, -0.713, 0.307), ((6e7, 1e9), (2e9, 1e11)), target="learning_rate"),
    "optimal_batch": Planted((0.58, 0.571), ((2e9, 1e11),), target="batch_tokens"),
    "critical_batch": Planted((4000.0, 250.0), ((16.0, 8192.0),), target="steps"),
    "critical_batch_of_loss": Planted((2e8, 0.21), ((2.2, 6.0),), target="critical_batch"),
    "step_time": Planted(
        (3.7e-4, 1.46e-11, 8.2e-11, 8.4e-4), ((1e6, 1e10), (1e6, 1e9), (1.0, 12.0)), target="step_seconds"
    ),
    "loss_in_time": Planted((1.8172, 477.8, 2143.0, 0.3473, 0.3672), (SIZES, (1e4, 1e6), (0.01, 3.0), (1e3, 1e6))),
}

# The noisy quadratic system on rows from few directions and steps to many, and with batches from one sequence on: on a
# narrower set, and where gradient noise falls as steeply as published, P_1, Q_1, e, R_1 and r trade off.
_NQS = Planted((1.25, 0.6, 3.4, 0.6, 0.35, 2.0, 0.9), ((1e3, 1e9), (1, 4096), (10, 1e6)), 84)
# Of the multi-power law C, beta and gamma trade off.
_MULTI_POWER = Planted((2.65, 0.62, 0.44, 448.0, 2.07, 0.56, 0.61), SCHEDULES)
PLANTED_SUMS = {"nqs": _NQS, "nqs_regularised": _NQS, "multi_power": _MULTI_POWER}


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
