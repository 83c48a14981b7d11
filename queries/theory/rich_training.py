"""The expected losses of linear networks of finite width that learn their features, step by step.

A student f = theta . A psi / N of power-law data learns theta, and A by richness gamma as much, its rows kept in the
span of those it began with, P_0 = A(0)^T A(0) / N. With g the gradient in the teacher's space, step by step

    theta <- theta + eta A g        A <- A + eta gamma theta (P_0 g)^T

what is exact for many features is a set of equations for correlations and responses over T steps, T x T matrices. With
Theta = eta below the diagonal, X< the part of X below it, C_a the correlations of A(0) g and C_w those of theta,

    T_m = (1 - eta gamma Theta C_a<)^-1 Theta     C_w = T_m C_a T_m'      U = T_m + eta gamma C_w<
    H_k = (1 + lambda_k R R_1)^-1                 G = -sum lambda_k R_1 H_k
    Q = (1 - G U / N)^-1      R = U Q             C_0 = sum lambda_k H_k (w_k^2 + U C_a U' / N + lambda_k R c R') H_k'

with R_1 = 1 and c = 0 for the population, c = diag(C_0) / B for fresh batches, and for P samples

    R_1 = (1 - G_d / P)^-1      G_d = -sum lambda_k H_k R      c = R_1 C_0 R_1' / P

whose diagonal is the train loss over P; noise of labels is added to C_0 in c. Everything is causal, so the window of
steps grows by five, each window by iteration from the last. Modes beyond the thirtieth are an integral.

Lazy students, gamma = 0, are random features, of any number of steps (`isoflop.queries.theory.student_losses`); richer
ones of 150 steps at most, since the work grows as its cube. Students that are not kept in the span have no such theory.
Means of 200 runs of 60 to 100 features lie within 1.5 per cent, with noisy labels within 3. The deviation is that of
modes alone, as there, and 0.65 to 0.85 times the scatter of the loss. `rich_curves` has infinite width and any time.

The exponents are those of long power laws, for variances k^-a, a = 2 alpha, and a power of the target beyond mode k of
k^-(a b): time at infinite width, width when trained for long, and the frontier of compute N t.

Source: Bordelon et al. 2024 (arXiv:2409.17858), sections 2 to 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from isoflop.lakehouse.models.spectrum import power_law
from isoflop.queries.theory.equivalents import Array, Modes, power_law_modes
from isoflop.queries.theory.feature_learning import rich_exponents
from isoflop.queries.theory.input_site import InputSite, SeenData
from isoflop.queries.theory.marching import held_on, march, padded
from isoflop.queries.theory.student_losses import predicted_losses
from isoflop.queries.theory.theory import PredictedCurves, Setting, Steps, Theory

MOST_STEPS = 150  # of students that are not lazy; 20 seconds
EXACT_MODES = 30  # kept one by one; curves are smooth in the mode's number, by 1e-4 of a mode from there on
PANELS_PER_DECADE = 4  # of the others
WINDOW = 5  # steps by which the window grows
LARGEST = 1e8  # of an entry that has not settled yet; no student is so far off
UNSETTLED = "the equations do not settle: the learning rate is too large for such a richness"
REMEMBERED = 64  # curves, for runs that differ by their seed


@dataclass(frozen=True, kw_only=True)
class RichStudent:
    """A task, and who learns it.

    Parameters
    ----------
    modes : variances, and shares of the target
    width : N
    richness : gamma
    rate : eta
    samples, batch_size : P, or B of fresh batches; infinite for the population
    noise : variance of the labels' noise [target^2]
    """

    modes: Modes
    width: float
    richness: float
    rate: float
    samples: float = np.inf
    batch_size: float = np.inf
    noise: float = 0.0


@dataclass(frozen=True)
class RichCurves:
    """Losses before each of T steps, (T,) each, and the deviation of one student's test loss."""

    test: Array
    deviation: Array
    train: Array


def rich_losses(student: RichStudent, steps: int) -> RichCurves:
    """Return the losses before each of some steps.

    Raises
    ------
    ArithmeticError : if a window does not settle, or losses grow without bound
    """
    state = _State(student, min(WINDOW, steps))
    march(state, steps, WINDOW, LARGEST, UNSETTLED)
    found = state.site.curves()
    return RichCurves(found.test, np.sqrt(found.variance), found.train)


