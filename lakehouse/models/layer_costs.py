"""What one layer of a decoder costs: weights, floating-point operations, elements moved, activations kept.

Symbols as in `counts.py`, and c key and value heads, e = c*k, g = 1 for a plain and 2 for a gated feed-forward. Sliding
attention over w positions goes in blocks of w queries, each with the 2w keys of its own block and the one before, where
that is less than the whole square; the sequence is then filled up to whole blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Moved(NamedTuple):
    """Elements that a layer reads and writes, by the kind of kernel."""

    linear: float
    attention: float
    elementwise: float


def product(tokens: int, inner: int, outer: int, micro_batches: int) -> int:
    """Return the elements moved by (n x i)(i x o) done in m parts: the tokens are shared out, the matrix is not."""
    return tokens * inner + micro_batches * inner * outer + tokens * outer


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The shape of one layer, and what follows from it.

    Parameters
    ----------
    width, hidden, heads, head_width : d, f, h, k
    attended : a = h*k
    kv_heads : c, None for as many as heads
    is_gated : whether the feed-forward multiplies two of its inputs
    window : w, positions that each attends to, None for all before it
    has_qk_norm : whether queries and keys are normalized
    is_rotary : whether they are turned by their positions
    is_fused : whether attention never writes its scores
    is_compiled : whether norms, residuals and activations are merged into their neighbors
    """

    width: int
    hidden: int
    heads: int
    attended: int
    kv_heads: int | None = None
    is_gated: bool = False
    window: int | None = None
    has_qk_norm: bool = False
    is_rotary: bool = True
    is_fused: bool = True
    is_compiled: bool = False

    @property
    def keyed(self) -> int:
        """Width of all keys, and of all values: e = c*k."""
        return self.attended if self.kv_heads is None else self.attended // self.heads * self.kv_heads

    @property
    def is_grouped(self) -> bool:
        """Whether several heads share keys and values, which are then repeated for each."""
        return self.kv_heads is not None and self.kv_heads != self.heads

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of every matrix."""
        into = (2 if self.is_gated else 1) * self.hidden
        return (
            (self.width, self.attended + 2 * self.keyed),
            (self.attended, self.width),
            (self.width, into),
            (self.hidden, self.width),
        )

    @property
    def params(self) -> int:
        """Weights of the matrices: 2*d*a + 2*d*e + (g + 1)*d*f."""
        return sum(inner * outer for inner, outer in self.matrices)

    def pairs(self, sequence_length: int) -> int:
        """Return how many products of a query and a key one head makes in a sequence."""
        if self.window is None or 2 * self.window >= sequence_length:
            return sequence_length**2
        blocks = -(-sequence_length // self.window)
        return blocks * self.window * 2 * self.window

    def forward_flops(self, tokens: int, sequences: int, sequence_length: int) -> int:
        """Return the operations of a forward pass: 2*n a weight, and 4*k for each pair of each head."""
        return 2 * tokens * self.params + 4 * sequences * self.pairs(sequence_length) * self.attended

    def again_moved(self, tokens: int, scores: int, micro_batches: int) -> Moved:
        """Return what computing activations again moves: a forward pass without its last product and residual."""
        forward = self.forward_moved(tokens, scores, micro_batches)
        last = product(tokens, self.hidden, self.width, micro_batches)
        return Moved(forward.linear - last, forward.attention, forward.elementwise - 3 * tokens * self.width)

    def forward_moved(self, tokens: int, scores: int, micro_batches: int) -> Moved:
        """Return what a forward pass moves; `scores` are the pairs of all heads and sequences."""
        linear = sum(product(tokens, inner, outer, micro_batches) for inner, outer in self.matrices)
        if self.is_fused:
            attention = 4 * tokens * self.attended
        else:  # QK^T and AV; mask and scale, softmax
            attention = 2 * (2 * tokens * self.attended + scores) + 4 * scores
        return Moved(linear, attention, tokens * self._elementwise_forward())

    def moved(self, tokens: int, scores: int, micro_batches: int) -> Moved:
        """Return what a forward and a backward pass move."""
        forward = self.forward_moved(tokens, scores, micro_batches)
        attention = 3 * forward.attention if self.is_fused else 3 * forward.attention - 2 * scores  # softmax 4, 6 back
        return Moved(3 * forward.linear, attention, tokens * self._elementwise())

    def _elementwise_forward(self) -> int:
        """Elements a token: norms of 2, residuals of 3, one activation of 2 (gated: 2 and a product of 3)."""
        if self.is_compiled:
            return 3 * self.width + self._inside() + self._between_compiled() // 3
        between = 2 * (self.attended + self.keyed) if self.has_qk_norm else 0
        return 10 * self.width + (5 if self.is_gated else 2) * self.hidden + between + self._repeated() // 2

    def _elementwise(self) -> int:
        """Elements a token: two norms of 2 + 4, two residuals of 3 + 2, one activation of 2 + 3.

        A gate is 5 forward, and backward two products of 3, an activation of 3 and the two halves joined, 4.
        """
        if self.is_compiled:
            return (
                8 * self.width + (8 if self.is_gated else 2) * self.hidden + self._between_compiled() + self._repeated()
            )
        between = 6 * (self.attended + self.keyed) if self.has_qk_norm else 0
        return 22 * self.width + (18 if self.is_gated else 5) * self.hidden + between + self._repeated()

    def _inside(self) -> int:
        return (3 if self.is_gated else 1) * self.hidden

    def _between_compiled(self) -> int:
        return 3 * (self.attended + self.keyed) if self.has_qk_norm else 0

    def _repeated(self) -> int:
        """Keys and values written once for each head of a group, and their gradients added up."""
        return 4 * (self.attended + self.keyed) if self.is_grouped else 0

    def kept(self) -> int:
        """Return the elements a token that backward keeps of attention and feed-forward.

        Queries, keys and values, queries and keys again where they are turned or normalized, keys and values again
        where they are repeated, what was attended twice; the feed-forward's inputs and outputs, of a gate all four.
        """
        attended, keyed = self.attended, self.keyed
        attention = 3 * attended + 2 * keyed + (2 * attended if self.is_grouped else 0)
        changes = int(self.is_rotary) + int(self.has_qk_norm)
        return attention + changes * (attended + keyed) + (4 if self.is_gated else 2) * self.hidden
