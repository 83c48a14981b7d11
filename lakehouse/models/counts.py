"""What an architecture costs, counted from its shape: params, floating-point operations, memory copies.

Pure arithmetic over named numbers, so the same functions answer a dry run, a derived column of a
sweep file and a fitted time law. Nothing here imports torch.

Symbols of the formulas: b sequences a step, s sequence length, n = b*s tokens, d width, f feed-forward
width, h heads, k head width, a = h*k, L depth, v vocabulary, m micro-batches. One matrix product of
(n x i)(i x o) moves G(i, o) = n*i + i*o + n*o elements; its forward and its two backward products, 3 G.

Counted: every weight matrix and every kernel that touches tokens. Not counted: norm gains (2L + 1
vectors), rotary angles, gradient clipping. `flops` is the full attention square: a causal kernel that
skips its upper half does up to half of that term less, and the time law learns it from measurements.

Source: derived operation by operation after Inbar and Sernau 2024, Time Matters (arXiv:2406.18922).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from isoflop.lakehouse.models.layer_costs import Layer, Moved, product
from isoflop.lakehouse.models.update_costs import optimizer_costs
from isoflop.lakehouse.models.work import (
    MEAN_OF_WEIGHTS,
    UPDATES,
    Work,
    elementwise_beside,
    layer_elementwise,
    products,
)

BYTES_PER_ELEMENT = {"float64": 8, "float32": 4, "bfloat16": 2}  # of activations and matrix operands
MASTER_BYTES = 4  # weights, gradients and optimizer state stay float32 whatever the activations are
# Columns of `runs` that are counted rather than measured, for a whole run.
COUNTS = ("params", "params_non_embedding", "tokens", "steps", "flops", "memcpy_bytes")
# What is known of a config before its length is, under the names that sweep files and statements use.
SHAPE_OUTPUTS = (
    "params", "params_non_embedding", "flops_per_step", "flops_per_token", "memcpy_bytes_per_step", "tokens_per_step",
    "memory_bytes",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Elements read and written by one optimizer step, by the kind of kernel that moves them.

    The classes are the regressors of the diagnostic time law.
    """

    linear: float = 0
    attention: float = 0
    elementwise: float = 0
    head: float = 0
    optimizer: float = 0

    @property
    def total(self) -> float:
        """The paper's MEMCPYS: all elements read and written in one step."""
        return self.linear + self.attention + self.elementwise + self.head + self.optimizer


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Costs of one architecture; a whole run costs `steps` times the `_per_step` numbers.

    What a system does not have, or is not counted, is None; a run then has NULL there.

    Parameters
    ----------
    params : every weight the optimizer updates except norm gains
    params_non_embedding : params without the embedding table and the output head
    flops_per_step : floating-point operations of forward, backward and, where it matters, the update
    memcpy_bytes_per_step : bytes read and written by all kernels of a step
    tokens_per_step : tokens (samples, for a family without sequences) seen in a step
    traffic : elements moved a step, by class
    memory_bytes : predicted peak of weights, gradients, optimizer state and activations
    depth : layers that work one after another, each of which costs a step time of its own
    work : operations of a step, by class; None where they are not told apart
    """

    params: int | None = None
    params_non_embedding: int | None = None
    flops_per_step: float | None = None
    memcpy_bytes_per_step: float | None = None
    tokens_per_step: int | None = None
    traffic: Traffic = field(default_factory=Traffic)
    memory_bytes: float | None = None
    depth: int | None = None
    work: Work | None = None

    def outputs(self) -> dict[str, float | None]:
        """Return the counts by the names of `SHAPE_OUTPUTS`."""
        flops, tokens = self.flops_per_step, self.tokens_per_step
        return {
            "params": self.params,
            "params_non_embedding": self.params_non_embedding,
            "flops_per_step": flops,
            "flops_per_token": None if flops is None or tokens is None else flops / tokens,
            "memcpy_bytes_per_step": self.memcpy_bytes_per_step,
            "tokens_per_step": tokens,
            "memory_bytes": self.memory_bytes,
        }


def transformer_params(
    *,
    width: int,
    depth: int,
    vocabulary: int,
    feed_forward: int | None = None,
    attention_width: int | None = None,
    tied: bool = False,
    is_gated: bool = False,
    positions: int = 0,
) -> int:
    """Return the number of weights in a decoder's matrices.

    Parameters
    ----------
    width, depth, vocabulary : d, L, v
    feed_forward : f, by default 4*width
    attention_width : heads*head_width, by default width
    tied : whether the head is the embedding table
    is_gated : whether the feed-forward is gated, with a matrix more
    positions : rows of a table of learned positions

    Example
    -------
    >>> transformer_params(width=8, depth=3, vocabulary=32, feed_forward=16)
    2048
    """
    layers = depth * layer_params(width=width, feed_forward=feed_forward, attention_width=attention_width)
    gates = depth * width * (4 * width if feed_forward is None else feed_forward) if is_gated else 0
    return layers + gates + (1 if tied else 2) * vocabulary * width + positions * width


def layer_params(*, width: int, feed_forward: int | None = None, attention_width: int | None = None) -> int:
    """Return the weights of one layer: 4*d*a + 2*d*f."""
    hidden = 4 * width if feed_forward is None else feed_forward
    attention = width if attention_width is None else attention_width
    return 4 * width * attention + 2 * width * hidden


def transformer_counts(
    *,
    width: int,
    depth: int,
    heads: int,
    vocabulary: int,
    sequence_length: int,
    batch_size: int,
    head_width: int | None = None,
    feed_forward: int | None = None,
    kv_heads: int | None = None,
    window: int | None = None,
    is_gated: bool = False,
    has_qk_norm: bool = False,
    has_logit_cap: bool = False,
    positions: str = "rotary",
    norm: str = "layer",
    tied: bool = False,
    micro_batches: int = 1,
    attention: str = "fused",
    precision: str = "float32",
    compiled: bool = False,
    checkpointing: bool = False,
    optimizer: str = "adamw",
    has_ema: bool = False,
) -> Counts:
    """Return what a decoder-only transformer costs a step.

    Parameters
    ----------
    width, depth, heads, vocabulary, sequence_length : d, L, h, v, s
    batch_size : b, sequences a step over all its micro-batches
    head_width, feed_forward : k and f; by default width/heads and 4*width
    kv_heads : heads of keys and values, by default as many as heads
    window : positions that each attends to, itself among them; by default all before it
    is_gated : whether the feed-forward is gated, with a matrix more
    has_qk_norm, has_logit_cap : whether queries and keys are normalized, and logits kept below a cap
    positions : 'rotary', 'learned' (a table of s*d more weights) or 'none'
    norm : 'layer' or 'rms'
    tied : whether the head is the embedding table
    micro_batches : m; a step is m forward and backward passes of b/m sequences and one update
    attention : 'fused' never writes the s x s scores, 'plain' writes and reads them
    precision : 'float32', or 'bfloat16' for activations and matrix operands of 2 bytes
    compiled : whether norms, residuals and activations are merged into their neighbors
    checkpointing : whether backward computes each layer's activations again in place of keeping them
    optimizer : key of `update_costs.OPTIMIZER_TRAFFIC`, or 'muon'
    has_ema : whether a mean of the weights is kept

    Raises
    ------
    KeyError : for an unknown precision or optimizer

    Example
    -------
    >>> small = transformer_counts(width=8, depth=3, heads=2, feed_forward=16, vocabulary=32,
    ...                            sequence_length=16, batch_size=2, attention="plain")
    >>> small.params, small.flops_per_step, small.traffic.total
    (2048, 491520, 141824)
    """
    layer = Layer(
        width=width,
        hidden=4 * width if feed_forward is None else feed_forward,
        heads=heads,
        attended=width if head_width is None else heads * head_width,
        kv_heads=kv_heads,
        window=window,
        is_gated=is_gated,
        has_qk_norm=has_qk_norm,
        is_rotary=positions == "rotary",
        is_fused=attention == "fused",
        is_compiled=compiled,
    )
    tokens = batch_size * sequence_length
    table = sequence_length * width if positions == "learned" else 0
    params = depth * layer.params + (1 if tied else 2) * vocabulary * width + table
    scores = batch_size * heads * layer.pairs(sequence_length)  # of one layer, all micro-batches
    per_layer = layer.moved(tokens, scores, micro_batches)
    again = layer.again_moved(tokens, scores, micro_batches) if checkpointing else Moved(0, 0, 0)
    head_matrix = 3 * product(tokens, width, vocabulary, micro_batches)
    head_rest = 6 * tokens * vocabulary + 4 * tokens * width + 2 * micro_batches * vocabulary * width
    if positions == "learned":  # read, added and written; the gradient summed over sequences
        head_rest += 4 * tokens * width + 2 * micro_batches * table
    if has_logit_cap and not compiled:  # a quotient, a tanh and a product, 6 forward and 7 backward
        head_rest += 13 * tokens * vocabulary
    update = optimizer_costs(optimizer, layer.matrices, depth, params, has_ema=has_ema)
    traffic = Traffic(
        linear=depth * (per_layer.linear + again.linear),
        attention=depth * (per_layer.attention + again.attention),
        elementwise=depth * (per_layer.elementwise + again.elementwise),
        head=head_matrix + head_rest,
        optimizer=update.moved,
    )
    size = BYTES_PER_ELEMENT[precision]
    moved = size * (traffic.linear + traffic.attention + traffic.elementwise + head_matrix)
    moved += MASTER_BYTES * (head_rest + traffic.optimizer)
    if size < MASTER_BYTES:  # each pass reads every float32 matrix once and writes it small
        moved += micro_batches * (MASTER_BYTES + size) * (depth * layer.params + vocabulary * width)
    gemm, attended = products(layer, tokens, batch_size, sequence_length, is_again=checkpointing)
    elementwise = depth * layer_elementwise(layer, tokens, scores, norm=norm, is_again=checkpointing)
    elementwise += elementwise_beside(
        tokens, width, vocabulary, norm=norm, has_logit_cap=has_logit_cap, has_places=positions == "learned"
    )
    work = Work(
        gemm=depth * gemm,
        attention=depth * attended,
        head=6 * tokens * vocabulary * width,
        elementwise=elementwise,
        optimizer=UPDATES[optimizer] * params + (MEAN_OF_WEIGHTS * params if has_ema else 0) + update.flops,
    )
    kept = activation_bytes(layer, depth, batch_size // micro_batches, sequence_length, size, is_again=checkpointing)
    head = MASTER_BYTES * (tokens // micro_batches) * (2 * width + (4 if has_logit_cap else 3) * vocabulary)
    return Counts(
        params=params,
        params_non_embedding=depth * layer.params,
        flops_per_step=work.gemm + work.attention + work.head + update.flops,
        memcpy_bytes_per_step=moved,
        tokens_per_step=tokens,
        traffic=traffic,
        memory_bytes=MASTER_BYTES * update.kept + kept + head,
        depth=depth,
        work=work,
    )


def activation_bytes(
    layer: Layer, depth: int, sequences: int, sequence_length: int, size: int, *, is_again: bool
) -> float:
    """Return what backward keeps of one micro-batch in all layers [byte]; with 16 a parameter the peak of training.

    Parameters
    ----------
    size : of an activation [byte]
    is_again : whether only what goes into each layer is kept, and the rest is there for one layer at a time

    Kept a layer: 4 n*d (inputs and outputs of two norms), what `Layer.kept` says, and with plain attention the
    probabilities of all pairs. The head adds the norm's input and output, and three n*v for logits,
    log-probabilities and their gradient, four where logits have a cap.
    """
    tokens = sequences * sequence_length
    pairs = layer.pairs(sequence_length) if not layer.is_fused else sequence_length
    one = 4 * tokens * layer.width * MASTER_BYTES  # norms work in float32
    if size < MASTER_BYTES:
        one += 2 * tokens * layer.width * size  # and their outputs are cast for the matrix products
    one += size * tokens * layer.kept()
    one += sequences * layer.heads * pairs * (MASTER_BYTES if layer.is_fused else size)
    return depth * tokens * layer.width * MASTER_BYTES + one if is_again else depth * one


def plrf_counts(*, width: int, batch_size: int = 1, ambient: int | None = None) -> Counts:
    """Return what one step of one-pass SGD on power-law random features costs.

    Parameters
    ----------
    width : d, trained features
    batch_size : B, samples a step
    ambient : v, dimension of the data; it costs memory while the features are set up and nothing a step

    The step is the one that is computed: in the eigenbasis of the features, B products of d numbers, B
    scaled sums and one update, 4*d*B + d operations. The literature counts compute as f = d*B*r after r
    steps, so `flops` is 4 to 5 times that f and has the same exponents.

    Source of the convention: Paquette et al. 2024 (arXiv:2405.15074), section 1.

    Example
    -------
    >>> plrf_counts(width=100, batch_size=2).flops_per_step
    900
    """
    moved = batch_size * (4 * width + 2) + 4 * width  # the draws written and read twice, state and rates
    return Counts(
        params=width,
        params_non_embedding=width,
        flops_per_step=4 * width * batch_size + width,
        memcpy_bytes_per_step=BYTES_PER_ELEMENT["float64"] * moved,
        tokens_per_step=batch_size,
        traffic=Traffic(elementwise=moved),
        memory_bytes=BYTES_PER_ELEMENT["float64"] * (2 * width * (ambient or width) + 4 * width),
    )
