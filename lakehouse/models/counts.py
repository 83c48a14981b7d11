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

BYTES_PER_ELEMENT = {"float64": 8, "float32": 4, "bfloat16": 2}  # of activations and matrix operands
MASTER_BYTES = 4  # weights, gradients and optimizer state stay float32 whatever the activations are
# Elements moved a parameter by one optimizer step, gradients not zeroed but dropped.
OPTIMIZER_TRAFFIC = {"adamw": 7, "adamw_unfused": 16, "momentum": 5, "sgd": 3}
# Numbers kept a parameter while it is trained: weight, gradient and the optimizer's moments.
KEPT_PER_PARAM = {"adamw": 4, "adamw_unfused": 4, "momentum": 3, "sgd": 2}
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
    """

    params: int | None = None
    params_non_embedding: int | None = None
    flops_per_step: float | None = None
    memcpy_bytes_per_step: float | None = None
    tokens_per_step: int | None = None
    traffic: Traffic = field(default_factory=Traffic)
    memory_bytes: float | None = None
    depth: int | None = None

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
) -> int:
    """Return the number of weights in a decoder's matrices.

    Parameters
    ----------
    width, depth, vocabulary : d, L, v
    feed_forward : f, by default 4*width
    attention_width : heads*head_width, by default width
    tied : whether the head is the embedding table

    Example
    -------
    >>> transformer_params(width=8, depth=3, vocabulary=32, feed_forward=16)
    2048
    """
    layers = depth * layer_params(width=width, feed_forward=feed_forward, attention_width=attention_width)
    return layers + (1 if tied else 2) * vocabulary * width


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
    tied: bool = False,
    micro_batches: int = 1,
    attention: str = "fused",
    precision: str = "float32",
    compiled: bool = False,
    optimizer: str = "adamw",
) -> Counts:
    """Return what a decoder-only transformer costs a step.

    Parameters
    ----------
    width, depth, heads, vocabulary, sequence_length : d, L, h, v, s
    batch_size : b, sequences a step over all its micro-batches
    head_width, feed_forward : k and f; by default width/heads and 4*width
    tied : whether the head is the embedding table
    micro_batches : m; a step is m forward and backward passes of b/m sequences and one update
    attention : 'fused' never writes the s x s scores, 'plain' writes and reads them
    precision : 'float32', or 'bfloat16' for activations and matrix operands of 2 bytes
    compiled : whether norms, residuals and activations are merged into their neighbors
    optimizer : key of `OPTIMIZER_TRAFFIC`

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
    hidden = 4 * width if feed_forward is None else feed_forward
    attended = width if head_width is None else heads * head_width
    tokens = batch_size * sequence_length
    layer = layer_params(width=width, feed_forward=hidden, attention_width=attended)
    params = transformer_params(
        width=width,
        depth=depth,
        vocabulary=vocabulary,
        feed_forward=hidden,
        attention_width=attended,
        tied=tied,
    )
    scores = batch_size * heads * sequence_length**2  # elements of one layer's attention matrices, all micro-batches
    per_layer = _layer_traffic(tokens, width, hidden, attended, scores, micro_batches, attention, compiled)
    head_matrix = 3 * _product(tokens, width, vocabulary, micro_batches)
    head_rest = 6 * tokens * vocabulary + 4 * tokens * width + 2 * micro_batches * vocabulary * width
    traffic = Traffic(
        linear=depth * per_layer.linear,
        attention=depth * per_layer.attention,
        elementwise=depth * per_layer.elementwise,
        head=head_matrix + head_rest,
        optimizer=OPTIMIZER_TRAFFIC[optimizer] * params,
    )
    size = BYTES_PER_ELEMENT[precision]
    moved = size * (traffic.linear + traffic.attention + traffic.elementwise + head_matrix)
    moved += MASTER_BYTES * (head_rest + traffic.optimizer)
    if size < MASTER_BYTES:  # each pass reads every float32 matrix once and writes it small
        moved += micro_batches * (MASTER_BYTES + size) * (depth * layer + vocabulary * width)
    return Counts(
        params=params,
        params_non_embedding=depth * layer,
        flops_per_step=6 * tokens * (depth * layer + vocabulary * width + 2 * depth * sequence_length * attended),
        memcpy_bytes_per_step=moved,
        tokens_per_step=tokens,
        traffic=traffic,
        memory_bytes=transformer_memory_bytes(
            params=params,
            width=width,
            depth=depth,
            heads=heads,
            feed_forward=hidden,
            attention_width=attended,
            vocabulary=vocabulary,
            sequence_length=sequence_length,
            batch_size=batch_size // micro_batches,
            attention=attention,
            precision=precision,
            optimizer=optimizer,
        ),
        depth=depth,
    )


