"""The number format of activations and matrix products; weights and optimiser state stay float32."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass


@dataclass(frozen=True)
class Precision:
    """A format by its torch name; `is_cast` formats are produced by autocast from float32 weights."""

    name: str
    is_cast: bool

    def autocast(self, device_type: str) -> AbstractContextManager[object]:
        """Return the context in which forward passes run on `cpu` or `cuda`."""
        if not self.is_cast:
            return contextlib.nullcontext()
        import torch

        return torch.autocast(device_type, dtype=getattr(torch, self.name))


PRECISIONS = {
    precision.name: precision
    for precision in (Precision("float32", is_cast=False), Precision("bfloat16", is_cast=True))
}
