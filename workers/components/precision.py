"""Number formats of training: what activations and matrix products are kept in, and what weights are."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import ClassVar, Literal

from pydantic import Field

from isoflop.workers.components.component import Component, Scalar


class Precision(Component):
    """One format for each kind of number; `precision: bfloat16` alone is that of activations.

    Weights and optimizer state stay float32; a bfloat16 product is made by autocast from float32 weights.
    """

    short_field: ClassVar[str | None] = "activations"
    is_prefixed: ClassVar[bool] = True

    activations: Literal["float32", "bfloat16"] = Field(default="float32", description="of activations and products")
    weights: Literal["float32"] = Field(default="float32", description="of weights and optimizer state")

    def config(self, name: str) -> dict[str, Scalar]:
        """Return the formats; that of weights counts as absent while it is float32."""
        weights = None if self.weights == "float32" else self.weights
        return {**self.values(name), f"{name}_weights": weights}

    def autocast(self, device_type: str) -> AbstractContextManager[object]:
        """Return the context in which forward passes run on `cpu` or `cuda`."""
        if self.activations == self.weights:
            return contextlib.nullcontext()
        import torch

        return torch.autocast(device_type, dtype={"bfloat16": torch.bfloat16}[self.activations])
