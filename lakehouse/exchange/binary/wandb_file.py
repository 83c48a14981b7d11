"""The `.wandb` file that Weights & Biases keeps of a run: its records, settings, curves and end.

The file is a LevelDB log: blocks of 32 KiB, in them pieces of records with a checksum, each record a
Protocol Buffers message. With wandb 0.31 it is all that an offline run leaves.

Source: log_format.md of LevelDB (with CRC-32 in place of CRC-32C and a seven-byte file header) and
wandb_internal.proto of wandb 0.31.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from isoflop.lakehouse.exchange.binary.protobuf import Field, fields, signed, text, varint
from isoflop.lakehouse.exchange.guarded import json_of, step_of

MARK = b":W&B"
HEADER = 7  # bytes: the mark, a magic number, a version
BLOCK = 32 * 1024  # bytes
PIECE = struct.Struct("<IHB")  # checksum, length, kind
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
VALUE_JSON = b"\x82\x01"  # the key of field 16; JSON text cannot hold the control character \x01
ITEM = 1 << 3 | 2  # the key of field 1, with a length
CONFIG, HISTORY, SUMMARY, RUN, EXIT = 5, 2, 3, 17, 18  # fields of Record
STEP, SECONDS = "_step", "_runtime"
OWN = ("_timestamp", "_runtime", "_step", "_wandb")


@dataclass
class Recorded:
    """What a run's file says. `curves` maps a metric to its steps, values and seconds since the start.

    Parameters
    ----------
    place : real path of the folder that the run's folder lies in, or of the one file that is the run
    file : name of an exported history, which says no more of who the run is
    is_guessed : the id is a part of a folder's name that may mean anything
    """

    place: str = ""
    file: str = ""
    is_guessed: bool = False
    run_id: str = ""
    project: str = ""
    name: str = ""
    group: str = ""
    host: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, tuple[list[int], list[float], list[float]]] = field(default_factory=dict)
    started: float | None = None
    exit_code: int | None = None
    state: str | None = None
    reason: str | None = None
    notes: list[str] = field(default_factory=list)

    def add(self, step: int, seconds: float, values: dict[str, float]) -> None:
        """Add the numbers of one step."""
        for metric, value in values.items():
            curve = self.curves.get(metric)
            if curve is None:
                curve = self.curves[metric] = ([], [], [])
            curve[0].append(step)
            curve[1].append(value)
            curve[2].append(seconds)


def joined(before: Recorded, after: Recorded) -> Recorded:
    """Return a run that was resumed as one: where the later file starts again, it replaces the earlier one."""
    curves = dict(before.curves)
    for metric, (steps, values, seconds) in after.curves.items():
        old = curves.get(metric, ([], [], []))
        kept = [place for place, step in enumerate(old[0]) if step < min(steps)]
        curves[metric] = (
            [old[0][place] for place in kept] + steps,
            [old[1][place] for place in kept] + values,
            [old[2][place] for place in kept] + seconds,
        )
    return replace(
        after,
        config=before.config | after.config,
        summary=before.summary | after.summary,
        curves=curves,
        started=before.started if before.started is not None else after.started,
        notes=before.notes + after.notes,
    )


def read_wandb(path: Path) -> Recorded:
    """Read a run's file; one cut off by a crash is read up to there, with a note that says so."""
    raw = path.read_bytes()
    found = Recorded()
    names: dict[bytes, str] = {}
    config: dict[str, bytes] = {}
    summary: dict[str, bytes] = {}
    for record in _records(raw, path, found):
        try:
            for part in fields(record):
                if part.number == HISTORY:
                    _read_history(record, part, names, found)
                elif part.number == SUMMARY:
                    summary |= _items(record, part, names)
                elif part.number == CONFIG:
                    config |= _items(record, part, names)
                elif part.number == RUN:
                    config |= _read_run(record, part, names, found)
                elif part.number == EXIT:
                    codes = (field.value for field in fields(record, part.start, part.end) if field.number == 1)
                    found.exit_code = next(codes, 0)
        except (ValueError, IndexError):
            found.notes.append(f"{path.name}: a record of {len(record)} bytes is not one that wandb writes; left out")
    if not found.run_id:
        found.notes.append(
            f"{path.name}: no records; wandb had written none when its process ended, so there is no run"
        )
    found.config, found.summary = _parsed(config, found.notes), _parsed(summary, found.notes)
    return found


