"""The decoder itself.

Decisions: pre-norm blocks; norms with a gain and no bias; queries, keys and values from one matrix, and so are the
two inputs of a gate; no biases anywhere; a final norm before the head. Every matrix is counted in
`isoflop.lakehouse.models.counts`; gains of norms are not.

Shape letters: B sequences, S positions, D width, H heads, C heads of keys and values, K head width, F feed-forward,
V vocabulary, W window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from isoflop.workers.families.attention import attend, attend_within

ROTARY_BASE = 10_000.0  # wavelength of the slowest angle, in positions over 2 pi
NORM_EPSILON = 1e-5  # added to the mean square


@dataclass(frozen=True, kw_only=True)
class DecoderShape:
    """What a decoder is made of; the names are those of the family's settings.

    Parameters
    ----------
    attention_scale : what products of queries and keys are multiplied by
    is_fused : whether attention never writes its scores
    is_checkpointed : whether backward computes each layer again in place of keeping its activations
    """

    width: int
    depth: int
    heads: int
    head_width: int
    kv_heads: int
    feed_forward: int
    vocabulary: int
    sequence_length: int
    attention_scale: float
    mlp: Literal["plain", "swiglu", "geglu"] = "plain"
    positions: Literal["rotary", "learned", "none"] = "rotary"
    norm: Literal["layer", "rms"] = "layer"
    qk_norm: bool = False
    logit_cap: float | None = None
    window: int | None = None
    tied: bool = False
    is_fused: bool = True
    is_checkpointed: bool = False

    def new_norm(self, width: int) -> nn.Module:
        """Return a norm over so many numbers, with a gain."""
        if self.norm == "rms":
            return RootMeanSquareNorm(width, eps=NORM_EPSILON)
        return nn.LayerNorm(width, eps=NORM_EPSILON, bias=False)


class RootMeanSquareNorm(nn.RMSNorm):
    """RMSNorm in float32, as autocast has LayerNorm."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the numbers over their root mean square, times the gain, in float32."""
        return super().forward(x.float())


class Decoder(nn.Module):
    """Token ids (B, S) and the ids that follow them (B, S) to the mean cross-entropy [nat/token]."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        is_learned = shape.positions == "learned"
        self.positions = nn.Embedding(shape.sequence_length, shape.width) if is_learned else None
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.norm = shape.new_norm(shape.width)
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=False)
        if shape.tied:
            self.head.weight = self.embedding.weight
        cosine, sine = rotary_angles(shape.sequence_length, shape.head_width)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def layers(self) -> Iterator[Block]:
        """Return the blocks from the first to the last."""
        return iter(cast("Iterable[Block]", self.blocks))

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy of the targets."""
        logits = self.logits(tokens)  # (B, S, V)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def logits(self, tokens: Tensor) -> Tensor:
        """Return scores of every next token, (B, S, V)."""
        num_positions = tokens.shape[1]
        cosine, sine = self.cosine[:num_positions], self.sine[:num_positions]
        x = self.embedding(tokens)  # (B, S, D)
        if self.positions is not None:
            x = x + self.positions(torch.arange(num_positions, device=tokens.device))
        for block in self.blocks:
            if self.shape.is_checkpointed and torch.is_grad_enabled():
                x = checkpoint(block, x, cosine, sine, use_reentrant=False)
            else:
                x = block(x, cosine, sine)
        logits: Tensor = self.head(self.norm(x))
        if self.shape.logit_cap is not None:
            logits = self.shape.logit_cap * torch.tanh(logits / self.shape.logit_cap)
        return logits


class Block(nn.Module):
    """One layer: attention, then feed-forward, each added to the residual stream after a norm."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.shape = shape
        attended, keyed = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
        into = shape.feed_forward if shape.mlp == "plain" else 2 * shape.feed_forward
        self.attention_norm = shape.new_norm(shape.width)
        self.queries_keys_values = nn.Linear(shape.width, attended + 2 * keyed, bias=False)
        self.query_norm = shape.new_norm(shape.head_width) if shape.qk_norm else None
        self.key_norm = shape.new_norm(shape.head_width) if shape.qk_norm else None
        self.attention_out = nn.Linear(attended, shape.width, bias=False)
        self.feed_forward_norm = shape.new_norm(shape.width)
        self.feed_forward_in = nn.Linear(shape.width, into, bias=False)
        self.feed_forward_out = nn.Linear(shape.feed_forward, shape.width, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Return the residual stream after this layer, (B, S, D)."""
        x = x + self.attend(self.attention_norm(x), cosine, sine)
        added: Tensor = self.feed_forward_out(self.activated(self.feed_forward_in(self.feed_forward_norm(x))))
        return x + added

    def activated(self, hidden: Tensor) -> Tensor:
        """Return what the feed-forward's inner activations are, (B, S, F), of (B, S, F) or, of a gate, (B, S, 2F).

        Source of the gates: Shazeer 2020 (arXiv:2002.05202).
        """
        if self.shape.mlp == "plain":
            return F.gelu(hidden)
        gate, value = hidden.chunk(2, dim=-1)
        return (F.silu(gate) if self.shape.mlp == "swiglu" else F.gelu(gate)) * value

    def attend(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Return what each position gathers from itself and those before it, (B, S, D)."""
        shape, (batch, positions, _) = self.shape, x.shape
        heads, groups = shape.heads, shape.kv_heads
        parts = self.queries_keys_values(x).view(batch, positions, heads + 2 * groups, shape.head_width)
        queries, keys, values = parts.transpose(1, 2).split((heads, groups, groups), dim=1)  # (B, H or C, S, K)
        if self.query_norm is not None and self.key_norm is not None:
            queries, keys = self.query_norm(queries).type_as(values), self.key_norm(keys).type_as(values)
        if shape.positions == "rotary":
            queries, keys = rotate(queries, cosine, sine), rotate(keys, cosine, sine)
        if groups < heads:
            keys, values = (each.repeat_interleave(heads // groups, dim=1) for each in (keys, values))
        if shape.window is None:
            gathered = attend(queries, keys, values, scale=shape.attention_scale, is_fused=shape.is_fused)
        else:
            gathered = attend_within(
                shape.window, queries, keys, values, scale=shape.attention_scale, is_fused=shape.is_fused
            )
        out: Tensor = self.attention_out(gathered.transpose(1, 2).reshape(batch, positions, -1))
        return out


def rotary_angles(positions: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of every position's angles, each (positions, head_width // 2).

    Source: Su et al. 2021, RoFormer (arXiv:2104.09864), eq. 34.
    """
    pairs = head_width // 2
    frequencies = ROTARY_BASE ** (-torch.arange(pairs, dtype=torch.float64) / max(1, pairs))
    angles = torch.arange(positions, dtype=torch.float64)[:, None] * frequencies
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn the pairs (i, i + K/2) of each head by the angle of their position; an odd last number stays."""
    pairs = cosine.shape[-1]
    first, second, rest = x[..., :pairs], x[..., pairs : 2 * pairs], x[..., 2 * pairs :]
    turned = (first * cosine - second * sine, first * sine + second * cosine)
    return torch.cat((*turned, rest) if rest.shape[-1] else turned, dim=-1).type_as(x)
