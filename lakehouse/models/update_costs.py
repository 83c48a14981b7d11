"""What an optimizer's step costs: elements moved, numbers kept, and the operations of those that multiply matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Elements moved a parameter by one optimizer step, gradients not zeroed but dropped.
OPTIMIZER_TRAFFIC = {"adamw": 7, "adamw_unfused": 16, "momentum": 5, "sgd": 3, "lion": 13}
# Numbers kept a parameter while it is trained: weight, gradient and the optimizer's moments.
KEPT_PER_PARAM = {"adamw": 4, "adamw_unfused": 4, "momentum": 3, "sgd": 2, "lion": 3}
MUON_STEPS = 5  # of Newton and Schulz, by which Muon makes a matrix orthogonal
MUON_MOVED = 12  # elements a parameter around them: momentum 3, look ahead 3, norm 3, decay and update 3
EMA_MOVED = 3  # elements a parameter: weight and mean read, mean written
MUON_KEPT = 3  # weight, gradient, momentum


@dataclass(frozen=True)
class Update:
    """Costs of one step of an optimizer over all weights: elements moved, numbers kept, operations of products."""

    moved: float
    kept: float
    flops: float = 0


def optimizer_costs(
    optimizer: str, matrices: Sequence[tuple[int, int]], depth: int, params: int, *, has_ema: bool = False
) -> Update:
    """Return what a step of an optimizer costs.

    Parameters
    ----------
    optimizer : key of `OPTIMIZER_TRAFFIC`, or 'muon', which has AdamW for all but the matrices of layers
    matrices : inputs and outputs of those of one layer
    depth, params : layers, and all weights
    has_ema : whether a mean of the weights is kept

    Raises
    ------
    KeyError : for an unknown optimizer

    Example
    -------
    >>> optimizer_costs("muon", [(2, 3)], 1, 10)
    Update(moved=370, kept=34, flops=320)
    """
    mean = params if has_ema else 0
    if optimizer != "muon":
        moved, kept = OPTIMIZER_TRAFFIC[optimizer] * params, KEPT_PER_PARAM[optimizer] * params
        return Update(moved + EMA_MOVED * mean, kept + mean)
    flops = moved = orthogonal = 0
    for inner, outer in matrices:
        short, long = min(inner, outer), max(inner, outer)
        orthogonal += depth * inner * outer
        # A = X X', B = b A + c A A, X = a X + B X: two products with X, one of A with itself.
        flops += depth * MUON_STEPS * (4 * short * short * long + 2 * short**3)
        moved += depth * MUON_STEPS * (5 * short * long + 6 * short**2)
    others = params - orthogonal
    return Update(
        MUON_MOVED * orthogonal + moved + OPTIMIZER_TRAFFIC["adamw"] * others + EMA_MOVED * mean,
        MUON_KEPT * orthogonal + KEPT_PER_PARAM["adamw"] * others + mean,
        flops,
    )
