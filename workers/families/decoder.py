"""The decoder itself.

Decisions: pre-norm blocks; LayerNorm with a gain and no bias; rotary positions, so no position table;
queries, keys and values from one matrix; GELU; no biases anywhere; a final norm before the head. Every
matrix is counted in `isoflop.lakehouse.models.counts`; the 2L + 1 norm gains are not.

Shape letters: B sequences, S positions, D width, H heads, K head width, F feed-forward, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROTARY_BASE = 10_000.0  # wavelength of the slowest angle, in positions over 2 pi


class Decoder(nn.Module):
    """Token ids (B, S) and the ids that follow them (B, S) to the mean cross-entropy [nat/token]."""

    cosine: Tensor
    sine: Tensor

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        heads: int,
        head_width: int,
        feed_forward: int,
        vocabulary: int,
        sequence_length: int,
        is_tied: bool,
        is_fused: bool,
        attention_scale: float,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(
            Block(width, heads, head_width, feed_forward, is_fused, attention_scale) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, vocabulary, bias=False)
        if is_tied:
            self.head.weight = self.embedding.weight
        cosine, sine = rotary_angles(sequence_length, head_width)
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
        for block in self.blocks:
            x = block(x, cosine, sine)
        logits: Tensor = self.head(self.norm(x))
        return logits


class Block(nn.Module):
    """One layer: attention, then feed-forward, each added to the residual stream after a norm."""

    def __init__(
        self, width: int, heads: int, head_width: int, feed_forward: int, is_fused: bool, attention_scale: float
    ) -> None:
        super().__init__()
        self.heads, self.head_width, self.is_fused = heads, head_width, is_fused
        self.attention_scale = attention_scale
        attended = heads * head_width
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.queries_keys_values = nn.Linear(width, 3 * attended, bias=False)
        self.attention_out = nn.Linear(attended, width, bias=False)
        self.feed_forward_norm = nn.LayerNorm(width, bias=False)
        self.feed_forward_in = nn.Linear(width, feed_forward, bias=False)
        self.feed_forward_out = nn.Linear(feed_forward, width, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Return the residual stream after this layer, (B, S, D)."""
        x = x + self.attend(self.attention_norm(x), cosine, sine)
        hidden = F.gelu(self.feed_forward_in(self.feed_forward_norm(x)))  # (B, S, F)
        added: Tensor = self.feed_forward_out(hidden)
        return x + added

    def attend(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Return what each position gathers from itself and those before it, (B, S, D)."""
        batch, positions, _ = x.shape
        parts = self.queries_keys_values(x).view(batch, positions, 3, self.heads, self.head_width)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, H, S, K)
        queries, keys = rotate(queries, cosine, sine), rotate(keys, cosine, sine)
        attention = F.scaled_dot_product_attention if self.is_fused else plain_attention
        gathered = attention(queries, keys, values, is_causal=True, scale=self.attention_scale)
        out: Tensor = self.attention_out(gathered.transpose(1, 2).reshape(batch, positions, -1))
        return out


def plain_attention(queries: Tensor, keys: Tensor, values: Tensor, *, is_causal: bool, scale: float) -> Tensor:
    """Return attention with its S x S scores written to memory, (B, H, S, K)."""
    positions = queries.shape[-2]
    scores = queries @ keys.transpose(-2, -1) * scale  # (B, H, S, S)
    if is_causal:
        future = torch.ones(positions, positions, dtype=torch.bool, device=queries.device).triu(1)
        scores = scores.masked_fill(future, float("-inf"))
    gathered: Tensor = scores.softmax(-1) @ values
    return gathered


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
