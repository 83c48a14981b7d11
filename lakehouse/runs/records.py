"""A run before it trains: its identity, its config and what is counted rather than measured.

The identity of a run is the hash of its family, its whole config and its seed. Submitting the same
config twice is therefore the same run, and a repetition is a new attempt of it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from isoflop.lakehouse.errors import RecordError

RUN_ID_LENGTH = 12  # base32 characters, 60 bits; DuckDB stores strings up to 12 bytes in place
STATUSES = ("queued", "running", "finished", "failed", "lost")


def _canonical(value: object) -> object:
    """Return `value` so that equal configs have equal JSON: 2 and 2.0 are one number."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            return repr(value)
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_canonical(item) for item in value]
    if hasattr(value, "item"):  # a NumPy or torch scalar
        return _canonical(value.item())
    raise RecordError(
        f"a config value of type {type(value).__name__} ({value!r}) cannot be stored; use numbers, text, lists or dicts"
    )


def canonical_json(value: object) -> str:
    """Return the one JSON text of a config: sorted keys, no spaces, whole floats as integers."""
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(text: str, length: int = RUN_ID_LENGTH) -> str:
    """Return `length` lowercase base32 characters of the SHA-256 of `text`."""
    raw = hashlib.sha256(text.encode()).digest()
    return base64.b32encode(raw).decode().lower()[:length]


def run_id_of(family: str, config: Mapping[str, object], seed: int) -> str:
    """Return the identity of a run: 12 characters, the same on every machine.

    Keys whose value is None count as absent, so a field added later with None as its default
    leaves old identities alone.
    """
    known = {key: value for key, value in config.items() if value is not None}
    return digest(canonical_json({"family": family, "config": known, "seed": seed}))


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What is known about a run before it trains.

    Parameters
    ----------
    family : name of the trainable family, or the name of somebody's own training code
    config : every setting that changes the result, without the seed; scalars become columns of `runs`
    extra : columns of `runs` that are not part of the run's identity (grid variables, imported columns)
    params, tokens, flops : counts [1]; memcpy_bytes : bytes moved by the whole run
    """

    family: str
    config: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0
    name: str | None = None
    source: str = "worker"
    tags: tuple[str, ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict)
    params: float | None = None
    params_non_embedding: float | None = None
    tokens: float | None = None
    steps: int | None = None
    flops: float | None = None
    memcpy_bytes: float | None = None
    given_id: str | None = None

    @cached_property
    def run_id(self) -> str:
        """The identity of the run; an imported run keeps the id of its file."""
        return self.given_id or run_id_of(self.family, self.config, self.seed)
