"""What a step of a decoder computes, by the kind of kernel: products of matrices, attention, element by element.

`flops` of a run are those of products: gemm, attention, head and, with Muon, the optimizer's. What is done element by
element is counted here and left out there, as everywhere in the literature; on a device it is paid for in memory
traffic. An addition, a product, a comparison, an exponential, a root is one operation each.

Symbols as in `counts.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

from isoflop.lakehouse.models.layer_costs import Layer


class Passes(NamedTuple):
    """Operations an element, forward and backward."""

    forward: float
    backward: float


# x - mean, its square's mean, a scale and a gain; backward two means, and the gain's gradient.
NORMS = {"layer": Passes(6, 10), "rms": Passes(4, 8)}
RESIDUAL = Passes(1, 1)  # a sum; the gradients of both branches added
GELU = Passes(5, 10)  # x (1 + erf(x / sqrt 2)) / 2; its slope has the density beside, and erf again
GATE = Passes(5, 11)  # x / (1 + exp(-x)) times the other half; both slopes, and the sigmoid again
ROTATION = Passes(3, 3)  # of a query or a key
SOFTMAX = Passes(6, 5)  # scale, maximum, difference, exponential, sum, quotient; p (g - sum g p), scale
CROSS_ENTROPY = Passes(5, 3)  # maximum, difference, exponential, sum, difference; exponential, difference, scale
CAP = Passes(3, 4)  # c tanh(x / c)
PLACE = Passes(1, 1)  # a learned position, added
# An optimizer's step, for each weight: moments, corrections, decay and the update itself.
UPDATES = {"adamw": 14, "adamw_unfused": 14, "momentum": 6, "sgd": 4, "lion": 10, "muon": 10}
MEAN_OF_WEIGHTS = 3  # for each weight


@dataclass(frozen=True, kw_only=True)
class Work:
    """Operations of one step by class; gemm, attention, head and an optimizer's products are what `flops` counts.

    Parameters
    ----------
    gemm : products with the matrices of layers, forward, backward, and again where layers are computed again
    attention : products of queries and keys, and of probabilities and values
    head : the product with the readout
    elementwise : norms, activations, gates, rotations, softmax, sums and the loss
    optimizer : the update of all weights, products of Muon among it
    """

    gemm: float = 0
    attention: float = 0
    head: float = 0
    elementwise: float = 0
    optimizer: float = 0

    def columns(self, steps: int) -> dict[str, float]:
        """Return the columns of `runs` for so many steps [FLOP]."""
        return {f"flops_{each.name}": steps * getattr(self, each.name) for each in fields(self)}


WORK_COLUMNS = tuple(Work().columns(0))


def products(layer: Layer, tokens: int, sequences: int, sequence_length: int, *, is_again: bool) -> tuple[int, int]:
    """Return the operations of one layer's products with matrices and of those of attention, all passes of a step.

    Parameters
    ----------
    is_again : whether backward computes the forward pass again, without its last product
    """
    gemm = 2 * tokens * layer.params
    attention = layer.forward_flops(tokens, sequences, sequence_length) - gemm
    again = gemm - 2 * tokens * layer.hidden * layer.width if is_again else 0
    return 3 * gemm + again, (4 if is_again else 3) * attention


def layer_elementwise(layer: Layer, tokens: int, scores: int, *, norm: str, is_again: bool) -> float:
    """Return the operations of one layer in a step that are done element by element.

    Parameters
    ----------
    scores : pairs of all heads and sequences
    norm : key of `NORMS`
    is_again : whether backward computes the forward pass again, without its last sum
    """
    turned = layer.attended + layer.keyed
    forward = backward = 0.0
    for count, passes in (
        (2 * tokens * layer.width, NORMS[norm]),
        (2 * tokens * layer.width, RESIDUAL),
        (tokens * layer.hidden, GATE if layer.is_gated else GELU),
        (tokens * turned * layer.is_rotary, ROTATION),
        (tokens * turned * layer.has_qk_norm, NORMS[norm]),
        (scores, SOFTMAX),
    ):
        forward += count * passes.forward
        backward += count * passes.backward
    again = forward - tokens * layer.width * RESIDUAL.forward if is_again else 0.0
    return forward + backward + again


def elementwise_beside(
    tokens: int, width: int, vocabulary: int, *, norm: str, has_logit_cap: bool, has_places: bool
) -> float:
    """Return the same of what is not in layers: the last norm, the loss, a cap of logits, learned positions."""
    return sum(
        count * sum(passes)
        for count, passes in (
            (tokens * width, NORMS[norm]),
            (tokens * vocabulary, CROSS_ENTROPY),
            (tokens * vocabulary * has_logit_cap, CAP),
            (tokens * width * has_places, PLACE),
        )
    )
