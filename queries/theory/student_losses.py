"""Expected losses of linear students of power-law data, at any step, and how far one run scatters about them.

N random features of P samples learn in closed form or in batches (`two_point` has the equations). Every mode k of what
is not learned yet has, at two ridges s = -z and s~, with H_k the response of `two_point`,

    <v_k v~_k> = H_k H~_k (w_k^2 + G_1 + lambda_k G_2)
    G_1 = R' R'~ C_2 / N     G_2 = R R~ R' R'~ (C_0 + noise/ss~) / P

so that the loss on data of any other variances is a sum over modes too. Two students that share no features have G_1 =
0, and 1/N left out of the equations of C_0 and C_2; two that share no samples have G_2 = 0 and no 1/P; the mean of E
students is (1/E) of one and (1 - 1/E) of a pair. Integrals are taken with p_n, what descent leaves of a mode.

Batches of B add their noise: with g_n the echo of a kick, and L the train loss, of samples that are drawn again

    train(n) = F_train(n) + sum_{m<n} K_train(n-1-m) train(m)     K_train(n) = (eta^2 / B) oint z df g_n^2
    test(n) = F(n) + sum_{m<n} K(n-1-m) train(m)                  K(n) = (eta^2 / B) oint z R' sum lambda_k H_k g_n^2

Fresh batches are Gaussian: each direction of curvature z is kicked by (eta^2 / B) (z L + z^2 rho) as well, rho its own
part of the loss. Node by node that is a recursion of its second moments at two steps.

The scatter is that of the modes as if each v_k were normal and alone: the variance of sum lambda_k v_k^2 is the sum of
lambda_k^2 (4 m_k^2 s_k^2 + 2 s_k^4); that of the train loss 2 / P of its square.

Source: Bordelon et al. 2024 (arXiv:2402.01092) and Atanasov et al. 2025 (arXiv:2502.05074).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from isoflop.lakehouse.models.linear_descent import LinearDescent
from isoflop.queries.theory.equivalents import Array, Complex, Modes, lens, renormalized, upper_edge
from isoflop.queries.theory.theory import Steps

MOST_STEPS = 20_000  # of batches; every one is summed over all before it
SCATTER_PER_DECADE = 4  # steps at which the scatter is computed; between them its share of the loss is interpolated


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
class StudentLosses:
    """Losses at each of (T,) steps, and the standard deviations of one run.

    Parameters
    ----------
    test, test_deviation : without the noise of labels [target^2]
    train, train_deviation : with it; the mean over students of their own
    """

    test: Array
    test_deviation: Array
    train: Array
    train_deviation: Array


@dataclass(frozen=True)
class _Pairs:
    """A function of two ridges of the upper half: with both above, and with the second below the axis, (n, n) each."""

    above: Complex
    across: Complex

    def at(self, left: Complex) -> float:
        """The double integral, for what (n,) nodes weigh."""
        return 2 * float((left @ self.above @ left + left @ self.across @ left.conj()).real)

    def __mul__(self, other: _Pairs | float) -> _Pairs:
        if isinstance(other, _Pairs):
            return _Pairs(self.above * other.above, self.across * other.across)
        return _Pairs(self.above * other, self.across * other)

    def __add__(self, other: _Pairs) -> _Pairs:
        return _Pairs(self.above + other.above, self.across + other.across)

    def over(self, other: _Pairs) -> _Pairs:
        return _Pairs(self.above / other.above, self.across / other.across)


def _outer(values: Complex) -> _Pairs:
    return _Pairs(np.outer(values, values), np.outer(values, values.conj()))


class StudentTheory:
    """What is integrated for one student, up to a horizon.

    Parameters
    ----------
    horizon : the last step that is asked for

    Raises
    ------
    ArithmeticError : if descent diverges, no contour is found, or batches are asked for too many steps
    """

    def __init__(self, student: Student, horizon: int) -> None:
        self._student, self._horizon = student, horizon
        descent, modes = student.descent, student.modes
        if np.isfinite(student.batch_size) and horizon > MOST_STEPS:
            raise ArithmeticError(f"{horizon} steps of batches; at most {MOST_STEPS}")
        edge = upper_edge(modes, student.features, student.samples)
        longest = descent.rate * max(horizon, 1) / (1 - descent.momentum)
        limits = (
            ()
            if descent.is_flow
            else (2 * (1 + descent.momentum) / descent.rate, (1 - descent.momentum) / descent.rate)
        )
        self._nodes, self._weights = lens(edge, max(longest, 1 / edge), *limits)
        ridge = -self._nodes
        kappa = renormalized(ridge, modes, student.samples, student.features)
        self._degrees = modes.degrees(kappa)
        self._by_samples, self._by_features = 1 - self._degrees / student.samples, 1 - self._degrees / student.features
        inverse = (self._by_samples * self._by_features)[:, None] * (kappa[:, None] + modes.variance)
        self._inverse: Complex = 1 / inverse  # H, (n, K)
        self._tested = modes.variance if student.tested is None else student.tested

    def losses(self, at: Steps) -> StudentLosses:
        """Return all losses at (T,) steps from 0 to the horizon; one step's do not depend on the others.

        Raises
        ------
        ArithmeticError : if batches diverge
        """
        test, train = self.means(at)
        test_share, train_share = self._scatter(at)
        return StudentLosses(test, test_share * test, train, train_share * train)

    def means(self, at: Steps) -> tuple[Array, Array]:
        """Return test and train loss alone, (T,) each; as `losses`, in a fraction of the time."""
        student = self._student
        if np.isfinite(student.batch_size):
            test, train = (curve[at] for curve in self._batched)
        else:
            test, train = np.array([self._descent(step) for step in at.tolist()]).reshape(-1, 2).T
        if not (np.isfinite(test).all() and np.isfinite(train).all()):
            raise ArithmeticError(f"at the learning rate {student.descent.rate:.3g} batches diverge")
        if student.students > 1:
            pair = np.array([self._shared[0].at(self._left(step)) for step in at.tolist()])
            test = test / student.students + (1 - 1 / student.students) * pair
        if at.size and at[0] == 0:  # known without an integral
            untaught = float(student.modes.count @ (student.modes.power / student.modes.variance * self._tested))
            test, train = test.copy(), train.copy()
            test[at == 0] = untaught
            train[at == 0] = float(student.modes.count @ student.modes.power) + student.noise
        return test, train

    # The whole gradient

    def _left(self, step: int) -> Complex:
        """What each node weighs after some steps, (n,)."""
        found: Complex = -self._weights * self._student.descent.unlearned(self._nodes, np.array(step))
        return found

    def _pairs(self, weight: Array) -> _Pairs:
        """The sums over modes of H_k H~_k; by three products of real matrices, as conjugates share them."""
        real, imaginary = self._inverse.real, self._inverse.imag
        weighed = weight * self._student.modes.count
        reals, others, mixed = (
            (real * weighed) @ real.T,
            (imaginary * weighed) @ imaginary.T,
            (real * weighed) @ imaginary.T,
        )
        return _Pairs(reals - others + 1j * (mixed + mixed.T), reals + others + 1j * (mixed.T - mixed))

    def _moments(self, *, features: bool, samples: bool) -> tuple[_Pairs, _Pairs, _Pairs]:
        """C_0 + noise / s s~, G_1 and G_2; without what two students do not share."""
        student, modes = self._student, self._student.modes
        one_feature = 1 / student.features if features else 0.0
        one_sample = 1 / student.samples if samples else 0.0
        first, second = self._pairs(modes.power), self._pairs(modes.variance * modes.power)
        flat, curved = self._pairs(modes.variance), self._pairs(modes.variance**2)
        by_samples, by_features, ridges = (_outer(each) for each in (self._by_samples, self._by_features, self._nodes))
        noise = _Pairs(student.noise / ridges.above, student.noise / ridges.across)
        both = by_samples * by_features * curved
        one = _Pairs(np.ones_like(flat.above), np.ones_like(flat.above))
        # C_0 = first + a C_2 + b (C_0 + noise),  C_2 = by_samples second + c (C_0 + noise) + d C_2
        a, b = by_features * flat * one_feature, both * one_sample
        c, d = ridges * by_samples * flat * one_sample, both * one_feature
        start, back = first + b * noise, by_samples * second + c * noise
        determinant = (one + b * -1.0) * (one + d * -1.0) + (a * c) * -1.0
        loss = (start * (one + d * -1.0) + a * back).over(determinant)
        taught = (back * (one + b * -1.0) + c * start).over(determinant)
        noisy = loss + noise
        return noisy, by_features * taught * one_feature, by_samples * by_features * noisy * one_sample

    def _tested_on(self, moments: tuple[_Pairs, _Pairs, _Pairs]) -> _Pairs:
        noisy, first, second = moments
        modes = self._student.modes
        if self._student.tested is None:
            ridges = _outer(self._nodes)
            return noisy + _Pairs(-self._student.noise / ridges.above, -self._student.noise / ridges.across)
        target = modes.power / modes.variance
        return (
            self._pairs(self._tested * target)
            + first * self._pairs(self._tested)
            + second * self._pairs(self._tested * modes.variance)
        )

    @cached_property
    def _own(self) -> tuple[_Pairs, _Pairs, tuple[_Pairs, _Pairs, _Pairs]]:
        """Test and train loss of one student, and its moments."""
        moments = self._moments(features=True, samples=True)
        return self._tested_on(moments), _outer(self._by_samples) * moments[0], moments

    @cached_property
    def _shared(self) -> tuple[_Pairs, tuple[_Pairs, _Pairs, _Pairs]]:
        """What two students of an ensemble have together."""
        student = self._student
        moments = self._moments(features=not student.own_features, samples=not student.own_samples)
        return self._tested_on(moments), moments

    def _descent(self, step: int) -> tuple[float, float]:
        left = self._left(step)
        return self._own[0].at(left), self._own[1].at(left)

    # Batches

    @cached_property
    def _echoes(self) -> Complex:
        """Squares of echoes g_n^2, (horizon, n)."""
        found: Complex = self._student.descent.echo(self._nodes, np.arange(self._horizon)[:, None]) ** 2
        return found

    @cached_property
    def _kick(self) -> Complex:
        """What a train loss of 1 does to each node in one step."""
        student = self._student
        found: Complex = -self._weights * self._nodes * student.descent.rate**2 / student.batch_size
        return found

    @cached_property
    def _batched(self) -> tuple[Array, Array]:
        """Test and train loss (horizon + 1,) at every step."""
        student, steps = self._student, np.arange(self._horizon + 1)[:, None]
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(student.samples):
                left = -self._weights * student.descent.unlearned(self._nodes, steps)
                train = _along(self._own[1], left)
                kernel = 2 * (self._echoes @ (self._kick * self._degrees)).real
                for step in range(1, self._horizon + 1):
                    train[step] += kernel[:step][::-1] @ train[:step]
            else:
                train = self._fresh() + student.noise
                if student.tested is None:
                    return train - student.noise, train
                left = -self._weights * student.descent.unlearned(self._nodes, steps)
            test = _along(self._own[0], left)
            seen = self._by_features * (self._inverse @ (student.modes.count * self._tested))
            kernel = 2 * (self._echoes @ (self._kick * seen)).real
            for step in range(1, self._horizon + 1):
                test[step] += kernel[:step][::-1] @ train[:step]
        return test, train

    def _fresh(self) -> Array:
        """The loss (horizon + 1,) of fresh batches, by the second moments of each node at two steps."""
        student, modes, nodes = self._student, self._student.modes, self._nodes
        momentum, rate = student.descent.momentum, student.descent.rate
        kappa = 1 / (self._inverse[:, 0] * self._by_features) - modes.variance[0]
        taught = (kappa[:, None] / (kappa[:, None] + modes.variance)) @ (modes.count * modes.power) / -nodes
        kept = 1 + momentum - rate * nodes
        own = kept**2 + (rate * nodes) ** 2 / student.batch_size
        kick = self._kick * self._degrees
        now = between = before = -self._weights * taught
        found = np.empty(self._horizon + 1)
        found[0] = 2 * now.sum().real
        for step in range(1, self._horizon + 1):
            after = own * now - 2 * kept * momentum * between + momentum**2 * before
            after = after + kick * (found[step - 1] + student.noise)
            between, before, now = kept * now - momentum * between, now, after
            found[step] = 2 * now.sum().real
        return found

    # Scatter

    def _scatter(self, at: Steps) -> tuple[Array, Array]:
        """Deviations of test and train loss over these losses, at (T,) steps."""
        student = self._student
        test, train = np.zeros(len(at)), np.full(len(at), np.sqrt(2 / student.samples))
        later = at > 0
        if later.any():
            steps, shares = self._shares
            test[later] = np.interp(np.log(at[later]), np.log(steps), shares)
        if not np.isfinite(student.samples):
            train = test
        elif student.own_samples:
            train = train / np.sqrt(student.students)
        return test, train

    @cached_property
    def _shares(self) -> tuple[Array, Array]:
        """Steps, and deviations of the test loss over its mean there."""
        count = int(np.ceil(SCATTER_PER_DECADE * np.log10(max(self._horizon, 1)))) + 1
        steps = np.unique(np.round(np.geomspace(1, max(self._horizon, 1), count)).astype(np.int64))
        return steps.astype(np.float64), np.array([self._share(int(step)) for step in steps])

    def _share(self, step: int) -> float:
        student, modes = self._student, self._student.modes
        part = 1 / student.students
        left = self._left(step)[:, None] * self._inverse  # (n, K)
        mean = 2 * left.sum(axis=0).real * np.sqrt(modes.power / modes.variance)
        spread = _modal(self._own[2], left, modes.variance)
        if np.isfinite(student.batch_size):
            train = self._batched[1][:step]
            heard = self._echoes[:step][::-1].T @ train
            spread = spread + 2 * ((heard * self._kick * self._by_features) @ self._inverse).real
        if student.students > 1:
            spread = part * spread + (1 - part) * _modal(self._shared[1], left, modes.variance)
        spread = np.maximum(spread, 0.0)
        variance = modes.count @ (self._tested**2 * (4 * mean**2 * spread + 2 * spread**2))
        loss = modes.count @ (self._tested * (mean**2 + spread))
        return float(np.sqrt(variance) / loss)


def _along(pairs: _Pairs, left: Complex) -> Array:
    """The double integral at every step, for what nodes weigh, (T, n)."""
    above = np.einsum("ti,ti->t", left @ pairs.above, left)
    across = np.einsum("ti,ti->t", left @ pairs.across, left.conj())
    found: Array = 2 * (above + across).real
    return found


def _modal(moments: tuple[_Pairs, _Pairs, _Pairs], left: Complex, variance: Array) -> Array:
    """The variance (K,) of what is not learned of each mode."""
    _, first, second = moments
    parts = [
        2
        * (np.einsum("ik,ik->k", left, each.above @ left) + np.einsum("ik,ik->k", left, each.across @ left.conj())).real
        for each in (first, second)
    ]
    found: Array = parts[0] + variance * parts[1]
    return found
