"""Train and test loss of SGD on linear and random-feature regression, averaged over samples, features and batches.

P samples x of variances lambda_k with labels y = w . x + noise are learned by N random features phi = A x / sqrt(N), or
by the modes themselves, in batches of B drawn with replacement, theta <- theta + (eta / B) sum phi (y - theta . phi);
all samples at once, or fresh ones at every step. With F and F_train the curves of the whole gradient, batches add

    train(n) = F_train(n) + sum_{m<n} K_train(n-1-m) train(m)       test(n) = F(n) + sum_{m<n} K(n-1-m) train(m)

At s = -z around the spectrum of the features' empirical covariance, and kappa of `equivalents`, with R = 1 - df / P,
R' = 1 - df / N, H_k = 1 / (R R' (kappa + lambda_k)),

    K_train(n) = (eta^2 / B) oint z df (1 - eta z)^2n
    K(n) = (eta^2 / B) oint z R' sum_k lambda_k H_k (1 - eta z)^2n

F and F_train are integrals over two contours of what two resolvents become together, not each alone: C_0, the test
loss, and C_2 solve two linear equations at each pair (s, s~), whose sums are over modes of H_k H_k~; C_1 = R R~ (C_0 +
noise / s s~) is the train loss. On data of other variances the test loss is another sum of the same modes, and so is
K. The noise of a batch is taken as the mean train loss times the covariance, which holds for B well below P; fresh
batches are exact, those tested on other data but for a share of 1 / B of the noise along a mode's own part.

Means of 60 runs lie within 3.5 of their standard errors. The deviation is that of `dmft_random_features`, 0.7 to 1.3
times the scatter of single runs. A run of batches goes 20,000 steps at most.

Source: Atanasov et al. 2025 (arXiv:2502.05074), rederived; loss without the noise of labels where it is a test loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from isoflop.lakehouse.models.linear_descent import LinearDescent
from isoflop.queries.theory.equivalents import Array, Modes
from isoflop.queries.theory.student_losses import MOST_STEPS, StudentTheory, predicted_losses
from isoflop.queries.theory.student_pairs import Resolvents, Student
from isoflop.queries.theory.theory import PredictedCurves, Steps, Theory


@dataclass(frozen=True, kw_only=True)
class LinearSgd:
    """A task and how it is trained.

    Parameters
    ----------
    modes : variances, and shares of the target
    samples : P
    features : N; infinite for linear regression on the modes themselves
    batch_size : B, averaged; infinite for gradient descent
    learning_rate : eta
    noise : variance of the labels' noise [target^2]
    """

    modes: Modes
    samples: float
    features: float
    batch_size: float
    learning_rate: float
    noise: float = 0.0


@dataclass(frozen=True)
class Losses:
    """The two losses of each step.

    Parameters
    ----------
    test : (T,) without the noise of labels [target^2]
    train : (T,) with it
    """

    test: Array
    train: Array


def ridge_losses(task: LinearSgd, ridge: float, tested: Array | None = None) -> tuple[float, float]:
    """Return test and train loss of regression with a ridge > 0 on the covariance.

    Parameters
    ----------
    tested : (K,) variances of the data that are tested on; those of the modes by default
    """
    at = Resolvents(_student(task, tested), np.array([-ridge + 0j]))
    test, train, _ = at.own
    return ridge**2 * float(test.above[0, 0].real), ridge**2 * float(train.above[0, 0].real)


def sgd_losses(task: LinearSgd, steps: int) -> Losses:
    """Return both losses before training and after each of some steps, (steps + 1,) each.

    Raises
    ------
    ArithmeticError : if SGD diverges at this learning rate, or for more than 20,000 steps
    """
    if steps > MOST_STEPS:
        raise ArithmeticError(f"{steps} steps; at most {MOST_STEPS}")
    test, train = StudentTheory(_student(task), steps).every_step()
    if not np.isfinite(train).all():
        raise ArithmeticError(f"at the learning rate {task.learning_rate:.3g} SGD diverges")
    return Losses(test, train)


def _student(task: LinearSgd, tested: Array | None = None) -> Student:
    return Student(
        modes=task.modes,
        samples=task.samples,
        features=task.features,
        noise=task.noise,
        descent=LinearDescent(task.learning_rate),
        batch_size=task.batch_size,
        tested=tested,
    )


class TwoPoint(Theory):
    """Atanasov et al.'s losses of `linear_sgd`."""

    name = "two_point"
    family = "linear_sgd"
    fields = (
        "dimension", "width", "samples", "batch_size", "noise", "spectrum_exponent", "target_exponent", "learning_rate",
        "test_spectrum_exponent",
    )  # fmt: skip
    optional_fields = ("width", "samples", "batch_size", "test_spectrum_exponent")
    metrics: Mapping[str, str] = {"loss": "1", "train_loss": "1"}
    source = "Atanasov et al. 2025 (arXiv:2502.05074)"

    def predict(self, config: Mapping[str, Any], at: Steps) -> PredictedCurves:
        """Return expected losses and deviations at (T,) steps."""
        horizon = max(int(config["steps"]), int(at.max(initial=1)))
        settings = {field: config.get(field) for field in self.fields}
        tested = settings.pop("test_spectrum_exponent")
        alone = {"students": 1, "students_draw": "features", "optimizer": "gradient_descent", "momentum": None}
        return predicted_losses(horizon, at, **settings, **alone, tested_exponent=tested)


TWO_POINT = TwoPoint()
