"""AdamW as the recipe of a gradient family describes it, and its learning rate over the steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from isoflop.workers.families.family import GradientFamily

EPSILON = 1e-8  # added to the root of the second moment


def learning_rate_at(step: int, family: GradientFamily) -> float:
    """Return the rate of a step: a linear rise, then half a cosine down to the final fraction.

    Parameters
    ----------
    step : 0 to family.steps - 1; the last step uses the final fraction of the peak exactly
    """
    num_warmup = round(family.warmup_fraction * family.steps)
    if step < num_warmup:
        return family.learning_rate * (step + 1) / num_warmup
    progress = (step - num_warmup) / max(1, family.steps - 1 - num_warmup)
    floor = family.final_learning_rate_fraction
    return family.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def make_optimizer(family: GradientFamily, model: torch.nn.Module) -> torch.optim.AdamW:
    """Return AdamW over the model's weights, in one kernel a step; decay acts on matrices only.

    Source: Loshchilov and Hutter 2019 (arXiv:1711.05101).
    """
    import torch

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": family.weight_decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=family.learning_rate, betas=(family.beta1, family.beta2), eps=EPSILON, fused=True
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use `rate` from the next update on."""
    for group in optimizer.param_groups:
        group["lr"] = rate
