"""What a linear model has not learned yet in a direction of known curvature: descent and flow in closed form.

A residual v of curvature z obeys v(n+1) = v(n) - eta z v(n) + mu (v(n) - v(n-1)), v(-1) = v(0), so that after n steps
the p_n-th part of it is left, and of a kick at step 0 the g_n-th part,

    g_n = (a^(n+1) - b^(n+1)) / (a - b)     p_n = g_n - mu g_(n-1)     a + b = 1 + mu - eta z,  a b = mu

which is (1 - eta z)^n without momentum; the flow over times eta is exp(-eta z n). What trains and what predicts both
use these, the one at the eigenvalues of a draw, the other on a contour around them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]  # float64 or complex128; what goes in comes out
MEETING = 1e-7  # relative distance of a and b below which both are taken to be their mean; the error is of its square


@dataclass(frozen=True)
class LinearDescent:
    """How a linear model moves.

    Parameters
    ----------
    rate : eta, of the mean gradient; the time of one step for the flow
    momentum : mu, in [0, 1); 0 for the flow
    is_flow : whether steps are pieces of the flow
    """

    rate: float
    momentum: float = 0.0
    is_flow: bool = False

    def unlearned(self, curvature: Numbers, steps: Numbers) -> Numbers:
        """Return p_n; curvature z and steps n >= 0 broadcast.

        Example
        -------
        >>> LinearDescent(0.5).unlearned(np.array([1.0]), np.array([3])).tolist()
        [0.125]
        """
        if self.is_flow:
            return np.exp(-self.rate * curvature * steps)
        if not self.momentum:
            return (1 - self.rate * curvature) ** steps
        return self.echo(curvature, steps) - self.momentum * self.echo(curvature, steps - 1)

    def echo(self, curvature: Numbers, steps: Numbers) -> Numbers:
        """Return g_n, what is left of a kick after n steps, n >= -1."""
        if not self.momentum:
            return np.where(steps < 0, 0.0, (1 - self.rate * curvature) ** np.maximum(steps, 0))
        middle = (1 + self.momentum - self.rate * curvature) / 2
        root = np.sqrt((middle**2 - self.momentum).astype(np.complex128))
        first, second = middle + root, middle - root
        apart = np.abs(root) > MEETING * np.abs(middle)
        met = (steps + 1) * np.where(apart, 1.0, middle) ** np.maximum(steps, 0)
        found: Numbers = np.where(
            apart, (first ** (steps + 1) - second ** (steps + 1)) / np.where(apart, 2 * root, 1.0), met
        )
        return found if np.iscomplexobj(curvature) else np.real(found)