def _records(raw: bytes, path: Path, found: Recorded) -> Iterator[bytes]:
    """Yield the whole records; a piece whose checksum is wrong ends the reading."""
    at, end, parts = HEADER, len(raw), list[bytes]()
    while at + PIECE.size <= end:
        room = BLOCK - at % BLOCK
        if room < PIECE.size:
            at += room
            continue
        checksum, length, kind = PIECE.unpack_from(raw, at)
        content = raw[at + PIECE.size : at + PIECE.size + length]
        if len(content) < length or zlib.crc32(content, zlib.crc32(bytes([kind]))) != checksum:
            break
        at += PIECE.size + length
        parts = [content] if kind in (WHOLE, FIRST) else [*parts, content]
        if kind in (WHOLE, LAST):
            yield b"".join(parts)
            parts = []
    if at < end or parts:
        found.notes.append(f"{path.name}: cut off or damaged at byte {at} of {end}, read up to there")


def _read_history(record: bytes, history: Field, names: dict[bytes, str], found: Recorded) -> None:
    """Read one step: its numbers, `_step` and `_runtime` among them."""
    numbers: dict[str, float] = {}
    for name, told in _items(record, history, names).items():
        try:
            numbers[name] = float(told)
        except ValueError:
            continue  # text, media, null: not a point of a curve
    step = numbers.get(STEP)
    if step is None:  # an older file says it in a field of its own
        steps = (part for part in fields(record, history.start, history.end) if part.number == 2)
        step = next((signed(field.value) for part in steps for field in fields(record, part.start, part.end)), 0)
    seconds = numbers.get(SECONDS, float("nan"))
    whole = step_of(step)
    if whole is not None:
        found.add(whole, seconds, {name: value for name, value in numbers.items() if name not in OWN})


def _items(record: bytes, message: Field, names: dict[bytes, str]) -> dict[str, bytes]:
    """Return key -> JSON text of a history, summary or config message; `names` remembers keys already decoded."""
    found: dict[str, bytes] = {}
    at, end = message.start, message.end
    while at < end and record[at] == ITEM:
        length = record[at + 1]
        at += 2
        if length >= 0x80:
            length, at = varint(record, at - 1)
        split = record.rfind(VALUE_JSON, at, at + length)
        if split >= 0:
            key = record[at:split]
            name = names.get(key)
            if name is None:
                name = names[key] = _name(key)
            start = split + 3 if record[split + 2] < 0x80 else varint(record, split + 2)[1]
            found[name] = record[start : at + length]
        at += length
    return found


def _parsed(items: dict[str, bytes], notes: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, told in items.items():
        if not name.startswith("_wandb"):
            try:
                found[name] = json_of(told)
            except ValueError as error:
                notes.append(f"{name}: left out, {error}")
    return found


def _name(key: bytes) -> str:
    """Return an item's key; nested keys are joined by dots, as wandb shows them."""
    parts = list(fields(key))
    nested = [text(key, part) for part in parts if part.number == 2]
    return ".".join(nested) or next((text(key, part) for part in parts if part.number == 1), "")


def _read_run(record: bytes, run: Field, names: dict[bytes, str], found: Recorded) -> dict[str, bytes]:
    """Read who the run is; returns its settings."""
    words = {1: "run_id", 3: "project", 6: "group", 8: "name", 13: "host"}
    config: dict[str, bytes] = {}
    for part in fields(record, run.start, run.end):
        if part.number in words:
            setattr(found, words[part.number], text(record, part))
        elif part.number == 4:
            config = _items(record, part, names)
        elif part.number == 10:
            found.tags.append(text(record, part))
        elif part.number == 17:
            told = {field.number: field.value for field in fields(record, part.start, part.end)}
            found.started = told.get(1, 0) + told.get(2, 0) / 1e9
    return config
