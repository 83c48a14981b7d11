"""How learning features changes the exponents of a linear network on power-law data, and its curve at infinite width.

Data have the spectrum lambda_k = k^-alpha, the target lambda_k w_k^2 = k^-(alpha beta + 1), so that what lies beyond
mode k weighs k^-(alpha beta). A student f = theta . A psi / N is trained in theta alone (lazy), or in A as well (rich),
which learns by gamma as much. At infinite width and data, for u = A^T theta / N, K = A^T A / N and q = |theta|^2 / N,

    du/dt = (K + gamma q) g         dK/dt = gamma (u g^T + g u^T)         dq/dt = 2 u . g         g = Lambda (w - u)

Lazy losses fall as t^-beta. A rich student of a target outside the kernel's space (beta < 1) has q ~ tau^((1-beta)/2)
in the time tau it makes, d tau = gamma q dt, and falls as t^-(2 beta / (1 + beta)); one inside gains nothing.

The floor of finite width is N^-(alpha min(1, beta)), and on the frontier of compute N t

    hard, beta < 1           L ~ C^-(alpha beta / (alpha + 1)), rich C^-(2 alpha beta / (alpha (1 + beta) + 2))
    easy                     L ~ C^-(alpha beta / (alpha beta + 1))
    super-easy, beta > 2 - 1/alpha     the noise of SGD rules, L ~ C^-(1 - 1 / (2 alpha))

The lazy ones are phases Ia, II and III of `phases`, at alpha / 2 and (alpha beta - alpha + 1) / 2 for alpha and beta.

The curve is stepped in the logarithm of time, implicitly in w - u; modes that are alike have one number, their count
stands in the products.

Source: Bordelon et al. 2024 (arXiv:2409.17858), sections 2 to 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoflop.queries.theory.equivalents import Array, power_law_modes

FIRST = 1e-2  # time of the first step, in which the largest mode, of variance 1, moves by a hundredth
RATIO = 0.02  # of a step to the time before it; half of it changes losses by less than 1 per cent


@dataclass(frozen=True)
class RichExponents:
    """The exponents of a task, lazy and rich.

    Parameters
    ----------
    difficulty : `hard`, `easy` or `super-easy`
    time_lazy, time_rich : L ~ t^-time at infinite width
    width : L ~ N^-width when trained for long
    compute_lazy, compute_rich : L ~ C^-compute on the frontier of C = N t
    best_width_lazy, best_width_rich : N ~ C^best_width there
    """

    difficulty: str
    time_lazy: float
    time_rich: float
    width: float
    compute_lazy: float
    compute_rich: float
    best_width_lazy: float
    best_width_rich: float


def rich_exponents(alpha: float, beta: float) -> RichExponents:
    """Return the exponents of a spectrum k^-alpha and a target beyond mode k of weight k^-(alpha beta).

    Raises
    ------
    ArithmeticError : for alpha <= 1, whose variances have no sum

    Example
    -------
    >>> found = rich_exponents(2.0, 0.5)
    >>> found.difficulty, round(found.compute_lazy, 4), round(found.compute_rich, 4)
    ('hard', 0.3333, 0.4)
    """
    if alpha <= 1:
        raise ArithmeticError(f"alpha is {alpha:g}; variances k^-alpha have a sum above 1 only")
    width = alpha * min(1.0, beta)
    if beta < 1:
        richer = 2 * beta / (1 + beta)
        rich_total = alpha * (1 + beta) + 2
        return RichExponents(
            "hard", beta, richer, width, alpha * beta / (alpha + 1), 2 * alpha * beta / rich_total, 1 / (1 + alpha),
            2 / rich_total,
        )  # fmt: skip
    if beta < 2 - 1 / alpha:
        compute, best = alpha * beta / (alpha * beta + 1), (alpha * beta - alpha + 1) / (alpha * beta + 1)
        return RichExponents("easy", beta, beta, width, compute, compute, best, best)
    return RichExponents("super-easy", beta, beta, width, 1 - 1 / (2 * alpha), 1 - 1 / (2 * alpha), 0.5, 0.5)


def rich_curve(alpha: float, beta: float, richness: float, at: Array, size: int = 10**6) -> Array:
    """Return the loss (T,) of a student of infinite width at (T,) times in rising order, all of its data at once.

    Parameters
    ----------
    alpha, beta : of the task
    richness : gamma; 0 is lazy
    at : times >= 0
    size : modes of the task

    Raises
    ------
    ArithmeticError : if a loss is no finite number
    """
    modes = power_law_modes(size, alpha, alpha * beta + 1)
    variance, count = modes.variance, modes.count
    target = np.sqrt(modes.power / variance)
    missing, learned = target.copy(), np.zeros_like(target)
    kernel = np.zeros((len(target), len(target)))  # K - I
    grown, time = 0.0, 0.0
    found = []
    for asked in at.tolist():
        while time < asked:
            step = min(max(FIRST, RATIO * time), asked - time)
            rate = kernel * count + (1 + richness * grown) * np.eye(len(target))
            after = np.linalg.solve(np.eye(len(target)) + step * rate * variance, missing)
            slope = variance * after
            middle = learned + (missing - after) / 2
            kernel += step * richness * (np.outer(middle, slope) + np.outer(slope, middle))
            grown += 2 * step * float(count @ (middle * slope))
            learned, missing = learned + (missing - after), after
            time += step
        found.append(float(count @ (variance * missing**2)))
    if not np.isfinite(found).all():
        raise ArithmeticError("the loss is no finite number")
    return np.array(found)
