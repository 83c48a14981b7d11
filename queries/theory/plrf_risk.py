"""The risk of power-law random features averaged over the features: curves of any width and length, and their parts.

`volterra_plrf` is exact for the features that a run has drawn. Here W is replaced by its deterministic equivalent, so
that neither a draw nor d numbers a step are needed: d = 10^9 for 10^9 steps takes a fraction of a second. With kappa at
s = -z (`equivalents`, N = d), forcing and kernel of the Volterra equation are integrals around the spectrum,

    P(r) = F(r) + sum_{s<r} K(r-1-s) P(s)              q(z) = 1 - 2 gamma B z + gamma^2 B (B + 1) z^2
    F(r) = -oint G(-z) q^r       G(s) = (1/s) sum_j lambda_j b_j^2 kappa / (kappa + lambda_j)
    K(r) = -gamma^2 B oint z T(-z) q^r                 T(s) = sum_j lambda_j / (lambda_j + kappa)

Each node z_i of the contour carries rho_i, rho_i <- q_i rho_i + k_i P, which is the equation itself, step by step. From
step 25 on the steps are taken together, h of them at once, with P a straight line within them: rho_i gains

    q^h rho + k (A P_0 + C (P_1 - P_0) / h)     A = (1 - q^h) / (1 - q)     C = (h - A) / (1 - q)

and P_1 = sum_i rho_i is solved for, one linear equation. h grows as the step does.

One draw of W differs from this mean, by 10 to 25 per cent at width 200.

Source: Paquette et al. 2024 (arXiv:2405.15074), sections 2 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import gamma as gamma_function

from isoflop.lakehouse.models.random_features import usual_rate_constant
from isoflop.queries.theory.equivalents import Array, Complex, Modes, power_law_modes, renormalized, upper_edge, wedge
from isoflop.queries.theory.theory import Steps

SINGLE_STEPS = 25  # taken one by one, before the curve is straight over many
RATIO = 0.02  # of the steps taken together to those before; 0.04 changes a curve by less than 1e-3
EDGE = 1.2  # of the contour over the largest eigenvalue


@dataclass(frozen=True, kw_only=True)
class RandomFeatures:
    """A problem and how it is trained, as the family `plrf` has them.

    Parameters
    ----------
    width, ambient : d and v, v >= d
    spectrum_exponent, target_exponent : alpha and beta
    batch_size : B, summed
    rate_constant : c of gamma = c / sum of j^-2alpha; 1 / (B + 1) when None
    """

    width: int
    ambient: int
    spectrum_exponent: float
    target_exponent: float
    batch_size: int = 1
    rate_constant: float | None = None

    @property
    def modes(self) -> Modes:
        """Variances of the data, and the target's share of each."""
        alpha, beta = self.spectrum_exponent, self.target_exponent
        return power_law_modes(self.ambient, 2 * alpha, 2 * alpha + 2 * beta)

    @property
    def rate(self) -> float:
        """The learning rate gamma."""
        constant = self.rate_constant or usual_rate_constant(self.batch_size)
        modes = self.modes
        return float(constant / (modes.count @ modes.variance))


@dataclass(frozen=True)
class Nodes:
    """The upper half of a contour, as a linear recursion: real sums over it are doubled.

    Parameters
    ----------
    slowness : (n,) 1 - q, complex
    forcing : (n,) of F(r) = 2 Re sum forcing q^r
    kernel : (n,) of K(r) = 2 Re sum kernel q^r
    """

    slowness: Complex
    forcing: Complex
    kernel: Complex

    def sums(self, at: Steps) -> tuple[Array, Array]:
        """Return F and K, (T,) each, at (T,) steps."""
        powers = np.exp(at[:, None] * np.log1p(-self.slowness))  # (T, n)
        return 2 * (powers @ self.forcing).real, 2 * (powers @ self.kernel).real


def contour_nodes(problem: RandomFeatures, longest: int) -> Nodes:
    """Return the nodes that hold for steps up to `longest`.

    Raises
    ------
    ArithmeticError : if the learning rate is so large that a direction grows
    """
    modes, rate, batch = problem.modes, problem.rate, problem.batch_size
    largest = upper_edge(modes, problem.width)
    if rate * (batch + 1) * largest >= 2:
        raise ArithmeticError(f"at the learning rate {rate:.3g} SGD diverges")
    z, weight = wedge(EDGE * largest, 2 * rate * batch * max(longest, SINGLE_STEPS))
    kappa = renormalized(-z, modes, features=problem.width)
    forcing = (kappa[:, None] / (kappa[:, None] + modes.variance)) @ (modes.count * modes.power) / z
    kernel = -(rate**2) * batch * z * modes.degrees(kappa)
    slowness = 2 * rate * batch * z - rate**2 * batch * (batch + 1) * z**2
    return Nodes(slowness, weight * forcing, weight * kernel)


