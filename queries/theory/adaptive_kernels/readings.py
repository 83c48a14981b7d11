"""What a network's neurons say of its errors and its kernel, in the limit of infinite width and beside it.

Neurons are features (S, P) at samples and (S, T) at test points, each with a share. In the limit all is a function of
the kernel Phi = <phi phi'>. At a width N neurons are N draws, tied by the labels: to leading order a mean over neurons
of anything o, and the outputs, have with c = cov(o, (Delta . phi) phi)

    var o = (<o^2> - <o>^2 - gamma^2 c' (M + ridge)^-1 c) / N          M = <phi phi'> + gamma^2 cov((Delta . phi) phi)
    cov f = (M - M (M + ridge)^-1 M) / (N gamma^2)

which holds the motion of the kernel too. Errors of one sample of a network have the trace of cov f in their mean.

Source: derived here, from the saddle point of arXiv:2502.07998 by Legendre transform.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isoflop.lakehouse.models.mean_field import DrawnTask
from isoflop.queries.theory.adaptive_kernels.lazy import regressed
from isoflop.queries.theory.equivalents import Array

PAIRED = 2  # neurons of a network before training are so many times fewer independent draws


@dataclass(frozen=True)
class Neurons:
    """Features of neurons.

    Parameters
    ----------
    seen : (S, P)
    tested : (S, T)
    shares : (S,), which sum to 1
    """

    seen: Array
    tested: Array
    shares: Array

    def kernels(self) -> tuple[Array, Array]:
        """Return Phi among samples, (P, P), and between test points and samples, (T, P)."""
        weighed = self.seen * self.shares[:, None]
        return self.seen.T @ weighed, self.tested.T @ weighed


@dataclass(frozen=True)
class Fact:
    """Something that follows from the kernel.

    Parameters
    ----------
    value : in the limit
    slope : (S,), its derivative by the kernel, along the square of each neuron's features
    """

    value: float
    slope: Array


def kernel_facts(neurons: Neurons, task: DrawnTask, ridge: float) -> dict[str, Fact]:
    """Return `predictor_loss`, `overlap` and `alignment` of some neurons."""
    kernel, cross = neurons.kernels()
    labels, targets = task.labels, task.test_targets
    inverse = np.linalg.inv(kernel + ridge * np.eye(len(kernel)))
    missing = inverse @ labels
    wrong = cross @ missing - targets
    along = neurons.seen @ missing
    pulled = neurons.tested @ wrong - neurons.seen @ (inverse @ (cross.T @ wrong))
    size, norm = float(labels @ labels), float(np.linalg.norm(kernel)) or 1.0  # no kernel, no alignment
    power = (neurons.seen @ labels) ** 2 / size
    overlap = float(labels @ kernel @ labels) / size
    within = np.add.reduce((neurons.seen @ kernel) * neurons.seen, axis=1)
    return {
        "predictor_loss": Fact(error(cross @ missing, targets), 2 * pulled * along / float(targets @ targets)),
        "overlap": Fact(overlap, power),
        "alignment": Fact(overlap / norm, power / norm - overlap / norm**3 * within),
    }


def error(found: Array, wanted: Array) -> float:
    """Return the squared error over that of predicting 0, as the family measures it."""
    return float(np.sum((found - wanted) ** 2) / np.sum(wanted**2))


@dataclass(frozen=True)
class Reading:
    """A metric of networks of width N: mean `value` + `rise` / N, variance `variance` / N + `square` / N^2."""

    value: float
    rise: float = 0.0
    variance: float = 0.0
    square: float = 0.0

    def at_width(self, width: int) -> tuple[float, float]:
        """Return mean and deviation of one network."""
        variance = max(self.variance, 0.0) / width + max(self.square, 0.0) / width**2
        return self.value + self.rise / width, float(np.sqrt(variance))


@dataclass(frozen=True)
class Change:
    """The distance |Phi - Phi(0)| / |Phi(0)| of networks of any width.

    Parameters
    ----------
    squared : |Phi - Phi(0)|^2 in the limit
    noise : what N neurons add, times N
    size, size_noise : |Phi(0)|^2 in the limit, and what N neurons add, times N
    entries : how many independent ones Phi(0) has, as its participation ratio says
    now, before, both, first : variances of one neuron's phi' (Phi - Phi(0)) phi in the end and before training, its
        covariance there with phi' Phi(0) phi, and the variance of that
    """

    squared: float
    noise: float
    size: float
    size_noise: float
    entries: float
    now: float
    before: float
    both: float
    first: float

    def at_width(self, width: int) -> tuple[float, float]:
        """Return mean and deviation of one network."""
        squared, size = self.squared + self.noise / width, self.size + self.size_noise / width
        ends = (self.now + self.before) / squared + 2 * self.both / size + squared * self.first / size**2
        own = (self.noise / width) ** 2 / (2 * self.entries * squared)  # the noise is a sum of squares, and scatters
        return float(np.sqrt(squared / size)), float(np.sqrt((max(ends, 0.0) / width + own) / size))


@dataclass(frozen=True, kw_only=True)
class Equilibrium:
    """Networks at equilibrium, on one task.

    Parameters
    ----------
    task : what they are taught
    ridge, richness : 1 / beta and gamma
    missing : (P,), Delta
    neurons : at equilibrium; `first` before training
    among, across, tested : M among samples (P, P), of test points with samples (T, P), and among test points (T, T)
    """

    task: DrawnTask
    ridge: float
    richness: float
    missing: Array
    neurons: Neurons
    first: Neurons
    among: Array
    across: Array
    tested: Array

    def readings(self) -> dict[str, Reading | Change]:
        """Return each metric at equilibrium."""
        damped = self.among + self.ridge * np.eye(len(self.among))
        inverse = np.asarray(np.linalg.inv(damped), dtype=np.float64)
        kernel, cross = self.neurons.kernels()
        tested = self.tested - self.across @ inverse @ self.across.T
        seen = self.among - self.among @ inverse @ self.among
        outputs = self.task.labels - self.ridge * self.missing
        facts = kernel_facts(self.neurons, self.task, self.ridge)
        found: dict[str, Reading | Change] = {
            name: Reading(fact.value, variance=self._variance(fact.slope, inverse)) for name, fact in facts.items()
        }
        return {
            **found,
            "loss": self._sampled(cross @ self.missing, self.task.test_targets, tested),
            "train_loss": self._sampled(outputs, self.task.labels, seen),
            "kernel_change": self._change(kernel, inverse),
        }

    def first_readings(self) -> dict[str, Reading]:
        """Return each metric before training."""
        facts = kernel_facts(self.first, self.task, self.ridge)
        return {
            **{"loss": Reading(1.0), "train_loss": Reading(1.0), "kernel_change": Reading(0.0)},
            **{name: Reading(fact.value, variance=PAIRED * float(np.var(fact.slope))) for name, fact in facts.items()},
        }

    def _sampled(self, predicted: Array, wanted: Array, covariance: Array) -> Reading:
        """The error of one sample of a network, whose outputs scatter by a covariance / (N gamma^2)."""
        wrong, size, scale = predicted - wanted, float(wanted @ wanted), self.richness**2
        return Reading(
            error(predicted, wanted),
            rise=max(float(np.trace(covariance)), 0.0) / scale / size,
            variance=4 * float(wrong @ covariance @ wrong) / scale / size**2,
            square=2 * float(np.sum(covariance**2)) / scale**2 / size**2,
        )

    def _change(self, kernel: Array, inverse: Array) -> Change:
        before, _ = self.first.kernels()
        moved = kernel - before
        slope, drift, own = (
            np.add.reduce((each.seen @ matrix) * each.seen, axis=1)
            for each, matrix in ((self.neurons, moved), (self.first, moved), (self.first, before))
        )
        spread = PAIRED * np.cov(drift, own)
        ratio = float(np.trace(before)) ** 2 / float(np.sum(before**2))
        return Change(
            squared=float(np.sum(moved**2)),
            noise=PAIRED * _scatter(self.first, before) + _scatter(self.neurons, kernel),
            size=float(np.sum(before**2)), size_noise=PAIRED * _scatter(self.first, before),
            entries=ratio * (ratio + 1) / 2,
            now=self._variance(slope, inverse), before=spread[0, 0], both=spread[0, 1], first=spread[1, 1],
        )  # fmt: skip

    def _variance(self, slope: Array, inverse: Array) -> float:
        """N times the variance of the mean over N neurons of something that each has, (S,)."""
        shares, seen = self.neurons.shares, self.neurons.seen
        centered = slope - shares @ slope
        tied = seen.T @ (shares * centered * (seen @ self.missing))
        return float(shares @ centered**2) - self.richness**2 * float(tied @ inverse @ tied)


def _scatter(neurons: Neurons, kernel: Array) -> float:
    """Sum over pairs of the variance of one neuron's product of features."""
    squares = np.add.reduce(neurons.seen**2, axis=1)
    return float(neurons.shares @ squares**2 - np.sum(kernel**2))


