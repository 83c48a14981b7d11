"""Worlds with a known law in which new runs are planned: small runs that exist, a far target, and a price of each run.

The runs that DESIGN chooses are held against a grid of as many runs and the same FLOPs, with equal ratios along every
axis, from the smallest run that exists upwards. In two worlds the law that is fitted is slightly wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting import Fit, fit_law
from isoflop.queries.language.ratio_guard import ratio_guard
from isoflop.queries.laws import CHINCHILLA, KAPLAN, LAWS, Law
from isoflop.queries.planning.plan import Budget, RunPlan, plan_runs
from isoflop.queries.planning.posterior import PosteriorDraws
from isoflop.queries.planning.problem import Variable

Array = NDArray[np.float64]
RESAMPLES = 120


@dataclass(frozen=True)
class DesignWorld:
    """A law, the truth where that is another, the runs there are, and what may be run.

    Parameters
    ----------
    law : the one that is fitted
    coefficients : typical ones of the truth; each draw spreads them by 5 %
    existing : lowest and largest of each input among the runs there are, and how many values it has
    largest : of each input among new runs; the lowest are those of `existing`
    target : the forecast that is to be narrowed
    flops : cost (M,) of runs (M, P)
    grid : values along each axis of the grid that a design is held against
    noise : scatter of a run in log loss [1]
    loss : of coefficients and inputs (M, P), where the law that is fitted is not the truth
    """

    name: str
    law: Law
    coefficients: tuple[float, ...]
    existing: tuple[tuple[float, float, int], ...]
    largest: tuple[float, ...]
    target: tuple[float, ...]
    flops: Callable[[Array], Array]
    grid: tuple[int, ...]
    noise: float
    loss: Callable[[Array, Array], Array] | None = None

    @property
    def lowest(self) -> Array:
        """(P,) lowest inputs."""
        return np.array([low for low, _, _ in self.existing])

    @property
    def rows(self) -> Array:
        """(R, P) the runs there are."""
        return mesh(self.lowest, np.array([high for _, high, _ in self.existing]), [k for _, _, k in self.existing])

    @property
    def spent(self) -> float:
        """What the runs there are have cost [FLOP]."""
        return float(self.flops(self.rows).sum())

    @property
    def num_new(self) -> int:
        """Number of new runs."""
        return int(np.prod(self.grid))

    def truth(self, seed: int) -> Array:
        """Return the true coefficients (K,) of a draw."""
        spread = np.random.default_rng(seed).normal(0, 0.05, len(self.coefficients))
        return np.array(self.coefficients) * np.exp(spread)

    def measured(self, truth: Array, inputs: Array, generator: np.random.Generator) -> Array:
        """Return the losses (M,) that runs (M, P) come to."""
        return self.true_loss(truth, inputs) * np.exp(generator.normal(0, self.noise, len(inputs)))

    def true_loss(self, truth: Array, inputs: Array) -> Array:
        """Return the losses (M,) of runs (M, P) without their scatter."""
        return (self.loss or self.law.predict)(truth, inputs)

    def grid_of(self, budget: float) -> Array:
        """Return the uniform grid (n, P) whose runs together cost a budget [FLOP]."""
        from scipy.optimize import brentq

        low, high = np.log(self.lowest), np.log(self.largest)

        def runs(share: float) -> Array:
            return mesh(np.exp(low), np.exp(low + share * (high - low)), self.grid)

        return runs(brentq(lambda share: np.log(self.flops(runs(share)).sum() / budget), 1e-3, 3.0))

    def designed(self, fit: Fit, budget: float, *, guarded: bool = True) -> RunPlan:
        """Return the runs that DESIGN chooses within a budget [FLOP] where the statement has no other condition.

        Without the guard on tokens per parameter they are those that help most if the law is right.
        """
        variables = [
            Variable(one.name, low, high, is_log=True)
            for one, low, high in zip(self.law.inputs, self.lowest, self.largest, strict=True)
        ]
        target = np.array([self.target])
        conditions, _ = ratio_guard([one.name for one in self.law.inputs], variables, (), target)
        conditions = conditions if guarded else ()
        return plan_runs(
            lambda places: PosteriorDraws.of(fit.fitted, places), lambda points: points, target,
            variables, self.num_new, conditions=conditions, budgets=(Budget("SUM(flops)", self.flops, budget),),
        )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a forecast: its log error [1] in each repetition of the new runs, and its interval's log width."""

    errors: Array
    width: float