def risk_curve(problem: RandomFeatures, at: Steps) -> Array:
    """Return the risk (T,), averaged over W and data, after each of (T,) steps in rising order.

    Raises
    ------
    ArithmeticError : if the learning rate is so large that the risk grows without end
    """
    nodes = contour_nodes(problem, int(at[-1]) if len(at) else 0)
    if 2 * float((nodes.kernel / nodes.slowness).sum().real) >= 1:  # the sum of the kernel over all steps
        raise ArithmeticError(f"at the learning rate {problem.rate:.3g} SGD diverges")
    found = dict.fromkeys(at.tolist(), 0.0)
    rho, decay = nodes.forcing, np.log1p(-nodes.slowness)
    step, risk = 0, 2 * float(nodes.forcing.sum().real)
    for upcoming in _places(at):
        if step in found:
            found[step] = risk
        many = upcoming - step
        kept = -np.expm1(many * decay)  # 1 - q^h
        held = kept / nodes.slowness
        leaned = (many - held) / (nodes.slowness * many)
        gain = 2 * float((nodes.kernel @ leaned).real)
        flat = rho * (1 - kept) + nodes.kernel * held * risk
        after = (2 * float(flat.sum().real) - gain * risk) / (1 - gain)
        rho = flat + nodes.kernel * leaned * (after - risk)
        step, risk = upcoming, after
    found[step] = risk
    return np.array([found[each] for each in at.tolist()])


def _places(at: Steps) -> list[int]:
    """The steps that are stopped at after step 0: each of the first ones, then in equal ratios and where asked."""
    longest = int(at[-1]) if len(at) else 0
    found, step = [], 0
    asked = [each for each in np.unique(at).tolist() if each > 0]
    for stop in asked:
        while step < stop:
            step = min(stop, step + (1 if step < SINGLE_STEPS else max(1, int(RATIO * step))))
            found.append(step)
    assert not found or found[-1] == longest
    return found


def asymptotic_parts(problem: RandomFeatures, at: Steps) -> Mapping[str, Array]:
    """Return the parts of the risk that are power laws, (T,) each, at (T,) steps > 0.

    F_pp, F_ac and F_0 as the paper has them, K_pp divided by gamma B, so that the risk is of the order of their sum.
    F_ac is 0 unless 2 alpha > 1 and 2 beta > 1, K_pp unless alpha > 1/4: the integrals that give them diverge there.
    """
    alpha, beta, modes = problem.spectrum_exponent, problem.target_exponent, problem.modes
    half = 1 / (2 * alpha)
    seen = 2 * problem.rate * problem.batch_size * at.astype(np.float64)
    floor = np.full(len(at), unreachable(modes, problem.width))
    learned = half * gamma_function(1 + beta / alpha - half) * seen ** (-(1 + beta / alpha) + half)
    bent = noise = np.zeros(len(at))
    if 2 * alpha > 1 and 2 * beta > 1:
        coefficients = power_law_modes(problem.ambient, 2 * beta, 2 * beta)
        total = float(coefficients.count @ coefficients.variance)
        bent = half * gamma_function(1 - half) * total / problem.width * seen ** (half - 1)
    if alpha > 0.25:
        noise = half * problem.rate * gamma_function(2 - half) * seen ** (half - 2)
    return {"F_pp": learned, "F_ac": bent, "F_0": floor, "K_pp": noise}


def unreachable(modes: Modes, width: int) -> float:
    """Return F_0, the mean part of the target that no theta reaches: 0 where features are as many as modes."""
    if modes.count.sum() <= width:
        return 0.0
    low, high = np.log(modes.variance.min()) - 60, np.log(float(modes.count @ modes.variance) / width) + 1
    for _ in range(200):  # halvings, to the last digit
        middle = (low + high) / 2
        if float(modes.count @ (modes.variance / (modes.variance + np.exp(middle)))) > width:
            low = middle
        else:
            high = middle
    kappa = np.exp((low + high) / 2)
    return float(modes.count @ (modes.power * kappa / (kappa + modes.variance)))
