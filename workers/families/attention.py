"""Causal attention: over all positions before each, or over a window of them; fused or with its scores written.

Shape letters: B sequences, H heads, S positions, K head width, W window.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(queries: Tensor, keys: Tensor, values: Tensor, *, scale: float, is_fused: bool) -> Tensor:
    """Return what each position gathers from itself and those before it, (B, H, S, K) of (B, H, S, K)."""
    if is_fused:
        return F.scaled_dot_product_attention(queries, keys, values, is_causal=True, scale=scale)
    positions = queries.shape[-2]
    future = torch.ones(positions, positions, dtype=torch.bool, device=queries.device).triu(1)
    return _plain(queries, keys, values, future, scale)


def attend_within(
    window: int, queries: Tensor, keys: Tensor, values: Tensor, *, scale: float, is_fused: bool
) -> Tensor:
    """Return what each position gathers from the last `window` positions, itself among them.

    In blocks of W queries, each with the 2W keys of its own block and the one before; the whole square, masked,
    where that is no more.

    Source of the pattern: Beltagy et al. 2020 (arXiv:2004.05150), section 3.1.
    """
    positions = queries.shape[-2]
    if 2 * window >= positions:
        ahead = torch.arange(positions, device=queries.device)
        distance = ahead[:, None] - ahead  # (S, S)
        hidden = (distance < 0) | (distance >= window)
        return _masked(queries, keys, values, hidden, scale, is_fused)
    batch, heads, _, head_width = queries.shape
    blocks = -(-positions // window)
    filled = [F.pad(each, (0, 0, 0, blocks * window - positions)) for each in (queries, keys, values)]
    ours = [each.view(batch, heads, blocks, window, head_width) for each in filled]  # S / W blocks
    before = [F.pad(each, (0, 0, 0, 0, 1, 0))[:, :, :blocks] for each in ours[1:]]
    both = [torch.cat((old, new), dim=3).flatten(1, 2) for old, new in zip(before, ours[1:], strict=True)]
    here = torch.arange(window, device=queries.device)[:, None]
    there = torch.arange(2 * window, device=queries.device)
    hidden = ((there <= here) | (there > here + window)).expand(blocks, window, 2 * window)
    begins = torch.arange(blocks, device=queries.device)[:, None, None] == 0
    hidden = (hidden | (begins & (there < window))).repeat(heads, 1, 1)  # (H S / W, W, 2W)
    gathered = _masked(ours[0].flatten(1, 2), both[0], both[1], hidden, scale, is_fused)
    return gathered.view(batch, heads, blocks * window, head_width)[:, :, :positions]


def _masked(queries: Tensor, keys: Tensor, values: Tensor, hidden: Tensor, scale: float, is_fused: bool) -> Tensor:
    if is_fused:
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=~hidden, scale=scale)
    return _plain(queries, keys, values, hidden, scale)


def _plain(queries: Tensor, keys: Tensor, values: Tensor, hidden: Tensor, scale: float) -> Tensor:
    """Return attention with its scores written to memory."""
    scores = queries @ keys.transpose(-2, -1) * scale
    gathered: Tensor = scores.masked_fill(hidden, float("-inf")).softmax(-1) @ values
    return gathered
