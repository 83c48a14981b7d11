"""What two resolvents of a linear student's data and features become together, at ridges along a contour.

The equations are in `isoflop.queries.theory.student_losses`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from isoflop.lakehouse.models.linear_descent import LinearDescent
from isoflop.queries.theory.equivalents import Array, Complex, Modes, renormalized

LEAST_ANGLE = 0.02  # [rad]; below it the way to a ridge takes thousands of steps


@dataclass(frozen=True, kw_only=True)
class Student:
    """A task, and who learns it.

    Parameters
    ----------
    modes : variances, and shares of the target
    samples, features : P and N; infinite for data without end, and for the modes themselves
    noise : variance of the labels' noise [target^2]
    descent : how weights move
    batch_size : B, averaged; infinite for the whole gradient
    students : E, whose mean predicts
    own_features, own_samples : what each student has of its own
    tested : (K,) variances of the data that are tested on; those of the modes by default
    """

    modes: Modes
    samples: float
    features: float
    noise: float
    descent: LinearDescent
    batch_size: float = np.inf
    students: int = 1
    own_features: bool = True
    own_samples: bool = False
    tested: Array | None = None


@dataclass(frozen=True)
class Pairs:
    """A function of two ridges above the axis: with both above, and with the second below the axis, (n, n) each."""

    above: Complex
    across: Complex

    def at(self, left: Complex) -> float:
        """The double integral, for what (n,) nodes weigh."""
        return 2 * float((left @ self.above @ left + left @ self.across @ left.conj()).real)

    def __mul__(self, other: Pairs | float) -> Pairs:
        if isinstance(other, Pairs):
            return Pairs(self.above * other.above, self.across * other.across)
        return Pairs(self.above * other, self.across * other)

    def __add__(self, other: Pairs) -> Pairs:
        return Pairs(self.above + other.above, self.across + other.across)

    def over(self, other: Pairs) -> Pairs:
        """Return the ratio, pair by pair."""
        return Pairs(self.above / other.above, self.across / other.across)


def outer(values: Complex) -> Pairs:
    """Return the products of (n,) values that are conjugate where their ridges are."""
    return Pairs(np.outer(values, values), np.outer(values, values.conj()))


@dataclass(frozen=True)
class Moments:
    """What two students have of second moments; of one student, or of two of an ensemble.

    Parameters
    ----------
    noisy : C_0 + noise / s s~
    by_features, by_samples : G_1 and G_2
    ladder : determinant of the two equations
    """

    noisy: Pairs
    by_features: Pairs
    by_samples: Pairs
    ladder: Pairs


class Resolvents:
    """One student at (n,) ridges s = -z.

    Parameters
    ----------
    nodes : (n,) z, off the positive axis

    Raises
    ------
    ArithmeticError : if no renormalized ridge is found
    """

    def __init__(self, student: Student, nodes: Complex) -> None:
        modes = student.modes
        self._student, self._nodes = student, nodes
        highest = float(np.abs(np.angle(nodes[np.argmax(np.abs(nodes.imag))])))  # [rad], over the spectrum
        kappa = renormalized(-nodes, modes, student.samples, student.features, angle=max(highest, LEAST_ANGLE))
        self.degrees = modes.degrees(kappa)
        self.by_samples, self.by_features = 1 - self.degrees / student.samples, 1 - self.degrees / student.features
        inverse = (self.by_samples * self.by_features)[:, None] * (kappa[:, None] + modes.variance)
        self.kappa: Complex = kappa
        self.inverse: Complex = 1 / inverse  # H, (n, K)
        self.tested = modes.variance if student.tested is None else student.tested

    def _pairs(self, weight: Array) -> Pairs:
        """The sums over modes of H_k H~_k; by three products of real matrices, as conjugates share them."""
        real, imaginary = self.inverse.real, self.inverse.imag
        weighed = weight * self._student.modes.count
        reals, others, mixed = (
            (real * weighed) @ real.T,
            (imaginary * weighed) @ imaginary.T,
            (real * weighed) @ imaginary.T,
        )
        return Pairs(reals - others + 1j * (mixed + mixed.T), reals + others + 1j * (mixed.T - mixed))

    def _moments(self, *, features: bool, samples: bool) -> Moments:
        """The moments, without what two students do not share."""
        student, modes = self._student, self._student.modes
        one_feature = 1 / student.features if features else 0.0
        one_sample = 1 / student.samples if samples else 0.0
        first, second = self._pairs(modes.power), self._pairs(modes.variance * modes.power)
        flat, curved = self._pairs(modes.variance), self._pairs(modes.variance**2)
        by_samples, by_features, ridges = (outer(each) for each in (self.by_samples, self.by_features, self._nodes))
        noise = Pairs(student.noise / ridges.above, student.noise / ridges.across)
        both = by_samples * by_features * curved
        one = Pairs(np.ones_like(flat.above), np.ones_like(flat.above))
        # C_0 = first + a C_2 + b (C_0 + noise),  C_2 = by_samples second + c (C_0 + noise) + d C_2
        a, b = by_features * flat * one_feature, both * one_sample
        c, d = ridges * by_samples * flat * one_sample, both * one_feature
        start, back = first + b * noise, by_samples * second + c * noise
        determinant = (one + b * -1.0) * (one + d * -1.0) + (a * c) * -1.0
        loss = (start * (one + d * -1.0) + a * back).over(determinant)
        taught = (back * (one + b * -1.0) + c * start).over(determinant)
        noisy = loss + noise
        return Moments(
            noisy, by_features * taught * one_feature, by_samples * by_features * noisy * one_sample, determinant
        )

    def together(self, weight: Array, strength: float) -> Pairs:
        """Return what makes modes scatter together: a rank of one, weighed by (K,) `weight`, of some strength.

        Parameters
        ----------
        weight : of H_k H~_k
        strength : 1 / N + 1 / P, what the draws of features and samples add
        """
        rank = self._pairs(weight)
        return (outer(self.by_samples) * outer(self.by_features) * rank * rank * strength).over(self.own[2].ladder)

    def _tested_on(self, moments: Moments) -> Pairs:
        modes = self._student.modes
        if self._student.tested is None:
            ridges = outer(self._nodes)
            return moments.noisy + Pairs(-self._student.noise / ridges.above, -self._student.noise / ridges.across)
        target = modes.power / modes.variance
        return (
            self._pairs(self.tested * target)
            + moments.by_features * self._pairs(self.tested)
            + moments.by_samples * self._pairs(self.tested * modes.variance)
        )

    @cached_property
    def own(self) -> tuple[Pairs, Pairs, Moments]:
        """Test and train loss of one student, and its moments."""
        moments = self._moments(features=True, samples=True)
        return self._tested_on(moments), outer(self.by_samples) * moments.noisy, moments

    @cached_property
    def shared(self) -> tuple[Pairs, Moments]:
        """What two students of an ensemble have together."""
        student = self._student
        moments = self._moments(features=not student.own_features, samples=not student.own_samples)
        return self._tested_on(moments), moments
