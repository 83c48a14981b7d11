"""Train and test loss of minibatch SGD on a fixed set of samples, for random features of power-law data.

P samples x of variances lambda_k with labels y = w . x + noise are learned by N random features phi = A x / sqrt(N), in
batches of B drawn with replacement, theta <- theta + (eta / B) sum phi (y - theta . phi). With F and F_train the curves
of full-batch gradient descent, the noise of the batches adds

    train(n) = F_train(n) + sum_{m<n} K_train(n-1-m) train(m)       test(n) = F(n) + sum_{m<n} K(n-1-m) train(m)

At s = -z around the spectrum of the features' empirical covariance, and kappa of `equivalents`, with R = 1 - df / P,
R' = 1 - df / N, H_k = 1 / (R R' (kappa + lambda_k)),

    K_train(n) = (eta^2 / B) oint z df (1 - eta z)^2n
    K(n) = (eta^2 / B) oint z R' sum_k lambda_k H_k (1 - eta z)^2n

F and F_train are integrals over two contours of what two resolvents become together, not each alone: C_0, the test
loss, and C_2 solve two linear equations at each pair (s, s~), whose sums are over modes of H_k H_k~; C_1 = R R~ (C_0 +
noise / s s~) is the train loss. The noise of a batch is taken as the mean train loss times the covariance, which holds
for B well below P.

Source: Atanasov et al. 2025 (arXiv:2502.05074), rederived; loss without the noise of labels where it is a test loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoflop.queries.theory.equivalents import Array, Complex, Modes, renormalized, upper_edge, wedge

EDGE = 1.2  # of the contour over the largest eigenvalue
MOST_STEPS = 5000  # of which every one is summed over all before it


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


@dataclass(frozen=True)
class _Point:
    """What one resolvent becomes at (n,) ridges."""

    ridge: Complex
    degrees: Complex
    by_samples: Complex  # R
    by_features: Complex  # R'
    inverse: Complex  # H, (n, K)


def _points(task: LinearSgd, ridge: Complex) -> _Point:
    kappa = renormalized(ridge, task.modes, task.samples, task.features)
    degrees = task.modes.degrees(kappa)
    one, other = 1 - degrees / task.samples, 1 - degrees / task.features
    inverse = 1 / ((one * other)[:, None] * (kappa[:, None] + task.modes.variance))
    return _Point(ridge, degrees, one, other, inverse)


def pair_losses(task: LinearSgd, ridge: Complex) -> tuple[Complex, Complex]:
    """Return C_0 and C_1, (n, n) each, at all pairs of (n,) ridges.

    s s~ C_0 at s = s~ is the test loss of regression with the ridge s on the covariance, C_1 its train loss.
    """
    at, modes = _points(task, ridge), task.modes

    def pairs(weight: Array) -> Complex:
        found: Complex = (at.inverse * (weight * modes.count)) @ at.inverse.T
        return found

    flat, curved = pairs(modes.variance), pairs(modes.variance**2)
    samples = np.outer(at.by_samples, at.by_samples)
    features = np.outer(at.by_features, at.by_features)
    ridges = np.outer(ridge, ridge)
    noise = task.noise / ridges
    from_samples = features * samples * curved / task.samples
    to_both = -features * flat / task.features
    first = pairs(modes.power) + from_samples * noise
    back = -ridges * samples * flat / task.samples
    own = 1 - samples * features * curved / task.features
    second = samples * pairs(modes.variance * modes.power) - back * noise
    test = (first * own - to_both * second) / ((1 - from_samples) * own - to_both * back)
    return test, samples * (test + noise)


def sgd_losses(task: LinearSgd, steps: int) -> Losses:
    """Return both losses before training and after each of some steps, (steps + 1,) each.

    Raises
    ------
    ArithmeticError : if SGD diverges at this learning rate, or for more than 5,000 steps
    """
    if steps > MOST_STEPS:
        raise ArithmeticError(f"{steps} steps; at most {MOST_STEPS}")
    rate, count = task.learning_rate, np.arange(steps + 1)
    largest = EDGE * upper_edge(task.modes, task.features, task.samples)
    if rate * largest >= 2 * EDGE:
        raise ArithmeticError(f"at the learning rate {rate:.3g} gradient descent diverges")
    upper, weight = wedge(largest, rate * max(steps, 1))
    nodes, weights = np.concatenate([upper, upper.conj()]), np.concatenate([weight, weight.conj()])
    decay = np.log1p(-rate * nodes)
    powers = np.exp(count[:, None] * decay) * -weights  # (T, n)
    test, train = (np.einsum("ti,ti->t", powers @ pair, powers).real for pair in pair_losses(task, -nodes))
    if not np.isfinite(task.batch_size):
        return Losses(test, train)
    at = _points(task, -nodes)
    squares = np.exp(2 * count[:, None] * decay) * -weights * nodes * rate**2 / task.batch_size
    kernel_train = (squares @ at.degrees).real
    kernel_test = (squares @ (at.by_features * (at.inverse @ (task.modes.count * task.modes.variance)))).real
    assert kernel_train[0] > 0
    for step in range(1, steps + 1):
        train[step] += kernel_train[:step][::-1] @ train[:step]
    for step in range(1, steps + 1):
        test[step] += kernel_test[:step][::-1] @ train[:step]
    if not np.isfinite(train).all():
        raise ArithmeticError(f"at the learning rate {rate:.3g} SGD diverges")
    return Losses(test, train)