def neuron_moments(neurons: Neurons, missing: Array, richness: float) -> tuple[Array, Array, Array]:
    """Return M among samples, of test points with samples, and among test points."""
    both = np.concatenate([neurons.seen, neurons.tested], axis=1)
    along = neurons.seen @ missing
    weighed = both * (neurons.shares * (1 + richness**2 * along**2))[:, None]
    mean = (neurons.shares * along) @ both
    joint = both.T @ weighed - richness**2 * np.multiply.outer(mean, mean)
    count = neurons.seen.shape[1]
    return joint[:count, :count], joint[count:, :count], joint[count:, count:]


def lazy_errors(
    kernels: Mapping[str, tuple[Array, Array]], task: DrawnTask, ridge: float, ridges: tuple[float, ...]
) -> dict[str, float]:
    """Return the test error of regression with lazy kernels, at the run's ridge and at the best of some others.

    Parameters
    ----------
    kernels : among samples (P, P) and of test points with samples (T, P), by name
    """
    found = dict[str, float]()
    for name, (kernel, cross) in kernels.items():
        errors = [error(regressed(kernel, cross, task.labels, each), task.test_targets) for each in (ridge, *ridges)]
        found |= {f"{name}_loss": errors[0], f"{name}_best_loss": min(errors)}
    return found
