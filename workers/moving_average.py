"""The mean of a model's weights over its updates, late ones counting more: a second model that is only evaluated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch


class MovingAverage:
    """Weights after each update, those of k updates ago counting `decay`^k.

    The mean begins with the first update: what counts is divided by its sum, so that few updates have a mean too.

    Parameters
    ----------
    weights : of the model, which go on changing
    decay : 0 to 1; 1 / (1 - decay) updates are remembered
    """

    def __init__(self, weights: Sequence[torch.Tensor], decay: float) -> None:
        self._weights, self._decay = list(weights), decay
        self.clear()

    def clear(self) -> None:
        """Forget all updates."""
        self._sums = [torch.zeros_like(weight) for weight in self._weights]
        self._counted = 0.0  # what the updates so far count together, 1 - decay^updates

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights as they are now."""
        torch._foreach_lerp_(self._sums, [weight.detach() for weight in self._weights], 1 - self._decay)
        self._counted = self._decay * self._counted + (1 - self._decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model have the mean for its weights inside the block."""
        with torch.no_grad():
            before = [weight.detach().clone() for weight in self._weights]
            for weight, summed in zip(self._weights, self._sums, strict=True):
                weight.copy_(summed / self._counted)
        try:
            yield
        finally:
            with torch.no_grad():
                for weight, old in zip(self._weights, before, strict=True):
                    weight.copy_(old)

    def state(self) -> dict[str, Any]:
        """Return what the next update depends on."""
        return {"sums": self._sums, "counted": self._counted}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        for summed, saved in zip(self._sums, state["sums"], strict=True):
            summed.copy_(saved)
        self._counted = float(state["counted"])
