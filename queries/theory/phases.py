"""The 4+3 phases of random features under one-pass SGD: which parts of the risk meet on the compute-optimal frontier.

Data have the spectrum j^-2alpha and the target the coefficients j^-beta. At compute f = d B r the lowest loss falls as
f^-eta, at a width that grows as f^xi. Above alpha + beta = 1/2 seven regions of the plane differ in which two of four
parts of the risk balance there (`plrf_risk`):

    F_pp   the target that SGD has not learned yet
    F_ac   what the bend of the features' spectrum adds, of order 1/d
    F_0    the part of the target that no theta reaches
    K_pp   the noise of SGD

Source: Paquette et al. 2024 (arXiv:2405.15074), section 3 and table 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

IV_A = 1 - np.sqrt(0.5)  # alpha [1] above which noise and floor meet on the frontier
NEARBY = 1e-9  # distance [1] from a boundary within which a point lies on it


@dataclass(frozen=True)
class Phase:
    """A point of the plane.

    Parameters
    ----------
    name : Ia, Ib, Ic, II, III, IVa or IVb
    parts : the two parts of the risk that meet on the frontier
    eta : loss falls as compute^-eta there
    xi : the best width grows as compute^xi
    """

    name: str
    parts: tuple[str, str]
    eta: float
    xi: float


def phase_of(alpha: float, beta: float) -> Phase | None:
    """Return the phase of two exponents; None where there is no power law, alpha + beta <= 1/2.

    On a boundary between phases eta is that of both, and the phase is the one towards smaller beta, or smaller alpha.

    Example
    -------
    >>> phase_of(1.0, 0.25)
    Phase(name='Ia', parts=('F_pp', 'F_0'), eta=0.5, xi=0.3333333333333333)
    >>> phase_of(0.2, 0.2) is None
    True
    """
    if alpha + beta <= 0.5:
        return None
    total = 2 * alpha + 2 * beta - 1
    if 2 * alpha > 1:
        if 2 * beta <= 1:
            return Phase("Ia", ("F_pp", "F_0"), total / (2 * alpha + 1), 1 / (2 * alpha + 1))
        if beta <= alpha:
            return Phase("II", ("F_pp", "F_ac"), total / (2 * (alpha + beta)), beta / (alpha + beta))
        return Phase("III", ("F_ac", "K_pp"), (4 * alpha - 1) / (4 * alpha), 0.5)
    if 2 * beta <= 1:
        return Phase("Ib", ("F_pp", "F_0"), alpha + beta - 0.5, 0.5)
    if alpha > IV_A:
        return Phase("IVa", ("K_pp", "F_0"), alpha, 0.5)
    if alpha > 0.25:
        below = 2 * alpha * beta + alpha - 2 * beta
        return Phase("IVb", ("F_pp", "K_pp"), -(1 - 2 * alpha) * total / (2 * below), (alpha - beta) / below)
    below = alpha * (2 * beta - 3) - 2 * beta + 1
    return Phase("Ic", ("F_pp", "F_0"), -alpha * total / below, -total / (2 * below))


def phases_that_meet(alpha: float, beta: float) -> tuple[str, ...]:
    """Return the names of the phases at a point: one inside a phase, more on a boundary; '' is that of no power law.

    Example
    -------
    >>> phases_that_meet(0.8, 0.8), phases_that_meet(0.8, 0.9), phases_that_meet(0.3, 0.2)
    (('II', 'III'), ('III',), ('', 'Ib'))
    """
    around = product((-NEARBY, 0.0, NEARBY), repeat=2)
    found = (phase_of(alpha + step, beta + rise) for step, rise in around)
    return tuple(sorted({"" if phase is None else phase.name for phase in found}))


def boundaries(largest_alpha: float, largest_beta: float) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return the straight lines between the phases, each by its two ends (alpha, beta), as far as two largest values.

    Parameters
    ----------
    largest_alpha, largest_beta : of the plane that is drawn, both above 1/2
    """
    diagonal = min(largest_alpha, largest_beta)
    return [
        ((0.0, 0.5), (0.5, 0.0)),  # no power law
        ((0.5, 0.0), (0.5, largest_beta)),  # the high-dimensional line
        ((0.0, 0.5), (largest_alpha, 0.5)),
        ((0.5, 0.5), (diagonal, diagonal)),
        ((0.25, 0.5), (0.25, largest_beta)),
        ((IV_A, 0.5), (IV_A, largest_beta)),
    ]
