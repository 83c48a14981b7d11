"""The `corpus` key of a sweep file: any of the kinds, told apart by `kind`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from isoflop.workers.corpora.bytes import BytesSpec
from isoflop.workers.corpora.markov import MarkovSpec
from isoflop.workers.corpora.shards import ShardsSpec


def _spelled_out(value: object) -> object:
    """A path alone, or a mapping without a kind, is a folder of bytes."""
    if isinstance(value, str):
        return {"kind": "bytes", "source": value}
    if isinstance(value, dict) and "kind" not in value:
        return {"kind": "bytes", **value}
    return value


AnyCorpus = Annotated[
    Annotated[BytesSpec | MarkovSpec | ShardsSpec, Field(discriminator="kind")], BeforeValidator(_spelled_out)
]