def forecast_after(
    world: DesignWorld, truth: Array, old: Array, new: Array, generator: np.random.Generator, repeats: int
) -> Outcome:
    """Fit the law to old losses and simulated new runs, and judge the forecast at the target.

    Parameters
    ----------
    old : (R,) losses of the runs there are
    new : (n, P) the new runs
    repeats : how often the new runs are simulated; the interval is that of the first
    """
    inputs, target = np.concatenate([world.rows, new]), np.array([world.target])
    true = float(world.true_loss(truth, target)[0])
    errors, width = [], np.nan
    for k in range(repeats):
        losses = np.concatenate([old, world.measured(truth, new, generator)])
        fit = fit_law(world.law, inputs, losses, resamples=RESAMPLES if k == 0 else 0)
        errors.append(float(np.log(world.law.predict(fit.coefficients, target)[0] / true)))
        if k == 0:
            low, high = np.quantile(np.log(world.law.predict(fit.draws, target)[:, 0]), [0.025, 0.975])
            width = float(high - low)
    return Outcome(np.array(errors), width)


def mesh(low: Array, high: Array, counts: list[int] | tuple[int, ...]) -> Array:
    """Return (M, P) points with equal ratios along each axis."""
    axes = [np.geomspace(a, b, k) for a, b, k in zip(low, high, counts, strict=True)]
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)


def _dense(inputs: Array) -> Array:
    return 6.0 * inputs[:, 0] * inputs[:, 1]


def _shaped(inputs: Array) -> Array:
    return 72.0 * inputs[:, 0] ** 2 * inputs[:, 1] * inputs[:, 2]


def _interacting(truth: Array, inputs: Array) -> Array:
    """A chinchilla law with a term that grows where both params and tokens are few: F (1e8 / N · 1e9 / D)^(1/4)."""
    return CHINCHILLA.predict(truth[:5], inputs) + truth[5] * (1e17 / (inputs[:, 0] * inputs[:, 1])) ** 0.25


def _floored(truth: Array, inputs: Array) -> Array:
    """Kaplan's law of a loss above a floor: as chinchilla far out, another way of adding up near by."""
    return truth[4] + KAPLAN.predict(truth[:4], inputs)


SMALL = ((1e7, 3e8, 4), (2e8, 1e10, 5))
WORLDS = (
    DesignWorld("chinchilla, as refitted", CHINCHILLA, (1.82, 480.0, 2140.0, 0.348, 0.366), SMALL, (1e10, 1e12),
                (7e10, 1.4e12), _dense, (3, 3), 0.004),
    DesignWorld("chinchilla, as published", CHINCHILLA, (1.69, 406.0, 411.0, 0.34, 0.28),
                ((2e7, 1e9, 5), (4e8, 2e10, 4)), (2e10, 1e12), (2e11, 4e12), _dense, (3, 3), 0.003),
    DesignWorld("kaplan", KAPLAN, (8.8e13, 5.4e13, 0.076, 0.095), SMALL, (1e10, 1e12), (7e10, 1.4e12), _dense, (3, 3),
                0.004),
    DesignWorld("width_depth", LAWS["width_depth"], (1.7, 60.0, 2.0, 2000.0, 0.8, 1.0, 0.36),
                ((128, 512, 3), (2, 8, 3), (2e8, 4e9, 3)), (4096, 64, 1e12), (8192, 80, 1.4e12), _shaped, (2, 2, 2),
                0.004),
    DesignWorld("chinchilla, fitted to a truth with an interaction", CHINCHILLA, (1.7, 420.0, 500.0, 0.34, 0.36, 0.1),
                ((2e7, 3e8, 5), (4e8, 6e9, 4)), (1e10, 3e11), (7e9, 1.4e11), _dense, (3, 3), 0.006, _interacting),
    DesignWorld("chinchilla, fitted to kaplan with a floor", CHINCHILLA, (5e8, 1e9, 0.3, 0.35, 1.6),
                SMALL, (1e10, 1e12), (7e10, 1.4e12), _dense, (3, 3), 0.004, _floored),
)  # fmt: skip
