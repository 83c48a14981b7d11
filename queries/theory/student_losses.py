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

The scatter is that of normal modes: for v_k of mean m_k and variance s_k^2, sum lambda_k v_k^2 has the variance
sum lambda_k^2 (4 m_k^2 s_k^2 + 2 s_k^4), and as one draw of features or samples moves all modes at once

    4 oint oint p_n p_n (1/N + 1/P) R R~ R' R'~ (sum lambda_k^2 w_k m_k H_k H~_k)^2 / D

with D the determinant of the two equations: exact at first order in time, of the right size later. The train loss has 2
/ P of its square, and what features and batches add in the same way.

Source: Bordelon et al. 2024 (arXiv:2402.01092) and Atanasov et al. 2025 (arXiv:2502.05074).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from isoflop.lakehouse.models.linear_descent import LinearDescent
from isoflop.lakehouse.models.spectrum import power_law
from isoflop.queries.theory.equivalents import Array, Complex, lens, power_law_modes, upper_edge
from isoflop.queries.theory.student_pairs import Moments, Pairs, Resolvents, Student
from isoflop.queries.theory.theory import PredictedCurves, Steps

MOST_STEPS = 20_000  # of batches; every one is summed over all before it
LOUDEST = 1e3  # of what descent leaves at a node; the left end has e, and digits are lost with more
TRUSTED = 1e-4  # relative, of the integral at step 0, which is known; a wrong branch of kappa misses by per cents
KEPT = 4  # tasks whose integrals are remembered, for runs that differ by their seed; each takes 10 to 100 MB
SCATTER_PER_DECADE = 2  # steps at which the scatter is computed; between them its share of the loss is interpolated


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
        with np.errstate(over="ignore", invalid="ignore"):
            loudest = np.max(np.abs(descent.unlearned(self._nodes, np.array(horizon))))
        if not loudest < LOUDEST:
            raise ArithmeticError("descent is not damped on the contour: its learning rate is near the largest")
        self._at = Resolvents(student, self._nodes)

    def losses(self, at: Steps | Array) -> StudentLosses:
        """Return all losses at (T,) steps from 0 to the horizon; one step's do not depend on the others.

        The flow has losses between its steps too, from the first on.

        Raises
        ------
        ArithmeticError : if batches diverge
        """
        test, train = self.means(at)
        test_share, train_share = self._scatter(at)
        return StudentLosses(test, test_share * test, train, train_share * train)

    def means(self, at: Steps | Array) -> tuple[Array, Array]:
        """Return test and train loss alone, (T,) each; as `losses`, in a fraction of the time.

        Raises
        ------
        ArithmeticError : if batches diverge, or the integral misses the loss that is known before training
        """
        student, start = self._student, self._untaught
        if not abs(self._at.own[0].at(self._left(0)) / start - 1) < TRUSTED:
            raise ArithmeticError("the integral misses the loss before training: its contour is too thin")
        if np.isfinite(student.batch_size):
            test, train = (curve[at.astype(np.int64)] for curve in self._batched)
        else:
            test, train = np.array([self._descent(step) for step in at.tolist()]).reshape(-1, 2).T
        if not (np.isfinite(test).all() and np.isfinite(train).all()):
            raise ArithmeticError(f"at the learning rate {student.descent.rate:.3g} batches diverge")
        if student.students > 1:
            pair = np.array([self._at.shared[0].at(self._left(step)) for step in at.tolist()])
            test = test / student.students + (1 - 1 / student.students) * pair
        if at.size and at[0] == 0:  # known without an integral
            test, train = test.copy(), train.copy()
            test[at == 0] = start
            train[at == 0] = float(student.modes.count @ student.modes.power) + student.noise
        return test, train

    @cached_property
    def _untaught(self) -> float:
        """The test loss before training, as a sum over modes."""
        modes = self._student.modes
        return float(modes.count @ (modes.power / modes.variance * self._at.tested))

    def every_step(self) -> tuple[Array, Array]:
        """Return test and train loss before training and after each step of a single student, (horizon + 1,) each."""
        if np.isfinite(self._student.batch_size):
            return self._batched
        left = -self._weights * self._student.descent.unlearned(self._nodes, np.arange(self._horizon + 1)[:, None])
        return _along(self._at.own[0], left), _along(self._at.own[1], left)

    # The whole gradient

    def _left(self, step: float) -> Complex:
        """What each node weighs after some steps, (n,)."""
        found: Complex = -self._weights * self._student.descent.unlearned(self._nodes, np.array(step))
        return found

    def _descent(self, step: float) -> tuple[float, float]:
        left = self._left(step)
        return self._at.own[0].at(left), self._at.own[1].at(left)

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
                train = _along(self._at.own[1], left)
                kernel = 2 * (self._echoes @ (self._kick * self._at.degrees)).real
                for step in range(1, self._horizon + 1):
                    train[step] += kernel[:step][::-1] @ train[:step]
            else:
                train = self._fresh() + student.noise
                if student.tested is None:
                    return train - student.noise, train
                left = -self._weights * student.descent.unlearned(self._nodes, steps)
            test = _along(self._at.own[0], left)
            seen = self._at.by_features * (self._at.inverse @ (student.modes.count * self._at.tested))
            kernel = 2 * (self._echoes @ (self._kick * seen)).real
            for step in range(1, self._horizon + 1):
                test[step] += kernel[:step][::-1] @ train[:step]
        return test, train

    def _fresh(self) -> Array:
        """The loss (horizon + 1,) of fresh batches, by the second moments of each node at two steps."""
        student, modes, nodes = self._student, self._student.modes, self._nodes
        momentum, rate = student.descent.momentum, student.descent.rate
        kappa = self._at.kappa
        taught = (kappa[:, None] / (kappa[:, None] + modes.variance)) @ (modes.count * modes.power) / -nodes
        kept = 1 + momentum - rate * nodes
        own = kept**2 + (rate * nodes) ** 2 / student.batch_size
        kick = self._kick * self._at.degrees
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

    def _scatter(self, at: Steps | Array) -> tuple[Array, Array]:
        """Deviations of test and train loss over these losses, at (T,) steps."""
        drawn = np.sqrt(2 / self._student.samples / (self._student.students if self._student.own_samples else 1))
        test, train = np.zeros(len(at)), np.full(len(at), drawn)
        later = at > 0
        if later.any():
            steps, shares = self._shares
            test[later], trained = (np.interp(np.log(at[later]), np.log(steps), each) for each in shares.T)
            train[later] = np.hypot(drawn, trained)
        return test, train

    @cached_property
    def _shares(self) -> tuple[Array, Array]:
        """Steps, and deviations (steps, 2) of both losses over their means there; without what samples do to train."""
        count = int(np.ceil(SCATTER_PER_DECADE * np.log10(max(self._horizon, 1)))) + 1
        steps = np.unique(np.round(np.geomspace(1, max(self._horizon, 1), count)).astype(np.int64))
        return steps.astype(np.float64), np.array([self._share(int(step)) for step in steps])

    def _share(self, step: int) -> tuple[float, float]:
        student, modes = self._student, self._student.modes
        part = 1 / student.students
        left = self._left(step)[:, None] * self._at.inverse  # (n, K)
        mean = 2 * left.sum(axis=0).real * np.sqrt(modes.power / modes.variance)
        spread, kicked = _modal(self._at.own[2], left, modes.variance), np.zeros(len(mean))
        if np.isfinite(student.batch_size):
            heard = self._echoes[:step][::-1].T @ self._batched[1][:step]
            kicked = 2 * ((heard * self._kick * self._at.by_features) @ self._at.inverse).real
        alone = np.maximum(spread, 0.0), np.maximum(kicked, 0.0)
        target = np.sqrt(modes.power / modes.variance)
        trained = self._train_share(step, left, mean, *alone)
        together = sum(alone)
        if student.students > 1:
            shared = np.maximum(_modal(self._at.shared[1], left, modes.variance), 0.0)
            together = part * together + (1 - part) * shared
        variance = modes.count @ (self._at.tested**2 * (4 * mean**2 * together + 2 * together**2))
        strength = (part if student.own_features else 1.0) / student.features
        strength += (part if student.own_samples else 1.0) / student.samples
        variance += self._coupled(step, self._at.tested * mean * target, strength)
        return float(np.sqrt(variance) / (modes.count @ (self._at.tested * (mean**2 + together)))), trained

    def _coupled(self, step: int, weight: Array, strength: float) -> float:
        """What modes that scatter together add to a variance."""
        coupled = self._at.together(self._student.modes.variance * weight, strength)
        return 4 * max(coupled.at(self._left(step)), 0.0)

    def _train_share(self, step: int, left: Complex, mean: Array, spread: Array, kicked: Array) -> float:
        """What features and batches do to train losses; all of it where data have no end."""
        student, modes = self._student, self._student.modes
        total = float(modes.count @ (modes.variance * (mean**2 + spread + kicked))) + student.noise
        moved = np.maximum(_modal(self._at.own[2], left, 0 * modes.variance), 0.0) + kicked  # by no samples
        target = np.sqrt(modes.power / modes.variance)
        coupled = self._coupled(step, modes.variance * mean * target, 1 / student.features)
        variance = coupled + modes.count @ (modes.variance**2 * (4 * mean**2 * moved + 2 * moved**2))
        return float(np.sqrt(variance / student.students)) / total


