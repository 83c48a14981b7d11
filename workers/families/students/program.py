"""Linear students of a power-law teacher, many runs at once: the program of `random_features` and of `linear_sgd`.

    x_k ~ N(0, lambda_k), k = 1..M      y = <x, w> + noise      f = <theta, B x>      theta(0) = 0

B = A / sqrt(N) with A_ik ~ N(0, 1), (N, M), or the identity. The gradient is that of half the mean squared error, over
the population, over P samples drawn once, or over a batch of B: of those samples, with replacement, or of fresh data.

The whole gradient needs no steps. With the singular values s of the P rows of features / sqrt(P) (of lambda^(1/2) B^T
for the population) and c the labels in their left basis, n steps leave the p_n(s^2)-th part of c unlearned, in closed
form (`lakehouse.models.linear_descent`). Fresh batches take the coordinates m = s * xi - c of `plrf_program`, samples
that are drawn again their own rows. Errors are measured with the triangle of [lambda^(1/2) B^T, lambda^(1/2) w].

An ensemble of E students, with features or samples of their own, predicts by its mean: `loss` is that of the mean, and
`train_loss` the mean over members of each one's own. Batches of members are their own.

Arrays: R rows, one for each member of each run; every operation is elementwise or a sum within one row, in a fixed
order, so a run's bits do not depend on its company.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from isoflop.workers.families.students.draws import Floats, StudentRun, World
from isoflop.workers.families.students.steps import FreshBatches, RepeatedBatches, StudentSteps, WholeGradient


class StudentProgram:
    """R runs of one shape, length and kind of batch, advancing together.

    Parameters
    ----------
    runs : configs with equal pack keys
    """

    def __init__(self, runs: Sequence[StudentRun]) -> None:
        self._worlds = [World(run) for run in runs]
        first = runs[0]
        batched = FreshBatches if first.samples is None else RepeatedBatches
        steps = WholeGradient if first.batch_size is None else batched
        self._steps: StudentSteps = steps(runs, [member for world in self._worlds for member in world.members])
        self._students = first.students
        self._initial = self.measure()["loss"]

    def advance(self, num_steps: int) -> None:
        """Take `num_steps` steps in every run; a run that grows without bound overflows quietly."""
        with np.errstate(over="ignore", invalid="ignore"):
            self._steps.advance(num_steps)

    def measure(self) -> dict[str, Floats]:
        """Return test and train loss of every run now, each (R,)."""
        with np.errstate(over="ignore", invalid="ignore"):
            thetas, trained = self._steps.thetas(), self._steps.train_losses()
            parts = [
                slice(number * self._students, (number + 1) * self._students) for number in range(len(self._worlds))
            ]
            losses = [world.loss(np.stack(thetas[part])) for world, part in zip(self._worlds, parts, strict=True)]
        return {"loss": np.array(losses), "train_loss": np.array([np.mean(trained[part]) for part in parts])}

    def state(self, run: int) -> dict[str, Any]:
        """Return what continues one run."""
        return self._steps.state(slice(run * self._students, (run + 1) * self._students))

    def restore(self, step: int, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue every run from its state after `step` steps."""
        self._steps.restore(step, states)

    def results(self, run: int) -> dict[str, float]:
        """Return the loss before the first step."""
        return {"initial_loss": float(self._initial[run])}
