"""The covariance of tokens in shaped transformers of random weights, layer by layer, from its limit of large width.

Depth and width enter as their ratio alone: the limit is a stochastic differential equation in layers / width
(`isoflop.queries.theory.shaped_covariance`), of which 4,000 paths are drawn, fewer for more than four tokens. For
`correlation` and `rank` the mean over paths is predicted, with the deviation of one network. Variances grow without
bound in some paths, so that their mean is no number: for `variance` the median is, with half of what the middle 68 per
cent span. Where more than one path in 20 has exploded nothing is predicted.

Over 400 networks of 100 dimensions and 4 tokens, means of correlations lie within 0.02 of it up to as many layers,
0.3 to 2 standard errors; narrower ones have corrections of order 1 / width. Unshaped attention has no such limit, nor
has an identity of another weight than 1, which multiplies the covariance in every layer.

Source: Noci et al. 2023 (arXiv:2306.17759); Li, Nica and Roy 2022 (arXiv:2206.02768).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from isoflop.lakehouse.models.shaped_attention import METRICS
from isoflop.queries.theory.shaped_covariance import CovarianceStatistics, ShapedNetwork, covariance_statistics
from isoflop.queries.theory.theory import PredictedCurves, Steps, Theory

PATHS = 4000  # of `PATHS_TOKENS` tokens or fewer, whose mean correlation is then known to 0.005
PATHS_TOKENS = 4
FEWEST_PATHS = 500
MOST_TOKENS = 16
MOST_TIME = 10.0  # layers over width: 40 seconds
MOST_EXPLODED = 0.05  # of paths
REMEMBERED = 64  # curves, for runs that differ by their seed

LIMIT = (
    "sequence_length", "gamma", "temperature", "first_correlation", "causal", "feed_forward", "positive_slope",
    "negative_slope",
)  # fmt: skip


class CovarianceSde(Theory):
    """Noci et al.'s limit of `shaped_transformer`."""

    name = "covariance_sde"
    family = "shaped_transformer"
    fields = ("depth", "width", "attention", "identity", *LIMIT)
    metrics: Mapping[str, str] = METRICS
    source = "Noci et al. 2023 (arXiv:2306.17759), theorem on the covariance SDE; rederived"
    axis = "layer"

    def predict(self, config: Mapping[str, Any], at: Steps) -> PredictedCurves:
        """Return means and deviations after (T,) layers; of `variance` the median.

        Raises
        ------
        ArithmeticError : if the network has no such limit, or too many paths explode
        """
        if config["attention"] != "shaped":
            raise ArithmeticError("its attention is not shaped, and has no limit in depth over width")
        if config["identity"] != 1:
            raise ArithmeticError(f"its identity has the weight {config['identity']:g}; only 1 has a limit")
        width, last = int(config["width"]), max(int(config["depth"]), int(at.max(initial=1)))
        found = limit_statistics(ShapedNetwork(**{name: config[name] for name in LIMIT}), last / width)
        if found.exploded[-1] > MOST_EXPLODED:
            raise ArithmeticError(f"{found.exploded[-1]:.0%} of its paths grow without bound by layer {last}")
        time = at / width
        mean = {name: found.at(time, found.mean[name]) for name in METRICS}
        deviation = {name: found.at(time, found.deviation[name]) for name in METRICS}
        _, low, middle, high, _ = found.quantiles["variance"].T
        mean["variance"], deviation["variance"] = found.at(time, middle), found.at(time, (high - low) / 2)
        return PredictedCurves(mean, {name: np.where(at == 0, 0.0, values) for name, values in deviation.items()})


@lru_cache(maxsize=REMEMBERED)
def limit_statistics(network: ShapedNetwork, until: float) -> CovarianceStatistics:
    """Return what paths of a network's limit are like up to a time.

    Parameters
    ----------
    until : layers over width

    Raises
    ------
    ArithmeticError : if it takes longer than minutes
    """
    count = network.sequence_length
    if count > MOST_TOKENS:
        raise ArithmeticError(f"it has {count} tokens; at most {MOST_TOKENS}")
    if until > MOST_TIME:
        raise ArithmeticError(f"it has {until:.3g} times as many layers as dimensions; at most {MOST_TIME:g}")
    # A step of a path costs as its tokens squared, so that all lengths take as long.
    paths = max(FEWEST_PATHS, PATHS * min(1, PATHS_TOKENS**2 / count**2))
    return covariance_statistics(network, until, paths=int(paths))


COVARIANCE_SDE = CovarianceSde()
