"""TensorBoard event files: scalars, hyperparameters and how a session ended.

A file is a row of TFRecords, each an `Event` message. Scalars come in millions and look alike, so one
event of a kind is taken apart field by field and every event with the same bytes around its time,
step and value is read with it in one array operation.

Source: tensorflow/core/lib/io/record_writer.h (length, its CRC, data, its CRC); event.proto,
summary.proto, tensor.proto and plugins/hparams/plugin_data.proto of tensorboard.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.exchange.binary.crc32c import crc32c, masked
from isoflop.lakehouse.exchange.binary.protobuf import BYTES, FIXED32, Field, double, fields, signed, text, varint

FRAME = 12  # bytes before a record's data: its length and the length's checksum
CHECKED_UP_TO = 1 << 16  # bytes; longer records hold images and graphs, which are not read
ALIKE_UP_TO = 1 << 10  # bytes; longer events are taken apart one by one
MAX_KINDS = 512  # kinds of event of one length read together; the rest is taken apart one by one
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}  # DataType of tensor.proto
INTEGERS = (7, 10)  # int_val, int64_val
ENDS = {1: "finished", 2: "failed", 3: "running"}  # Status of hparams' api.proto

Bytes = NDArray[np.uint8]
Place = tuple[str, int, str]  # tag, offset of the value in the event, NumPy type


@dataclass
class Events:
    """What an event file says.

    `scalars` maps a tag to parts of (wall time [s since 1970], step, value) columns; `is_one` is False of a file
    that has something in it and no record, which is none that TensorBoard wrote.
    """

    scalars: dict[str, list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]] = field(default_factory=dict)
    hparams: dict[str, Any] = field(default_factory=dict)
    status: str | None = None
    is_one: bool = True
    notes: list[str] = field(default_factory=list)

    def add(self, tag: str, walls: NDArray[Any], steps: NDArray[Any], values: NDArray[Any]) -> None:
        """Add a part of a tag's points."""
        self.scalars.setdefault(tag, []).append((walls, steps, values))

    def columns(self, tag: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return all points of a tag, in the order of their times."""
        walls, steps, values = (np.concatenate(column) for column in zip(*self.scalars[tag], strict=True))
        order = np.argsort(walls, kind="stable")
        return walls[order], steps[order], values[order]


@dataclass(frozen=True)
class Layout:
    """Where time, step and values stand in an event whose other bytes are always the same."""

    wall: int
    step: tuple[int, int]
    places: tuple[Place, ...]

    def fixed(self, length: int) -> NDArray[np.intp]:
        """Return the positions of the bytes that must agree."""
        varies = np.zeros(length, dtype=bool)
        for start, end in self.spans():
            varies[start:end] = True
        return np.flatnonzero(~varies)

    def spans(self) -> list[tuple[int, int]]:
        """Return the byte ranges of time, step and values."""
        widths = [(start, start + np.dtype(kind).itemsize) for _, start, kind in self.places]
        return [(self.wall, self.wall + 8), self.step, *widths]


def read_events(path: Path) -> Events:
    """Read an event file; a damaged or cut-off file is read up to the damage, with a note that says so."""
    raw = path.read_bytes()
    data = np.frombuffer(raw, dtype=np.uint8)
    found = Events()
    starts, lengths = _records(raw, data, path, found)
    found.is_one = len(starts) > 0 or not raw
    for length in np.unique(lengths):
        rows = starts[lengths == length]
        if length <= ALIKE_UP_TO:
            rows = _read_alike(raw, data, rows, int(length), found)
        for start in rows.tolist():
            _read_one(raw, start, start + int(length), found)
    return found


def _records(raw: bytes, data: Bytes, path: Path, found: Events) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return where the whole and undamaged records begin and how long they are."""
    begins, sizes, at, end = [], [], 0, len(raw)
    unpack = struct.Struct("<Q").unpack_from
    while at + FRAME <= end:
        (size,) = unpack(raw, at)
        if at + FRAME + size + 4 > end:
            break
        begins.append(at)
        sizes.append(size)
        at += FRAME + size + 4
    starts, lengths = np.array(begins, dtype=np.int64), np.array(sizes, dtype=np.int64)
    headers = masked(crc32c(data, starts, np.full(len(starts), 8)))
    wrong = np.flatnonzero(headers != _words(data, starts + 8))
    if len(wrong):
        at = int(starts[wrong[0]])
        starts, lengths = starts[: wrong[0]], lengths[: wrong[0]]
    if at < end:
        found.notes.append(f"{path.name}: cut off or damaged at byte {at} of {end}, read up to there")
    short = lengths <= CHECKED_UP_TO
    ok = np.ones(len(starts), dtype=bool)
    sums = masked(crc32c(data, starts[short] + FRAME, lengths[short]))
    ok[short] = sums == _words(data, starts[short] + FRAME + lengths[short])
    if not ok.all():
        found.notes.append(f"{path.name}: damaged records left out, whose checksum is wrong: {int((~ok).sum())}")
    return starts[ok] + FRAME, lengths[ok]


def _words(data: Bytes, at: NDArray[Any]) -> NDArray[np.uint32]:
    if not len(at):
        return np.empty(0, dtype=np.uint32)
    return np.ascontiguousarray(data[at[:, None] + np.arange(4)]).view("<u4")[:, 0]


def _read_alike(raw: bytes, data: Bytes, rows: NDArray[Any], length: int, found: Events) -> NDArray[Any]:
    """Read the events of one length that are scalars; return where the others begin."""
    events = data[rows[:, None] + np.arange(length)]  # (R, length)
    others = []
    for _ in range(MAX_KINDS):
        if not len(rows):
            break
        layout = _layout(raw, int(rows[0]), int(rows[0]) + length)
        if layout is None:
            others.append(rows[:1])
            rows, events = rows[1:], events[1:]
            continue
        fixed = layout.fixed(length)
        alike = (events[:, fixed] == events[0, fixed]).all(axis=1)
        first, last = layout.step
        if last > first:
            alike &= ((events[:, first:last] ^ events[0, first:last]) < 0x80).all(axis=1)
        same = events[alike]
        walls, steps = _column(same, layout.wall, "<f8"), _varints(same[:, first:last])
        for tag, at, kind in layout.places:
            found.add(tag, walls, steps, _column(same, at, kind).astype(np.float64))
        rows, events = rows[~alike], events[~alike]
    return np.concatenate([*others, rows])


def _column(events: Bytes, at: int, kind: str) -> NDArray[Any]:
    width = np.dtype(kind).itemsize
    return np.ascontiguousarray(events[:, at : at + width]).view(kind)[:, 0]


def _varints(columns: Bytes) -> NDArray[np.int64]:
    """Return the numbers whose 7-bit groups are the columns; no column is 0."""
    total = np.zeros(len(columns), dtype=np.uint64)
    for position in range(columns.shape[1]):
        total |= (columns[:, position].astype(np.uint64) & np.uint64(0x7F)) << np.uint64(7 * position)
    return total.view(np.int64)


def _layout(raw: bytes, start: int, end: int) -> Layout | None:
    """Return the layout of an event that holds scalars only, offsets from its start; None for any other event."""
    wall: int | None = None
    step = (0, 0)
    places: list[Place] = []
    try:
        for part in fields(raw, start, end):
            if part.number == 1:
                wall = part.start - start
            elif part.number == 2:
                step = (part.start - start, part.end - start)
            elif part.number == 5:
                for value in fields(raw, part.start, part.end):
                    place = _place(raw, value)
                    if place is None:
                        return None
                    places.append((place[0], place[1] - start, place[2]))
            else:
                return None
    except (ValueError, IndexError):
        return None
    return Layout(wall, step, tuple(places)) if wall is not None and places else None


def _place(raw: bytes, value: Field) -> Place | None:
    """Return tag, position and type of a summary value that is one number of fixed width."""
    parts = {part.number: part for part in fields(raw, value.start, value.end)}
    if 1 not in parts:
        return None
    if 2 in parts and parts[2].wire == FIXED32:
        return text(raw, parts[1]), parts[2].start, "<f4"
    if 8 not in parts:
        return None
    tensor = {part.number: part for part in fields(raw, parts[8].start, parts[8].end)}
    kind = DTYPES.get(tensor[1].value) if 1 in tensor else None
    content = next((tensor[number] for number in (4, 5, 6) if number in tensor), None)
    if kind is None or content is None or content.end - content.start != np.dtype(kind).itemsize:
        return None
    return text(raw, parts[1]), content.start, kind


def _read_one(raw: bytes, start: int, end: int, found: Events) -> None:
    """Take one event apart, whatever it holds."""
    try:
        parts = list(fields(raw, start, end))
        wall = next((double(raw, part) for part in parts if part.number == 1), 0.0)
        step = next((signed(part.value) for part in parts if part.number == 2), 0)
        for summary in (part for part in parts if part.number == 5):
            for value in fields(raw, summary.start, summary.end):
                _read_value(raw, value, wall, step, found)
    except (ValueError, IndexError):
        found.notes.append(f"an event at byte {start} is not one that TensorBoard writes; left out")


def _read_value(raw: bytes, value: Field, wall: float, step: int, found: Events) -> None:
    place = _place(raw, value)
    if place is not None:
        tag, at, kind = place
        number = float(np.frombuffer(raw, dtype=kind, count=1, offset=at)[0])
        found.add(tag, np.array([wall]), np.array([step]), np.array([number]))
        return
    parts = {part.number: part for part in fields(raw, value.start, value.end)}
    if 9 in parts:
        _read_plugin(raw, parts[9], found)
    if 8 in parts and 1 in parts:
        for part in fields(raw, parts[8].start, parts[8].end):
            if part.number in INTEGERS:
                number = signed(part.value if part.wire != BYTES else varint(raw, part.start)[0])
                found.add(text(raw, parts[1]), np.array([wall]), np.array([step]), np.array([float(number)]))


def _read_plugin(raw: bytes, metadata: Field, found: Events) -> None:
    """Read what the hparams plug-in keeps in a summary's metadata."""
    for plugin in fields(raw, metadata.start, metadata.end):
        if plugin.number != 1:
            continue
        parts = {part.number: part for part in fields(raw, plugin.start, plugin.end)}
        if 1 not in parts or 2 not in parts or text(raw, parts[1]) != "hparams":
            continue
        for part in fields(raw, parts[2].start, parts[2].end):
            if part.number == 3:
                found.hparams |= dict(_hparams(raw, part))
            elif part.number == 4:
                ended = next((field.value for field in fields(raw, part.start, part.end) if field.number == 1), 0)
                found.status = ENDS.get(ended)


def _hparams(raw: bytes, session: Field) -> Iterator[tuple[str, Any]]:
    for entry in fields(raw, session.start, session.end):
        if entry.number != 1:
            continue
        pair = {part.number: part for part in fields(raw, entry.start, entry.end)}
        if 1 not in pair or 2 not in pair:
            continue
        for value in fields(raw, pair[2].start, pair[2].end):
            match value.number:
                case 2:
                    number = double(raw, value)
                    yield text(raw, pair[1]), int(number) if number.is_integer() and abs(number) < 2**53 else number
                case 3:
                    yield text(raw, pair[1]), text(raw, value)
                case 4:
                    yield text(raw, pair[1]), bool(value.value)
