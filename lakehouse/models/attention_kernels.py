"""Random multi-head attention, as arithmetic: inputs, a layer, and what is measured of kernels and logits.

For h (B T, M), the tokens of B sequences in M = N H dimensions, K = h h^T / M is their kernel. Layers with weights of
their own depend on h by K alone.

Source: Bordelon, Chaudhry and Pehlevan 2024 (arXiv:2405.15712).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.models.shaped_attention import covariance_root, summed

Floats = NDArray[np.float64]
PARTS = 4  # of what attention draws: queries, keys, values, and what it puts out
FEED_FORWARD_PARTS = 2
METRICS = {"kernel_diagonal": "1", "kernel_mean": "1", "logit_variance": "1", "logit_kurtosis": "1"}  # with units


def input_kernel(sequences: int, sequence_length: int, dimension: int, seed: int) -> Floats:
    """Return x x^T / dimension (B T, B T) of standard normal inputs, sequence after sequence."""
    inputs = np.random.default_rng(seed).standard_normal((sequences * sequence_length, dimension))
    kernel: Floats = inputs @ inputs.T / dimension
    return kernel


def normalized_kernel(kernel: Floats) -> Floats:
    """Return kernels (..., B T, B T) of tokens divided by their root mean squares."""
    scale = np.sqrt(np.diagonal(kernel, axis1=-2, axis2=-1))
    found: Floats = kernel / scale[..., :, None] / scale[..., None, :]
    return found


def attention_within(logits: Floats, sequences: int) -> Floats:
    """Return softmax (..., B T, B T) over the tokens of a sequence, 0 between sequences."""
    count = logits.shape[-1] // sequences
    place = np.arange(sequences * count) // count
    inside = np.where(place[:, None] == place, logits, -np.inf)
    weights: Floats = np.exp(inside - np.maximum.reduce(inside, axis=-1)[..., None])
    weights /= np.add.reduce(weights, axis=-1)[..., None]
    return weights


def logit_metrics(logits: Floats, kernel: Floats, sequences: int) -> dict[str, Floats]:
    """Return how logits (..., H, B T, B T) differ over heads, mean over pairs within sequences, (...,).

    Parameters
    ----------
    kernel : (..., B T, B T) of what queries and keys are taken of; its diagonal is the scale of a pair

    `logit_variance` is over the H heads, without bias, 0 of a single one; `logit_kurtosis` is the mean fourth power
    over the squared mean square, of logits over the scale of their pair, 3 + 6 / N for many heads.
    """
    heads, total = logits.shape[-3:-1]
    count = total // sequences
    first = np.arange(total)[:, None] // count * count
    columns = np.broadcast_to(first + np.arange(count), (total, count))  # tokens of the sequence of each token
    rows = np.arange(total)[:, None]
    pairs = np.ascontiguousarray(logits[..., rows, columns])  # (..., H, B T, T)
    scale = np.sqrt(np.diagonal(kernel, axis1=-2, axis2=-1))
    over = pairs / (scale[..., :, None] * scale[..., columns])[..., None, :, :]
    apart = pairs - np.mean(pairs, axis=-3, keepdims=True)
    squares, fourths = summed(over**2, 3), summed(over**4, 3)
    return {
        "logit_variance": summed(apart**2, 3) / (max(heads - 1, 1) * total * count),
        "logit_kurtosis": heads * total * count * fourths / squares**2,
    }


def kernel_metrics(kernel: Floats) -> dict[str, Floats]:
    """Return the mean of the diagonal and of all entries of kernels (..., B T, B T), each (...,)."""
    count = kernel.shape[-1]
    return {
        "kernel_diagonal": summed(np.diagonal(kernel, axis1=-2, axis2=-1), 1) / count,
        "kernel_mean": summed(kernel, 2) / count**2,
    }


def stream_kernel(stream: Floats) -> Floats:
    """Return the kernels (..., B T, B T) of streams (..., B T, M)."""
    found: Floats = stream @ np.swapaxes(stream, -2, -1) / stream.shape[-1]
    return found


@dataclass(frozen=True, eq=False)
class RandomLayer:
    """A layer of weights that are drawn for it, of one shape for R streams.

    Parameters
    ----------
    sequences : B
    heads : H
    scale : of logits, N^-alpha_A, a number or (R, 1, 1, 1)
    added : times what is added to the stream, beta_0 L^-alpha_L, a number or (R, 1, 1)
    normalized : whether it sees tokens over their root mean square
    feed_forward : whether a feed-forward part follows attention
    """

    sequences: int
    heads: int
    scale: Floats | float
    added: Floats | float
    normalized: bool
    feed_forward: bool

    @property
    def parts(self) -> int:
        """What it draws, in numbers of the width for each token."""
        return PARTS + FEED_FORWARD_PARTS * self.feed_forward

    def seen(self, kernel: Floats) -> Floats:
        """Return the kernel of what it sees."""
        return normalized_kernel(kernel) if self.normalized else kernel

    def after(self, stream: Floats, drawn: Floats) -> tuple[Floats, dict[str, Floats]]:
        """Return streams (R, B T, N H) after the layer, and what is said of its logits.

        Parameters
        ----------
        drawn : (R, parts, B T, N H) standard normal numbers
        """
        seen = self.seen(stream_kernel(stream))
        root, _ = covariance_root(seen)
        queries, keys, values = (self._by_head(root @ drawn[:, part]) for part in range(3))  # (R, H, B T, N)
        logits = queries @ np.swapaxes(keys, -2, -1) * self.scale
        gathered = attention_within(logits, self.sequences) @ values
        stream = self._sum(stream, gathered.transpose(0, 2, 1, 3).reshape(stream.shape), drawn[:, 3])
        if self.feed_forward:
            root, _ = covariance_root(self.seen(stream_kernel(stream)))
            stream = self._sum(stream, np.sqrt(2) * np.maximum(root @ drawn[:, 4], 0), drawn[:, 5])
        return stream, logit_metrics(logits, seen, self.sequences)

    def _sum(self, stream: Floats, inner: Floats, drawn: Floats) -> Floats:
        """Add what a random matrix makes of inner activations (R, B T, N H)."""
        root, _ = covariance_root(stream_kernel(inner))
        found: Floats = stream + self.added * (root @ drawn)
        return found

    def _by_head(self, wide: Floats) -> Floats:
        split = wide.reshape(*wide.shape[:2], self.heads, -1)
        return np.swapaxes(split, 1, 2)
