"""The shaped-transformer family: the covariance of a sequence's tokens, layer by layer, before any training.

    X <- lambda X + gamma A X W / sqrt(n)        lambda^2 + gamma^2 = 1, all weights N(0, 1)
    A = 1 + softmax(X W_Q W_K^T X^T / (n tau)) - 1/T        tau = tau_0 sqrt(n n_k)
    X <- lambda X + gamma sqrt(c / n) sigma(X W_1 / sqrt(n)) W_2        where there is a feed-forward part

with sigma(x) = s_+ max(x, 0) + s_- min(x, 0), s = 1 + slope / sqrt(n), c = 2 / (s_+^2 + s_-^2). Every layer has weights
of its own, so given V = X X^T / n a product X W is Gaussian with the covariance n V between tokens. It is drawn as
that, a root of V times (T, n) numbers, in place of n x n weights: the law of the network is the same.

Source: Noci et al. 2023 (arXiv:2306.17759).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from isoflop.lakehouse.models.counts import Counts
from isoflop.lakehouse.models.shaped_attention import (
    METRICS,
    attended_shares,
    covariance_metrics,
    covariance_root,
    first_covariance,
)
from isoflop.workers.devices import Device
from isoflop.workers.families.packed import PackedExperiment, Program
from isoflop.workers.families.refusal import wrong_field

TOKENS, LAYERS = 0, 1  # streams of random numbers of a run
MOST_NUMBERS = 2**27  # drawn for a layer of one run: 1 GiB

Floats = NDArray[np.float64]


class ShapedTransformer(PackedExperiment):
    """A transformer of random weights, never trained: the covariance of its tokens as a sequence goes through it.

    `attention: shaped` is the identity plus what softmax adds to uniform attention, at a temperature that grows with
    width; `unshaped` is softmax alone. A `gamma` of depth ** -0.5 is a residual branch that shrinks with depth.

    `variance` is the mean over tokens of |x|^2 / width, `correlation` the mean over pairs of tokens, `rank` the tokens
    that are worth as much without correlations. Runs of one shape and kind go in one program.
    """

    name: ClassVar[str] = "shaped_transformer"
    axis: ClassVar[str] = "layer"
    example: ClassVar[Mapping[str, object]] = {"width": 32, "depth": 32, "sequence_length": 3, "gamma": 0.5}

    depth: int = Field(ge=1, description="d, layers: attention, and a feed-forward part where there is one")
    width: int = Field(ge=1, description="n, of the residual stream")
    sequence_length: int = Field(default=4, ge=1, le=256, description="T, tokens")
    key_width: int = Field(
        default_factory=lambda known: known["width"], ge=1, description="n_k, of queries and keys; by default the width"
    )
    gamma: float = Field(gt=0, le=1, description="weight of what a layer adds; the stream keeps sqrt(1 - gamma^2)")
    temperature: float = Field(default=1.0, gt=0, description="tau_0, what softmax is divided by beside the widths")
    first_correlation: float = Field(default=0.2, lt=1, description="of every two tokens before the first layer")
    attention: Literal["shaped", "unshaped"] = Field(default="shaped", description="identity and softmax, or softmax")
    identity: float = Field(default=1.0, ge=0, description="of shaped attention, the weight of its identity")
    causal: bool = Field(default=False, description="whether tokens see themselves and those before them only")
    feed_forward: bool = Field(default=False, description="whether a shaped feed-forward part follows attention")
    positive_slope: float = Field(default=0.0, description="c_+, by 1 / sqrt(width) of it more than 1 for x > 0")
    negative_slope: float = Field(default=-1.0, description="c_-, the same for x < 0")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        count = self.sequence_length
        if self.width < count:
            raise wrong_field("width", f"is {self.width}, less than the {count} tokens; at least one dimension a token")
        if count > 1 and not self.first_correlation > -1 / (count - 1):
            least = f"{count} tokens have correlations above {-1 / (count - 1):.3g}"
            raise wrong_field("first_correlation", f"is {self.first_correlation:g}; {least}")
        if self.attention == "unshaped" and self.identity != 1:
            raise wrong_field("identity", f"is {self.identity:g}, and unshaped attention has no identity; leave it out")
        if count * self._columns > MOST_NUMBERS:
            size = f"a layer draws {count * self._columns:.2g} numbers; at most {MOST_NUMBERS:.2g}"
            raise wrong_field("width", f"is {self.width}: {size}")
        return self

    @property
    def _columns(self) -> int:
        """Numbers that a layer draws for each token."""
        return 2 * self.key_width + (3 if self.feed_forward else 1) * self.width

    @property
    def length(self) -> int:
        """The layers of the run."""
        return self.depth

    def metrics(self) -> Mapping[str, str]:
        """Return what is measured of the covariance."""
        return METRICS

    def counts(self) -> Counts:
        """Return the weights; they are never drawn, and what layers would cost is not counted."""
        layer = self.width * self._columns
        return Counts(params=self.depth * layer, params_non_embedding=self.depth * layer)

    def pack_key(self) -> Hashable:
        """Runs whose arrays have one shape, and whose layers are of one kind, go together."""
        kind = (self.attention, self.causal, self.feed_forward)
        return (self.name, self.depth, self.width, self.sequence_length, self.key_width, *kind)

    @classmethod
    def program(cls, runs: Sequence[Self], device: Device) -> Program:
        """Return the program that takes these runs through their layers, on a core."""
        return _Layers(runs)


class _Layers:
    """R sequences X (R, T, n), layer by layer."""

    def __init__(self, runs: Sequence[ShapedTransformer]) -> None:
        self._runs, self._layer, first = runs, 0, runs[0]
        self._is_shaped, self._has_feed_forward = first.attention == "shaped", first.feed_forward
        self._width, self._key_width, self._columns = first.width, first.key_width, first._columns
        self._shares = attended_shares(first.sequence_length, causal=first.causal)
        self._gamma = _column([run.gamma for run in runs])
        self._kept = np.sqrt(1 - self._gamma**2)
        self._identity = _column([run.identity for run in runs]) * np.eye(first.sequence_length)
        # Y / tau has the product of keys and queries over tau_0 sqrt(n n_k); each of them is sqrt(n) times its draw.
        shrunk = np.sqrt(first.width) if self._is_shaped else 1.0
        self._scale = 1 / (_column([run.temperature for run in runs]) * shrunk * np.sqrt(first.key_width))
        slopes = np.array([[run.positive_slope, run.negative_slope] for run in runs])
        self._above, self._below = (_column(each) for each in (1 + slopes / np.sqrt(first.width)).T)
        self._tokens: Floats = np.stack([_first_tokens(run) for run in runs])

    def advance(self, num_steps: int) -> None:
        """Go through `num_steps` layers more in every run; one that grows without bound overflows quietly."""
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(num_steps):
                self._layer += 1
                self._pass(np.stack([self._drawn(run) for run in self._runs]))

    def measure(self) -> dict[str, Floats]:
        """Return what is said of the covariance of every run now, each (R,)."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return covariance_metrics(self._covariance(self._tokens))

    def state(self, run: int) -> dict[str, Any]:
        """Return the tokens of one run."""
        return {"tokens": self._tokens[run].copy()}

    def restore(self, step: int, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue every run from its tokens after `step` layers."""
        self._layer = step
        self._tokens = np.stack([np.array(state["tokens"]) for state in states])

    def results(self, run: int) -> dict[str, float]:
        """Return nothing further."""
        return {}

    def _drawn(self, run: ShapedTransformer) -> Floats:
        generator = np.random.default_rng([run.seed, LAYERS, self._layer])
        return generator.standard_normal((run.sequence_length, self._columns))

    def _pass(self, drawn: Floats) -> None:
        """Go through one layer with its draws (R, T, columns)."""
        width, keys = self._width, self._key_width
        root, _ = covariance_root(self._covariance(self._tokens))
        queries, keys_drawn, values = (root @ part for part in np.split(drawn, [keys, 2 * keys], axis=2))
        mixed = self._attention(queries @ keys_drawn.transpose(0, 2, 1) * self._scale) @ values[:, :, :width]
        self._tokens = self._kept * self._tokens + self._gamma * mixed
        if self._has_feed_forward:
            first, second = np.split(drawn[:, :, 2 * keys + width :], 2, axis=2)
            root, _ = covariance_root(self._covariance(self._tokens))
            hidden = root @ first
            bent = self._above * np.maximum(hidden, 0) + self._below * np.minimum(hidden, 0)
            normal = np.sqrt(2 / (self._above**2 + self._below**2))
            root, _ = covariance_root(self._covariance(bent))
            self._tokens = self._kept * self._tokens + self._gamma * normal * (root @ second)

    def _attention(self, logits: Floats) -> Floats:
        """Return A (R, T, T) of what softmax is taken of."""
        logits = np.where(self._shares > 0, logits, -np.inf)
        weights: Floats = np.exp(logits - np.maximum.reduce(logits, axis=2)[:, :, None])
        weights /= np.add.reduce(weights, axis=2)[:, :, None]
        return self._identity + weights - self._shares if self._is_shaped else weights

    def _covariance(self, tokens: Floats) -> Floats:
        found: Floats = tokens @ tokens.transpose(0, 2, 1) / self._width
        return found


def _column(values: Any) -> Floats:
    """Return a number of each run, (R, 1, 1)."""
    return np.asarray(values, dtype=np.float64)[:, None, None]


def _first_tokens(run: ShapedTransformer) -> Floats:
    """Return X (T, n) in a random direction, whose covariance is exactly the first one."""
    generator = np.random.default_rng([run.seed, TOKENS])
    directions, _ = np.linalg.qr(generator.standard_normal((run.width, run.sequence_length)))
    root, _ = covariance_root(first_covariance(run.sequence_length, run.first_correlation))
    tokens: Floats = np.sqrt(run.width) * root @ directions.T
    return tokens