class _State:
    """Correlations and responses of a window of T steps."""

    def __init__(self, student: RichStudent, size: int) -> None:
        modes = student.modes
        self._student, self.size = student, size
        data = SeenData(
            modes=modes, samples=student.samples, batch_size=student.batch_size, noise=student.noise
        )  # fmt: skip
        self.site = InputSite(data, size, float(modes.count @ modes.power))
        self._slopes = np.full((size, size), float(modes.count @ (modes.variance * modes.power)))  # C_a
        self._response: Array = np.zeros((size, size))  # R

    def grow(self, size: int) -> None:
        """Go on to a longer window: correlations as at its last step, no responses yet."""
        self.site.grow(size)
        self._slopes, self._response, self.size = held_on(self._slopes, size), padded(self._response, size), size

    def watched(self) -> Array:
        """Return the losses."""
        return np.diag(self.site.losses)

    def sweep(self) -> None:
        """Put features, readout and modes through their equations."""
        student, one = self._student, np.eye(self.size)
        below = np.tril(np.ones((self.size, self.size)), -1)
        pull, gain = student.rate * below, student.rate * student.richness
        moved = np.linalg.solve(one - gain * pull @ (self._slopes * below), pull)
        readout = moved @ self._slopes @ moved.T
        features = moved + gain * readout * below  # U
        self.site.sweep(self._response, features @ self._slopes @ features.T / student.width)
        back = np.linalg.inv(one + self.site.taught @ features / student.width)  # Q, G = -taught
        self._slopes = np.clip(back @ self.site.gradients @ back.T, -LARGEST, LARGEST)
        self._response = np.clip(features @ back, -LARGEST, LARGEST)


class RichTraining(Theory):
    """Bordelon et al.'s losses of `feature_learning`, and their exponents."""

    name = "rich_exponents"
    family = "feature_learning"
    fields = (
        "dimension", "width", "samples", "batch_size", "noise", "richness", "project", "spectrum_exponent",
        "target_exponent", "learning_rate",
    )  # fmt: skip
    optional_fields = ("samples", "batch_size")
    metrics: Mapping[str, str] = {"loss": "1", "train_loss": "1"}
    source = "Bordelon et al. 2024 (arXiv:2409.17858), sections 3 and 4"

    def predict(self, config: Mapping[str, Any], at: Steps) -> PredictedCurves:
        """Return expected losses and deviations at (T,) steps."""
        horizon = max(int(config["steps"]), int(at.max(initial=1)))
        settings: dict[str, Any] = {field: config.get(field) for field in self.fields}
        project, richness = settings.pop("project"), float(settings.pop("richness"))
        if richness == 0:
            alone = {"students": 1, "students_draw": "features", "optimizer": "gradient_descent", "momentum": None}
            return predicted_losses(horizon, at, **settings, **alone, tested_exponent=None)
        if not project:
            raise ArithmeticError("its features are not kept in the span that they began with (project: false)")
        if horizon > MOST_STEPS:
            raise ArithmeticError(f"it is rich and has {horizon} steps; at most {MOST_STEPS}")
        if settings["samples"] and settings["batch_size"]:
            raise ArithmeticError("it is rich and draws batches from samples; give samples or batch_size")
        test, deviation, train = (curve[at] for curve in _curves(horizon, richness, **settings))
        alpha, beta = float(settings["spectrum_exponent"]), float(settings["target_exponent"])
        test[at == 0], deviation[at == 0] = power_law(int(settings["dimension"]), 2 * (alpha + beta)).sum(), 0.0
        drawn = train * np.sqrt(2 / settings["samples"]) if settings["samples"] else deviation
        return PredictedCurves({"loss": test, "train_loss": train}, {"loss": deviation, "train_loss": drawn})

    def exponents(self, config: Mapping[str, Setting]) -> Mapping[str, float]:
        """Return the powers of time, width and compute, lazy or rich; empty where the spectrum has no sum."""
        alpha, beta, richness = (config[name] for name in ("spectrum_exponent", "target_exponent", "richness"))
        assert isinstance(alpha, int | float) and isinstance(beta, int | float) and isinstance(richness, int | float)
        spectrum, excess = 2 * alpha, 2 * (alpha + beta) - 1
        if spectrum <= 1 or excess <= 0:
            return {}
        found = rich_exponents(spectrum, excess / spectrum)
        if richness:
            time, compute, best = found.time_rich, found.compute_rich, found.best_width_rich
        else:
            time, compute, best = found.time_lazy, found.compute_lazy, found.best_width_lazy
        return {"time": -time, "width": -found.width, "compute": -compute, "best_width": best}


@lru_cache(maxsize=REMEMBERED)
def _curves(horizon: int, richness: float, **settings: Any) -> tuple[Array, Array, Array]:
    """Test loss, its deviation and train loss before training and after each step, (horizon + 1,) each."""
    alpha, beta = float(settings["spectrum_exponent"]), float(settings["target_exponent"])
    student = RichStudent(
        modes=power_law_modes(
            int(settings["dimension"]), 2 * alpha, 2 * (alpha + beta), exact=EXACT_MODES, per_decade=PANELS_PER_DECADE
        ),
        width=settings["width"],
        richness=richness,
        rate=float(settings["learning_rate"]),
        samples=settings["samples"] or np.inf,
        batch_size=settings["batch_size"] or np.inf,
        noise=float(settings["noise"]),
    )
    found = rich_losses(student, horizon + 1)
    return found.test, found.deviation, found.train


RICH_TRAINING = RichTraining()
