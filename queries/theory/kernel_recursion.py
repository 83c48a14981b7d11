"""The kernel of tokens in multi-head transformers of random weights, from its limit of many heads.

With infinitely many heads the kernel K of the residual stream is no longer random. For S = softmax(q k^T / N^alpha_A)
of a head whose q and k (B T, N) have independent columns N(0, K~), K~ of what layers see, layer by layer

    K <- K + beta_0^2 L^-2alpha_L E[S K~ S^T]        K <- K + beta_0^2 L^-2alpha_L E[phi phi^T]

The first mean is over heads that are drawn, 10,000 a layer, fewer of wide ones; the second is in closed form. Heads
stay random: a logit has the variance N^(1 - 2 alpha_A) over them times the squared scale of its pair, and a mean fourth
power of 3 + 6 / N in its units, that of sums of N products of normal numbers.

The deviation is that of 128 networks of the run's own heads, at most 16, and scaled as 1 / sqrt(H) beyond. The mean is
of many heads: those of a few are off by some share of 1 / H, and kurtosis is too small there. Means of 24 networks of
32 heads have a kernel within the scatter of that mean.

In training, which this does not predict, weights of keys and queries move as L^(alpha_L - 1), and the loss of H heads
is off its limit by a share of 1 / H; `exponents` has these powers.

Source: Bordelon, Chaudhry and Pehlevan 2024 (arXiv:2405.15712), sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from isoflop.lakehouse.models.attention_kernels import (
    METRICS,
    RandomLayer,
    attention_within,
    input_kernel,
    kernel_metrics,
    stream_kernel,
)
from isoflop.lakehouse.models.shaped_attention import covariance_root
from isoflop.queries.theory.adaptive_kernels.lazy import arc_cosines
from isoflop.queries.theory.equivalents import Array
from isoflop.queries.theory.theory import PredictedCurves, Setting, Steps, Theory

HEADS = 10_000  # drawn for a layer, whose kernel is then known to a hundredth of what a layer adds
HEAD_NUMBERS = 200_000  # at most so many queries of one token: of heads wider than 20 fewer are drawn
TOGETHER = 2**24  # numbers of logits at a time: 128 MiB
NETWORKS, NETWORK_HEADS, NETWORK_WIDTH = 128, 16, 1024  # drawn for the deviation, known to a sixteenth of itself
MOST_LAYERS, MOST_TOKENS = 256, 64  # a minute or so
REMEMBERED = 64  # curves, for runs that differ by their seed


@dataclass(frozen=True, kw_only=True)
class HeadLimit:
    """What the limit depends on; the names are those of the family's settings."""

    depth: int
    head_width: int
    attention_exponent: float = 1.0
    depth_exponent: float = 1.0
    branch: float = 1.0
    normalized: bool = True
    feed_forward: bool = True
    sequences: int = 1

    def layer(self, heads: int) -> RandomLayer:
        """Return a layer of finitely many heads."""
        return RandomLayer(
            sequences=self.sequences,
            heads=heads,
            scale=self.head_width**-self.attention_exponent,
            added=self.branch * self.depth**-self.depth_exponent,
            normalized=self.normalized,
            feed_forward=self.feed_forward,
        )

    def kernels(self, first: Array, heads: int, generator: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        """Yield the kernel (B T, B T) after each layer, and the one that its attention saw.

        Parameters
        ----------
        first : (B T, B T), before the first layer
        heads : drawn for each layer
        """
        layer, kernel = self.layer(heads), first
        added = (self.branch * self.depth**-self.depth_exponent) ** 2
        for _ in range(self.depth):
            seen = layer.seen(kernel)
            kernel = kernel + added * self._gathered(seen, heads, generator)
            if self.feed_forward:
                kernel = kernel + added * rectified_kernel(layer.seen(kernel))
            yield kernel, seen

    def _gathered(self, seen: Array, heads: int, generator: np.random.Generator) -> Array:
        """The mean of S K~ S^T over heads."""
        root, _ = covariance_root(seen)
        count = len(seen)
        total, left = np.zeros_like(seen), heads
        while left:
            drawn = min(left, max(1, TOGETHER // count**2))
            queries, keys = root @ generator.standard_normal((2, drawn, count, self.head_width))
            logits = queries @ np.swapaxes(keys, -2, -1) * self.head_width**-self.attention_exponent
            weights = attention_within(logits, self.sequences)
            total += np.add.reduce(weights @ seen @ np.swapaxes(weights, -2, -1), axis=0)
            left -= drawn
        return total / heads


def rectified_kernel(kernel: Array) -> Array:
    """Return E phi(u_i) phi(u_j) for u ~ N(0, kernel) and phi(x) = sqrt(2) max(x, 0)."""
    sizes = np.diag(kernel)
    return 2 * arc_cosines(kernel, sizes, sizes)[0]


class KernelRecursion(Theory):
    """Bordelon et al.'s limit of `attention_kernels` with many heads, and the powers of the other limits."""

    name = "kernel_recursion"
    family = "attention_kernels"
    fields = (
        "depth", "heads", "head_width", "attention_exponent", "depth_exponent", "branch", "normalized", "feed_forward",
        "sequences", "sequence_length", "dimension", "data_seed",
    )  # fmt: skip
    metrics: Mapping[str, str] = METRICS
    source = "Bordelon, Chaudhry and Pehlevan 2024 (arXiv:2405.15712)"
    axis = "layer"

    def predict(self, config: Mapping[str, Any], at: Steps) -> PredictedCurves:
        """Return means of many heads and deviations of one network after (T,) layers.

        Raises
        ------
        ArithmeticError : if that takes longer than minutes, or layers are asked for that there are not
        """
        settings = {field: config[field] for field in self.fields}
        tokens = settings["sequences"] * settings["sequence_length"]
        if settings["depth"] > MOST_LAYERS or tokens > MOST_TOKENS:
            most = f"at most {MOST_LAYERS} and {MOST_TOKENS}"
            raise ArithmeticError(f"it has {settings['depth']} layers of {tokens} tokens; {most}")
        if at.max(initial=0) > settings["depth"]:
            raise ArithmeticError(f"it has {settings['depth']} layers; layer {at.max()} is none of them")
        mean, deviation = _curves(**settings)
        return PredictedCurves(
            {name: values[at] for name, values in mean.items()},
            {name: values[at] for name, values in deviation.items()},
        )

    def exponents(self, config: Mapping[str, Setting]) -> Mapping[str, float]:
        """Return the powers of heads, head width and depth that hold in the limit of each."""
        attention, depth = config["attention_exponent"], config["depth_exponent"]
        assert isinstance(attention, int | float) and isinstance(depth, int | float)
        return {
            "kernel_variance_of_heads": -1.0,
            "logit_variance_of_head_width": 1 - 2 * attention,
            "key_movement_of_depth": depth - 1,
        }


@lru_cache(maxsize=REMEMBERED)
def _curves(
    heads: int, sequence_length: int, dimension: int, data_seed: int, **settings: Any
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Means and deviations of every metric after 0 to L layers, (L + 1,) each."""
    limit, generator = HeadLimit(**settings), np.random.default_rng(0)
    kernel = input_kernel(limit.sequences, sequence_length, dimension, data_seed)
    width, count = limit.head_width, len(kernel)
    place = np.arange(count) // sequence_length
    inside = place[:, None] == place
    rows = [{**kernel_metrics(kernel), "logit_variance": np.zeros(()), "logit_kurtosis": np.zeros(())}]
    for after, seen in limit.kernels(kernel, min(HEADS, max(1, HEAD_NUMBERS // width)), generator):
        pairs = float(np.mean(np.multiply.outer(np.diag(seen), np.diag(seen))[inside]))
        variance = pairs * width ** (1 - 2 * limit.attention_exponent) if heads > 1 else 0.0
        logits = {"logit_variance": np.asarray(variance), "logit_kurtosis": np.asarray(3 + 6 / width)}
        rows.append({**kernel_metrics(after), **logits})
    mean = {name: np.array([float(row[name]) for row in rows]) for name in METRICS}
    few = min(heads, NETWORK_HEADS, max(2, NETWORK_WIDTH // width))
    layer = limit.layer(few)
    stream = covariance_root(kernel)[0] @ generator.standard_normal((NETWORKS, count, few * width))
    drawn = [kernel_metrics(stream_kernel(stream))]
    for _ in range(limit.depth):
        stream, said = layer.after(stream, generator.standard_normal((NETWORKS, layer.parts, count, few * width)))
        drawn.append({**kernel_metrics(stream_kernel(stream)), **said})
    share = np.sqrt(few / heads)
    nothing = np.zeros(NETWORKS)
    return mean, {
        name: share * np.array([np.std(row.get(name, nothing), ddof=1) for row in drawn], dtype=np.float64)
        for name in METRICS
    }


KERNEL_RECURSION = KernelRecursion()
