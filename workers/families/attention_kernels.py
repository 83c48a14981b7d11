"""The attention-kernels family: the kernel of tokens in multi-head transformers of random weights, layer by layer.

    h <- h + beta_0 L^-alpha_L / sqrt(N H) sum over heads of W_O softmax(q k^T / N^alpha_A) v
    h <- h + beta_0 L^-alpha_L / sqrt(N H) W_2 phi(W_1 h / sqrt(N H))        phi(x) = sqrt(2) max(x, 0)

with q, k, v = W h / sqrt(N H), of N numbers each in every one of H heads, of h over its root mean square or as it is,
and all weights N(0, 1). Given K = h h^T / (N H) a product W h is Gaussian, so it is drawn as a root of K times normal
numbers, and no weight is: the law of the network is the same.

Source: Bordelon, Chaudhry and Pehlevan 2024 (arXiv:2405.15712), section 2.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from isoflop.lakehouse.models.attention_kernels import (
    FEED_FORWARD_PARTS,
    METRICS,
    PARTS,
    RandomLayer,
    input_kernel,
    kernel_metrics,
    stream_kernel,
)
from isoflop.lakehouse.models.counts import Counts
from isoflop.lakehouse.models.shaped_attention import covariance_root
from isoflop.workers.components import Scalar
from isoflop.workers.devices import Device
from isoflop.workers.families.packed import PackedExperiment, Program
from isoflop.workers.families.refusal import wrong_field

INPUTS, LAYERS = 0, 1  # streams of random numbers of a run
MOST_NUMBERS = 2**27  # drawn for a layer of one run, or of its logits: 1 GiB

Floats = NDArray[np.float64]


class AttentionKernels(PackedExperiment):
    """A multi-head transformer of random weights, never trained: the kernel of its tokens, and how heads differ.

    Runs of different seeds see the same inputs, those of `data_seed`, so that they differ by their weights alone.

    `kernel_diagonal` and `kernel_mean` are means of the kernel of the residual stream over tokens, and over their
    pairs; `logit_variance` is that of the last layer's logits over its heads, `logit_kurtosis` their mean fourth power
    over the squared mean square; both are 0 before the first layer. Runs of one shape go in one program.
    """

    name: ClassVar[str] = "attention_kernels"
    axis: ClassVar[str] = "layer"
    example: ClassVar[Mapping[str, object]] = {"head_width": 4, "heads": 8, "depth": 8, "sequence_length": 3}

    depth: int = Field(ge=1, description="L, layers: attention, and a feed-forward part")
    heads: int = Field(ge=1, description="H")
    head_width: int = Field(ge=1, description="N, of queries, keys and values of a head; the stream has N H")
    attention_exponent: float = Field(default=1.0, ge=0.5, le=1, description="alpha_A: logits are divided by N^this")
    depth_exponent: float = Field(default=1.0, ge=0.5, le=1, description="alpha_L: layers add L^-this of their outputs")
    branch: float = Field(default=1.0, ge=0, description="beta_0, times what layers add")
    normalized: bool = Field(default=True, description="whether layers see tokens over their root mean square")
    feed_forward: bool = Field(default=True, description="whether a feed-forward part follows attention")
    sequences: int = Field(default=2, ge=1, description="B, which attention does not mix")
    sequence_length: int = Field(default=6, ge=1, description="T, tokens a sequence")
    dimension: int = Field(default=8, ge=1, description="D, of the inputs")
    data_seed: int = Field(default=0, ge=0, description="of the inputs")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        tokens = self.sequences * self.sequence_length
        drawn = tokens * max(self._layer_parts * self.heads * self.head_width, self.heads * tokens)
        if drawn > MOST_NUMBERS:
            raise wrong_field("heads", f"is {self.heads}: a layer has {drawn:.2g} numbers; at most {MOST_NUMBERS:.2g}")
        return self

    @property
    def _layer_parts(self) -> int:
        """What a layer draws, in numbers of the width for each token."""
        return PARTS + FEED_FORWARD_PARTS * self.feed_forward

    @property
    def length(self) -> int:
        """The layers of the run."""
        return self.depth

    def metrics(self) -> Mapping[str, str]:
        """Return what is measured of the kernel and of the logits."""
        return METRICS

    def counts(self) -> Counts:
        """Return the weights; they are never drawn, and what layers would cost is not counted."""
        width = self.heads * self.head_width
        layers = self.depth * self._layer_parts * width**2
        return Counts(params=layers + self.dimension * width, params_non_embedding=layers)

    def extra(self) -> dict[str, Scalar]:
        """Return the width, N H."""
        return {**super().extra(), "width": self.heads * self.head_width}

    def pack_key(self) -> Hashable:
        """Runs whose arrays have one shape, and whose layers are of one kind, go together."""
        tokens, kind = (self.sequences, self.sequence_length), (self.normalized, self.feed_forward)
        return (self.name, self.depth, self.heads, self.head_width, *tokens, *kind)

    @classmethod
    def program(cls, runs: Sequence[Self], device: Device) -> Program:
        """Return the program that takes these runs through their layers, on a core."""
        return _Layers(runs)


class _Layers:
    """R streams h (R, B T, N H), layer by layer."""

    def __init__(self, runs: Sequence[AttentionKernels]) -> None:
        self._runs, self._layer, first = runs, 0, runs[0]
        self._block = RandomLayer(
            sequences=first.sequences,
            heads=first.heads,
            scale=_column([run.head_width**-run.attention_exponent for run in runs])[:, None],
            added=_column([run.branch * run.depth**-run.depth_exponent for run in runs]),
            normalized=first.normalized,
            feed_forward=first.feed_forward,
        )
        self._stream: Floats = np.stack([_first_stream(run) for run in runs])
        self._logits = np.zeros((len(runs), 2))  # their variance over heads, and their kurtosis

    def advance(self, num_steps: int) -> None:
        """Go through `num_steps` layers more in every run."""
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(num_steps):
                self._layer += 1
                drawn = np.stack([self._drawn(run) for run in self._runs])
                self._stream, said = self._block.after(self._stream, drawn)
                self._logits = np.stack([said["logit_variance"], said["logit_kurtosis"]], axis=1)

    def measure(self) -> dict[str, Floats]:
        """Return what is said of the kernel and of the last logits of every run, each (R,)."""
        variance, kurtosis = self._logits.T
        return {**kernel_metrics(stream_kernel(self._stream)), "logit_variance": variance, "logit_kurtosis": kurtosis}

    def state(self, run: int) -> dict[str, Any]:
        """Return the stream of one run, and what was said of its logits."""
        return {"stream": self._stream[run].copy(), "logits": self._logits[run].copy()}

    def restore(self, step: int, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue every run from its stream after `step` layers."""
        self._layer = step
        self._stream = np.stack([np.array(state["stream"]) for state in states])
        self._logits = np.stack([np.array(state["logits"]) for state in states])

    def results(self, run: int) -> dict[str, float]:
        """Return nothing further."""
        return {}

    def _drawn(self, run: AttentionKernels) -> Floats:
        generator = np.random.default_rng([run.seed, LAYERS, self._layer])
        return generator.standard_normal((self._block.parts, *self._stream.shape[1:]))


def _column(values: Any) -> Floats:
    """Return a number of each run, (R, 1, 1)."""
    return np.asarray(values, dtype=np.float64)[:, None, None]


def _first_stream(run: AttentionKernels) -> Floats:
    """Return W_in x / sqrt(D), (B T, N H)."""
    root, _ = covariance_root(input_kernel(run.sequences, run.sequence_length, run.dimension, run.data_seed))
    generator = np.random.default_rng([run.seed, INPUTS])
    stream: Floats = root @ generator.standard_normal((len(root), run.heads * run.head_width))
    return stream
