"""Optimizers that torch does not have: Lion, and several that share the weights of one model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch


class LionSteps(torch.optim.Optimizer):
    """Steps by the sign of a moving mean of gradients, with decay apart from them.

    update = sign(beta1 * momentum + (1 - beta1) * gradient); weights -= rate * (update + weight_decay * weights);
    momentum = beta2 * momentum + (1 - beta2) * gradient.

    Source: Chen et al. 2023 (arXiv:2302.06675), algorithm 2.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], *, lr: float, betas: tuple[float, float]) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient."""
        for group in self.param_groups:
            rate, (beta1, beta2) = group["lr"], group["betas"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"]
                weight.mul_(1 - rate * group["weight_decay"])
                weight.add_(momentum.lerp(weight.grad, 1 - beta1).sign_(), alpha=-rate)
                momentum.lerp_(weight.grad, 1 - beta2)


class Together(torch.optim.Optimizer):
    """Several optimizers of different weights as one: their groups in a row, their memory in one place."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self._parts = tuple(parts)
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Let every part take its step."""
        for part in self._parts:
            part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state, for all parts."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """Let each part see its groups among those of all, and the memory of all."""
        start = 0
        for part in self._parts:
            end = start + len(part.param_groups)
            part.param_groups, part.state = self.param_groups[start:end], self.state
            start = end
