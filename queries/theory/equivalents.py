"""Deterministic equivalents of random covariances: power-law modes, the renormalized ridge, a contour around spectra.

With modes of variance lambda_k, D samples and N random features, a resolvent at ridge s behaves as one without noise at
another ridge kappa,

    kappa (1 - df / D) (1 - df / N) = s        df(kappa) = sum_k lambda_k / (lambda_k + kappa)

and a function of the random spectrum is an integral of the resolvent at s = -z around it.

Source: Atanasov et al. 2025 (arXiv:2502.05074); for one of D, N infinite, Paquette et al. 2024 (arXiv:2405.15074).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

EXACT_MODES = 100  # kept one by one; sums over those that follow are integrals, off by less than 1e-5 of the next mode
PANELS_PER_DECADE = 15  # of the modes that follow; resonances are as narrow as 0.2 in the logarithm of the mode
PANEL_NODES = 3  # of each of these panels, Gauss-Legendre
ANGLE = 0.5  # [rad] between a ray of the contour and the spectrum
PANEL = 1.5  # width in the logarithm of the distance from the apex
NODES = 12  # of each panel, Gauss-Legendre
CLOSING = 24  # nodes of the segment that closes the contour
LENS_ANGLE = 0.55  # [rad] of a lens whose height is not limited
LENS_PANEL = 2.0  # of its angle: Gauss-Legendre of 12 nodes is then off by 1e-9
THINNEST = 0.06  # [rad]; a thinner lens takes thousands of nodes
WITHIN = 0.9  # of the height of the region that is damped, at the highest point of a lens
BEYOND = 0.2  # of the upper edge, between it and the right end of a lens
STAGE = (
    8.0  # ratio of one ridge to the next on the way from a large one, for which kappa = s, down to the one asked for
)
LARGE = 10.0  # times the sum of variances over samples: a ridge that no sample is seen through
MOST_STEPS = 60  # of Newton's method at the last ridge
ACCURACY = 1e-11  # relative, of kappa


@dataclass(frozen=True)
class Modes:
    """Modes of the data, or nodes of an integral over them.

    Parameters
    ----------
    variance : (K,) lambda, of one mode
    power : (K,) lambda * target^2, of one mode
    count : (K,) modes that each stands for
    """

    variance: Array
    power: Array
    count: Array

    def degrees(self, kappa: Complex) -> Complex:
        """Return the degrees of freedom df (S,) at each kappa (S,)."""
        found: Complex = (1 / (self.variance + kappa[:, None])) @ (self.count * self.variance)
        return found


def power_law_modes(
    size: int,
    variance_exponent: float,
    power_exponent: float,
    *,
    exact: int = EXACT_MODES,
    per_decade: int = PANELS_PER_DECADE,
) -> Modes:
    """Return the modes k = 1..size with variance k^-variance_exponent and power k^-power_exponent.

    The first `exact` are themselves; the others are nodes of an integral over the logarithm of k, by so many panels a
    decade.
    """
    number = np.arange(1, min(size, exact) + 1, dtype=np.float64)
    count = np.ones(len(number))
    if size > exact:
        low, high = np.log(exact + 0.5), np.log(size + 0.5)
        edges = np.linspace(low, high, int(np.ceil(per_decade * (high - low) / np.log(10))) + 1)
        points, weights = np.polynomial.legendre.leggauss(PANEL_NODES)
        half = np.diff(edges)[:, None] / 2
        between = np.exp(half * points + (edges[:-1, None] + half)).ravel()
        number = np.concatenate([number, between])
        count = np.concatenate([count, (half * weights).ravel() * between])
    return Modes(number**-variance_exponent, number**-power_exponent, count)


def renormalized(
    ridge: Complex, modes: Modes, samples: float = np.inf, features: float = np.inf, *, angle: float = ANGLE
) -> Complex:
    """Return kappa (S,) of each complex ridge s (S,) off the negative axis, by Newton from a large ridge on its ray.

    Parameters
    ----------
    ridge : (S,) s; may lie near the negative axis, not on it
    samples, features : D and N; infinite for none
    angle : [rad] between the ridges and that part of the negative axis where the spectrum is; near it steps are smaller

    Raises
    ------
    ArithmeticError : when Newton's method does not find it
    """
    size, direction = np.abs(ridge), ridge / np.abs(ridge)
    total = float(modes.count @ modes.variance)
    largest = np.maximum(LARGE * (total / min(samples, features) + modes.variance.max()), size)
    kappa = direction * largest
    stage_length = min(1.0, angle / ANGLE) * np.log(STAGE)
    num_stages = int(np.ceil(np.log(float(np.max(largest / size))) / stage_length))
    for stage in range(1, num_stages):
        target = direction * largest * (size / largest) ** (stage / num_stages)
        for _ in range(3):  # steps; enough to stay on the branch, the last ridge is solved for to the end
            kappa = _newton(kappa, target, modes, samples, features)[0]
    for _ in range(MOST_STEPS):
        kappa, error = _newton(kappa, ridge, modes, samples, features)
        if np.all(error < ACCURACY):
            return kappa
    raise ArithmeticError("no renormalized ridge was found")


def _newton(kappa: Complex, target: Complex, modes: Modes, samples: float, features: float) -> tuple[Complex, Array]:
    """One step towards kappa (1 - df/D) (1 - df/N) = target, and how long it was, relatively."""
    inverse = 1 / (modes.variance + kappa[:, None])  # (S, K)
    weight = modes.count * modes.variance
    degrees, slope = inverse @ weight, -(inverse**2 @ weight)
    unseen, untaught = 1 - degrees / samples, 1 - degrees / features
    miss = kappa * unseen * untaught - target
    rate = unseen * untaught - kappa * slope * (unseen / features + untaught / samples)
    step = miss / rate
    is_long = np.abs(step) > 0.5 * np.abs(kappa)  # half of kappa at most, so that it stays on its side of zero
    step = np.where(is_long, step * 0.5 * np.abs(kappa) / np.maximum(np.abs(step), 1e-300), step)
    return kappa - step, np.abs(step / kappa)


def upper_edge(modes: Modes, features: float = np.inf, samples: float = np.inf) -> float:
    """Return the largest z at which the spectrum of D samples of N random features has weight.

    It is the least value of z = t (1 + S / N) (1 + S / D) over t beyond all variances, S = sum_k lambda_k / (t -
    lambda_k): where kappa = -t stops to be real as s = -z rises from below.
    """
    beyond = modes.variance.max() * (1 + np.geomspace(1e-6, 1e3, 400))  # t, a grid: the least value is flat
    filled = (1 / (beyond[:, None] - modes.variance)) @ (modes.count * modes.variance)
    return float(np.min(beyond * (1 + filled / features) * (1 + filled / samples)))


def wedge(largest: float, longest: float) -> tuple[Complex, Complex]:
    """Return nodes z (n,) and weights (n,) of the upper half of a contour around the spectrum from 0 to `largest`.

    For f with f(conj z) = conj f(z), 2 Re sum(weight * f(z)) is the integral of f around the spectrum over 2 pi i,
    counter-clockwise. Nodes lie as densely near zero as decay over the time `longest` needs.

    Parameters
    ----------
    largest : upper end of the spectrum
    longest : the largest t of exp(-z t) that is integrated
    """
    apex = 1 / longest
    reach = (largest + apex) / np.cos(ANGLE)
    end = np.log1p(reach / apex)
    points, weights = np.polynomial.legendre.leggauss(NODES)
    edges = np.linspace(0, end, max(4, int(np.ceil(end / PANEL))) + 1)
    half = np.diff(edges)[:, None] / 2
    place = (half * points + (edges[:-1, None] + half)).ravel()
    length = (half * weights).ravel() * apex * np.exp(place)
    ray = np.exp(1j * ANGLE)
    corner = -apex + reach * ray
    points, weights = np.polynomial.legendre.leggauss(CLOSING)
    height = corner.imag * (points + 1) / 2
    nodes = np.concatenate([-apex + apex * np.expm1(place) * ray, corner.real + 1j * height])
    steps = np.concatenate([-length * ray, 1j * corner.imag * weights / 2])
    return nodes, steps / (2j * np.pi)


def lens(edge: float, longest: float, limit: float = np.inf, height: float = np.inf) -> tuple[Complex, Complex]:
    """Return nodes z (n,) and weights (n,) of the upper half of a contour with two sharp ends, as `wedge` does.

    It suits what is damped on a bounded region alone, such as steps of descent, whose region is an ellipse with its
    ends at 0 and `limit`: between -1 / longest and a point beyond `edge` but not beyond `limit`, within the ellipse.

    Parameters
    ----------
    edge : upper end of the spectrum
    longest : the largest t of exp(-z t), or of (1 - eta z)^(t / eta), that is integrated
    limit : largest real z that is damped
    height : half the height of the ellipse

    Raises
    ------
    ArithmeticError : if nothing beyond the spectrum is damped, or the lens would be too thin
    """
    if limit <= edge:
        raise ArithmeticError("the largest eigenvalues are not damped: descent diverges")
    left, right = 1 / longest, min(BEYOND * edge, limit - edge)
    middle = (edge + right - left) / 2
    if np.isfinite(limit):
        height = WITHIN * height * np.sqrt(1 - (1 - 2 * middle / limit) ** 2)
    angle = min(LENS_ANGLE, float(np.arctan(height / (middle + left))))
    if angle < THINNEST:
        raise ArithmeticError("so much momentum at so large a learning rate leaves no contour to integrate on")
    points, weights = np.polynomial.legendre.leggauss(NODES)
    nodes, steps = [], []
    for apex, start, turn in ((left, -left, np.exp(1j * angle)), (right, edge + right, -np.exp(-1j * angle))):
        end = np.log1p((middle + left) / np.cos(angle) / apex)
        edges = np.linspace(0, end, max(2, int(np.ceil(end / (LENS_PANEL * angle)))) + 1)
        half = np.diff(edges)[:, None] / 2
        place = (half * points + (edges[:-1, None] + half)).ravel()
        nodes.append(start + apex * np.expm1(place) * turn)
        steps.append((half * weights).ravel() * apex * np.exp(place) * turn * (-1 if start < 0 else 1))
    return np.concatenate(nodes), np.concatenate(steps) / (2j * np.pi)