def _product(tokens: int, inner: int, outer: int, micro_batches: int) -> int:
    """Elements moved by (n x i)(i x o) done in m parts: the tokens are shared out, the matrix is not."""
    return tokens * inner + micro_batches * inner * outer + tokens * outer


def _layer_traffic(
    tokens: int, width: int, hidden: int, attended: int, scores: int, micro_batches: int, attention: str, compiled: bool
) -> Traffic:
    """Elements one layer moves, forward and backward."""
    matrices = ((width, 3 * attended), (attended, width), (width, hidden), (hidden, width))
    linear = 3 * sum(_product(tokens, inner, outer, micro_batches) for inner, outer in matrices)
    if attention == "fused":
        attention_moves = 3 * 4 * tokens * attended
    else:
        products = 3 * 2 * (2 * tokens * attended + scores)  # QK^T and AV
        softmax = (2 + 2 + 3 + 3) * scores  # mask and scale, softmax; forward and backward
        attention_moves = products + softmax
    if compiled:
        elementwise = 8 * tokens * width + 2 * tokens * hidden
    else:  # two norms of 2 + 4, two residuals of 3 + 2, one activation of 2 + 3
        elementwise = 22 * tokens * width + 5 * tokens * hidden
    return Traffic(linear=linear, attention=attention_moves, elementwise=elementwise)


def transformer_memory_bytes(
    *,
    params: int,
    width: int,
    depth: int,
    heads: int,
    feed_forward: int,
    attention_width: int,
    vocabulary: int,
    sequence_length: int,
    batch_size: int,
    attention: str = "fused",
    precision: str = "float32",
    optimizer: str = "adamw",
) -> float:
    """Return the peak memory of training [byte]: 16 a parameter with AdamW, and what backward keeps of one micro-batch.

    Parameters
    ----------
    params : weights; with gradients and AdamW's two moments 16 bytes each
    optimizer : key of `KEPT_PER_PARAM`
    batch_size : sequences of one micro-batch

    Kept a layer: 4 n*d (inputs and outputs of two norms), 7 n*a (q, k, v, rotated q and k, the attended
    values twice), 2 n*f, and with plain attention the probabilities b*h*s^2. Kept by the head: the norm's
    input and output, and three n*v for logits, log-probabilities and their gradient.
    """
    size = BYTES_PER_ELEMENT[precision]
    tokens = batch_size * sequence_length
    scores = batch_size * heads * sequence_length**2 if attention == "plain" else batch_size * heads * sequence_length
    residual = 4 * tokens * width * MASTER_BYTES  # norms work in float32
    if size < MASTER_BYTES:
        residual += 2 * tokens * width * size  # and their outputs are cast for the matrix products
    layer = residual + size * tokens * (7 * attention_width + 2 * feed_forward)
    layer += scores * (MASTER_BYTES if attention == "fused" else size)
    head = MASTER_BYTES * (2 * tokens * width + 3 * tokens * vocabulary)
    return KEPT_PER_PARAM[optimizer] * MASTER_BYTES * params + depth * layer + head


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