def _along(pairs: Pairs, left: Complex) -> Array:
    """The double integral at every step, for what nodes weigh, (T, n)."""
    above = np.einsum("ti,ti->t", left @ pairs.above, left)
    across = np.einsum("ti,ti->t", left @ pairs.across, left.conj())
    found: Array = 2 * (above + across).real
    return found


def _modal(moments: Moments, left: Complex, variance: Array) -> Array:
    """The variance (K,) of what is not learned of each mode."""
    parts = [
        2
        * (np.einsum("ik,ik->k", left, each.above @ left) + np.einsum("ik,ik->k", left, each.across @ left.conj())).real
        for each in (moments.by_features, moments.by_samples)
    ]
    found: Array = parts[0] + variance * parts[1]
    return found


def predicted_losses(horizon: int, at: Steps, **settings: Any) -> PredictedCurves:
    """Return both losses of a run of linear students at (T,) steps, by the settings of its family."""
    found = _theory(horizon, **settings).losses(at)
    test, deviation = found.test.copy(), found.test_deviation.copy()
    tested = settings["tested_exponent"]
    alpha = settings["spectrum_exponent"] if tested is None else tested
    test[at == 0] = power_law(int(settings["dimension"]), 2 * (alpha + settings["target_exponent"])).sum()
    return PredictedCurves(
        {"loss": test, "train_loss": found.train}, {"loss": deviation, "train_loss": found.train_deviation}
    )


@lru_cache(maxsize=KEPT)
def _theory(horizon: int, **settings: Any) -> StudentTheory:
    alpha, beta = float(settings["spectrum_exponent"]), float(settings["target_exponent"])
    modes = power_law_modes(int(settings["dimension"]), 2 * alpha, 2 * (alpha + beta))
    drawn, shifted = settings["students_draw"], settings["tested_exponent"]
    student = Student(
        modes=modes,
        samples=settings["samples"] or np.inf,
        features=settings["width"] or np.inf,
        noise=float(settings["noise"]),
        descent=LinearDescent(
            float(settings["learning_rate"]), settings["momentum"] or 0.0, settings["optimizer"] == "gradient_flow"
        ),
        batch_size=settings["batch_size"] or np.inf,
        students=int(settings["students"]),
        own_features=drawn != "samples",
        own_samples=drawn != "features",
        tested=None if shifted is None else modes.variance ** (float(shifted) / alpha),
    )
    return StudentTheory(student, horizon)
