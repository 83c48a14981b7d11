"""How initial weights scale with the shape: the object named by a config's `parametrization`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from isoflop.workers.families.decoder import Block, Decoder

EMBEDDING_SCALE = 0.02  # standard deviation of token vectors and, through an untied head, of small first logits


@dataclass(frozen=True)
class Parametrization:
    """Initial scales of a decoder; one learning rate for every matrix.

    Matrices are N(0, 1/inputs), so that a layer's outputs are as large as its inputs. The two matrices
    that write into the residual stream are smaller by sqrt(2*depth), so that the stream does not grow
    with depth. Token vectors and head are N(0, 0.02^2), so that the first loss is that of a uniform guess.

    Source: Radford et al. 2019 (GPT-2), section 2.3, for the depth factor.
    """

    name: str

    def initialise(self, model: Decoder, generator: torch.Generator) -> None:
        """Draw every matrix of `model` from `generator`, in the order of its blocks."""
        from torch import nn

        into_residual = 1 / math.sqrt(2 * len(model.blocks))
        nn.init.normal_(model.embedding.weight, std=EMBEDDING_SCALE, generator=generator)
        for block in cast("Iterable[Block]", model.blocks):
            matrices: tuple[tuple[nn.Linear, float], ...] = (
                (block.queries_keys_values, 1.0),
                (block.attention_out, into_residual),
                (block.feed_forward_in, 1.0),
                (block.feed_forward_out, into_residual),
            )
            for matrix, factor in matrices:
                nn.init.normal_(matrix.weight, std=factor / math.sqrt(matrix.in_features), generator=generator)
        if model.head.weight is not model.embedding.weight:
            nn.init.normal_(model.head.weight, std=EMBEDDING_SCALE, generator=generator)


STANDARD = Parametrization("standard")
PARAMETRIZATIONS = {scheme.name: scheme for scheme in (STANDARD,)}
