"""The covariance of tokens in shaped transformers of many layers and as much width: a stochastic differential equation.

In the time t = layers / width the covariance V (T, T) of a sequence moves by dV = b dt + S dB. With M the weights of
attention that prefers nothing (1/T, or 1/i for the i tokens that token i sees), P = M V and G = M V M^T, attention adds

    b = gamma^2 (E V + V E^T + k V)        entry by entry k V
    E_ij = M_ij V_ii / (2 tau_0^2) (w_ij - sum_l M_il w_il)        w_ij = V_jj - 2 P_ij + G_ii
    k = (M V^2 M^T - P^2 M^T - M (P^T)^2 + G^2) / tau_0^2           squares entry by entry

and of noise, for R R^T = V and independent standard normal Z and Z' (T, T), each once a time of 1,

    gamma sqrt(2 - gamma^2) R (Z + Z^T) R^T / sqrt(2) + gamma^2 (B V + V B^T)
    B_ij = M_ij (z_ij - sum_l M_il z_il)        z = R Z' R^T / tau_0

which has the covariance between entries of the literature's Sigma without a root of it. A feed-forward part adds

    b_ij = gamma^2 nu(rho_ij) sqrt(V_ii V_jj)        nu = (c_+ - c_-)^2 / (2 pi) (sqrt(1 - rho^2) - rho arccos rho)

and 2 gamma^2 under the first root. Without a mask it is the equation of the paper; masks are derived here in the same
way. Paths are stepped by Euler and Maruyama in times of 0.005 and put back on the cone of covariances after each step.
The drift is cubic, so paths may grow without bound in finite time: one whose largest V_ii passes 50 stops there and
counts as exploded. Means of V are therefore none; its median and quantiles are.

Source: Noci et al. 2023 (arXiv:2306.17759), rederived; Li, Nica and Roy 2022 (arXiv:2206.02768) for the feed-forward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoflop.lakehouse.models.shaped_attention import (
    Signs,
    attended_shares,
    covariance_metrics,
    covariance_root,
    first_covariance,
)
from isoflop.queries.theory.equivalents import Array

STEP = 0.005  # of time; half of it changes means of correlations by less than the error of 4,000 paths
LEAST = 1e-6  # eigenvalue of a covariance after a step
LARGEST = 50.0  # V_ii of a path that goes on
QUANTILES = (0.1, 0.1587, 0.5, 0.8413, 0.9)  # those of one standard deviation among them


@dataclass(frozen=True, kw_only=True)
class ShapedNetwork:
    """What the limit depends on.

    Parameters
    ----------
    sequence_length : T
    first_correlation : of every two tokens at first
    gamma : weight of what a layer adds
    temperature : tau_0
    causal : whether token i sees the first i only
    feed_forward : whether a feed-forward part follows attention
    positive_slope, negative_slope : c_+, c_-

    Raises
    ------
    ArithmeticError : for a gamma above 1, or a correlation that so many tokens cannot have
    """

    sequence_length: int
    first_correlation: float
    gamma: float
    temperature: float = 1.0
    causal: bool = False
    feed_forward: bool = False
    positive_slope: float = 0.0
    negative_slope: float = -1.0

    def __post_init__(self) -> None:
        """Check that there is such a network."""
        if not 0 < self.gamma <= 1:
            raise ArithmeticError(f"gamma is {self.gamma:g}; it is above 0 and at most 1")
        others = self.sequence_length - 1
        if others and not -1 / others < self.first_correlation < 1:
            raise ArithmeticError(
                f"{others + 1} tokens have no correlation of {self.first_correlation:g}; "
                f"it is between {-1 / others:.3g} and 1"
            )

    @property
    def shares(self) -> Array:
        """M, (T, T)."""
        return attended_shares(self.sequence_length, causal=self.causal)

    def drift(self, covariance: Array) -> Array:
        """Return b (..., T, T) of covariances (..., T, T)."""
        shares, across = self.shares, self.shares.T
        variances = np.diagonal(covariance, axis1=-2, axis2=-1)
        seen = shares @ covariance
        both = seen @ across
        spread = variances[..., None, :] - 2 * seen + np.diagonal(both, axis1=-2, axis2=-1)[..., :, None]
        spread = spread - np.add.reduce(shares * spread, axis=-1)[..., None]
        moved = shares * variances[..., :, None] * spread @ covariance / 2
        kept = shares @ covariance**2 @ across - seen**2 @ across - shares @ _turned(seen) ** 2 + both**2
        found: Array = (self.gamma / self.temperature) ** 2 * (moved + _turned(moved) + kept * covariance)
        if self.feed_forward:
            scale = np.sqrt(variances)
            scale = scale[..., :, None] * scale[..., None, :]
            cosine = np.clip(covariance / scale, -1, 1)
            bend = (self.positive_slope - self.negative_slope) ** 2 / (2 * np.pi)
            bent = bend * (np.sqrt(1 - cosine**2) - cosine * np.arccos(cosine))
            found += self.gamma**2 * bent * scale
        return found

    def noise(self, root: Array, normal: Array) -> Array:
        """Return the noise of a time of 1, (..., T, T), of covariances with roots (..., T, T).

        Parameters
        ----------
        normal : (..., 2, T, T) standard normal numbers, Z and Z'
        """
        covariance = root @ _turned(root)
        first, second = normal[..., 0, :, :], normal[..., 1, :, :]
        strength = self.gamma**2 * (2 - self.gamma**2 + (2 if self.feed_forward else 0))
        values = np.sqrt(strength / 2) * root @ (first + _turned(first)) @ _turned(root)
        shares, logits = self.shares, root @ second @ _turned(root) / self.temperature
        moved = shares * (logits - np.add.reduce(shares * logits, axis=-1)[..., None]) @ covariance
        found: Array = values + self.gamma**2 * (moved + _turned(moved))
        return found


class CovariancePaths:
    """Paths of the equation from one covariance, and which of them have exploded."""

    def __init__(self, network: ShapedNetwork, count: int, seed: int = 0, step: float = STEP) -> None:
        self._network, self._step = network, step
        self._generator = np.random.default_rng(seed)
        first = first_covariance(network.sequence_length, network.first_correlation)
        self.covariance: Array = np.repeat(first[None], count, axis=0)  # (paths, T, T)
        self._root, _ = covariance_root(self.covariance)
        self.exploded: Signs = np.zeros(count, dtype=np.bool_)

    def advance(self) -> None:
        """Go one step on in time."""
        size = self.covariance.shape[-1]
        normal = self._generator.standard_normal((len(self.covariance), 2, size, size))
        live = ~self.exploded
        now, root = self.covariance[live], self._root[live]
        moved = self._network.drift(now) * self._step + self._network.noise(root, normal[live]) * np.sqrt(self._step)
        after = now + (moved + _turned(moved)) / 2
        root, was_outside = covariance_root(after, LEAST)
        after[was_outside] = root[was_outside] @ _turned(root[was_outside])
        self.covariance[live], self._root[live] = after, root
        variances = np.diagonal(self.covariance, axis1=-2, axis2=-1)
        self.exploded |= np.maximum.reduce(variances, axis=-1) > LARGEST


@dataclass(frozen=True)
class CovarianceStatistics:
    """What paths are like at K times 0, dt, 2 dt and so on; a path that exploded stays as it was then.

    Parameters
    ----------
    times : (K,), layers over width
    mean, deviation : of each metric, (K,); the mean of `variance` is not a number to rely on, its median is
    quantiles : of each metric, (K, 5), at `QUANTILES`
    exploded : (K,), share of paths
    """

    times: Array
    mean: dict[str, Array]
    deviation: dict[str, Array]
    quantiles: dict[str, Array]
    exploded: Array

    def at(self, time: Array, values: Array) -> Array:
        """Return a curve (K,) between its times, by straight lines."""
        found: Array = np.interp(time, self.times, values)
        return found


def covariance_statistics(
    network: ShapedNetwork, until: float, *, paths: int, seed: int = 0, step: float = STEP
) -> CovarianceStatistics:
    """Return what paths are like up to a time.

    Parameters
    ----------
    until : layers over width
    paths : how many are drawn
    """
    drawn = CovariancePaths(network, paths, seed, step)
    count = int(np.ceil(until / step - 1e-9))  # whole steps, whatever rounding says of 0.5 / 0.005
    rows, exploded = [covariance_metrics(drawn.covariance)], [0.0]
    for _ in range(count):
        drawn.advance()
        rows.append(covariance_metrics(drawn.covariance))
        exploded.append(float(np.mean(drawn.exploded)))
    seen = {name: np.array([row[name] for row in rows]) for name in rows[0]}  # (K, paths)
    return CovarianceStatistics(
        step * np.arange(count + 1, dtype=np.float64),
        {name: values.mean(axis=1) for name, values in seen.items()},
        {name: values.std(axis=1) for name, values in seen.items()},
        {name: np.quantile(values, QUANTILES, axis=1).T for name, values in seen.items()},
        np.array(exploded),
    )


def _turned(matrices: Array) -> Array:
    return np.swapaxes(matrices, -2, -1)
