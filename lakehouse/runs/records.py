"""A run before it trains: its identity, its config and what is counted rather than measured.

The identity of a run is the hash of its family, its whole config and its seed. Submitting the same
config twice is therefore the same run, and a repetition is a new attempt of it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any

from isoflop.lakehouse.errors import RecordError
from isoflop.lakehouse.models.counts import COUNTS

LARGEST_NUMBER = 10**308  # the largest that a DOUBLE column takes, rounded down
RUN_ID_LENGTH = 12  # base32 characters, 60 bits; DuckDB stores strings up to 12 bytes in place
STATUSES = ("queued", "running", "finished", "failed", "lost")
WHOLE = range(-(2**63), 2**63)  # what a BIGINT holds


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
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "tolist"):  # a NumPy or torch scalar, or an array of them
        return _canonical(value.tolist())
    if hasattr(value, "item"):
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


LARGEST_WHOLE = 2**63 - 1  # number that a BIGINT holds


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What is known about a run before it trains.

    Parameters
    ----------
    family : name of the trainable family, or the name of a user's own training code
    config : every setting that changes the result, without the seed; scalars become columns of `runs`
    extra : columns of `runs` that are not part of the run's identity (grid variables, imported columns)
    config_only : of these, what `config` keeps and `runs` needs no column for, such as what a file calls our loss
    params, tokens, flops : counts [1]; memcpy_bytes : bytes moved by the whole run
    """

    family: str
    config: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0
    name: str | None = None
    source: str = "worker"
    tags: tuple[str, ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict)
    config_only: frozenset[str] = frozenset()
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


def record_fields(record: RunRecord) -> dict[str, Any]:
    """Return a run's fields as JSON has them, without those that are left open.

    `record_from_fields` reads them. NumPy and torch scalars become numbers, and what JSON cannot say becomes text.

    Raises
    ------
    RecordError : if the family is no text, a setting has a name or a number that no column takes, or the seed or a
        count is no number

    Example
    -------
    >>> record_fields(RunRecord(family="mine", config={"width": 64}, params=1e6))
    {'family': 'mine', 'config': {'width': 64}, 'seed': 0, 'source': 'worker', 'params': 1000000.0}
    """
    if not isinstance(record.family, str) or not _is_name(record.family):
        raise RecordError(f"the family of a run is {record.family!r}; expected a name, for example 'mine'")
    for settings in (record.config, record.extra):
        _check_settings(settings)
    fields = {
        "family": record.family, "config": _plain(record.config), "seed": _whole("seed", record.seed),
        "name": record.name, "source": record.source, "tags": [str(tag) for tag in record.tags],
        "extra": _plain(record.extra), "given_id": record.given_id,
        **{name: _count(name, getattr(record, name)) for name in COUNTS},
    }  # fmt: skip
    return {
        name: value
        for name, value in fields.items()
        if value is not None and (name not in ("tags", "extra") or len(value))
    }


def _check_settings(value: object, name: str = "") -> None:
    match value:
        case Mapping():
            for key, item in value.items():
                if not _is_name(str(key)) and key != "":
                    raise RecordError(f"a setting is called {str(key)!r}; expected a name without control characters")
                _check_settings(item, str(key))
        case str():
            return
        case Sequence():
            for item in value:
                _check_settings(item, name)
        case int() if abs(value) > LARGEST_NUMBER:
            raise RecordError(f"'{name}' is beyond {float(LARGEST_NUMBER):.0e}, the largest number that is stored")


def _is_name(text: str) -> bool:
    return bool(text) and "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def record_from_fields(fields: Any, run_id: str) -> RunRecord:
    """Return the run `run_id` from what `record_fields` says of it.

    Raises
    ------
    RecordError : if a field is not what a run has
    """
    if not isinstance(fields, Mapping):
        raise RecordError(f"what is said of run {run_id} is {fields!r}; expected its fields")
    for name, kind, expected in (
        ("family", str, "text"), ("config", Mapping, "settings by name"), ("extra", Mapping, "columns by name"),
        ("name", str, "text"), ("source", str, "text"), ("tags", list, "a list of words"),
    ):  # fmt: skip
        if fields.get(name) is not None and not isinstance(fields[name], kind):
            raise RecordError(f"{name} of run {run_id} is {fields[name]!r}; expected {expected}")
    return RunRecord(
        family=fields.get("family") or "",
        config=fields.get("config") or {},
        seed=_whole("seed", fields.get("seed") or 0),
        name=fields.get("name"),
        source=fields.get("source") or "worker",
        tags=tuple(map(str, fields.get("tags") or ())),
        extra=fields.get("extra") or {},
        given_id=run_id,
        **{name: _count(name, fields.get(name)) for name in COUNTS},
    )


def _whole(name: str, value: object) -> int:
    """Return a whole number that a column takes."""
    plain = _plain(value)
    if isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    if not isinstance(plain, int) or plain not in WHOLE:
        raise RecordError(f"{name} is {value!r}; expected a whole number below 2^63")
    return plain


def _count(name: str, value: object) -> Any:
    """Return a count as its column takes it, None for one that is left open."""
    if value is None:
        return None
    if name == "steps":
        return _whole(name, value)
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        raise RecordError(f"{name} is {value!r}; expected a number")
    try:
        return float(plain)
    except OverflowError as error:
        raise RecordError(f"{name} is {value!r}; expected a number below 1.8e308") from error


def _plain(value: object) -> Any:
    """Return what JSON has for a value: scalars of other libraries as numbers, anything else as text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # lone surrogates cannot be stored
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
        return [_plain(item) for item in value]
    for convert in ("item", "tolist"):
        with contextlib.suppress(Exception):  # an array has no single item; others may raise anything
            return _plain(getattr(value, convert)())
    return str(value)
