"""Protocol Buffers as they stand on disk: numbered fields, found without a schema.

Source: "Encoding", protobuf.dev/programming-guides/encoding: a field is a varint `number << 3 | wire`,
then a varint (wire 0), 8 bytes (1), a length and that many bytes (2), or 4 bytes (5).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MASK = 2**64 - 1
LONGEST = 70  # bits in the ten bytes that a varint takes at most


class Field(NamedTuple):
    """One field: its number and wire type, where its content lies, and its value when it is a varint."""

    number: int
    wire: int
    start: int
    end: int
    value: int


def varint(buffer: bytes, at: int) -> tuple[int, int]:
    """Return the number at a position and the position after it.

    Raises
    ------
    IndexError : if the buffer ends within the number
    ValueError : if it takes more bytes than 64 bits do
    """
    value = shift = 0
    while shift < LONGEST:
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & MASK, at
        shift += 7
    raise ValueError(f"the number before byte {at} is longer than 64 bits")


def fields(buffer: bytes, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """Yield the fields of the message in `buffer[start:end]`.

    Raises
    ------
    ValueError, IndexError : if the bytes are not a message
    """
    end = len(buffer) if end is None else end
    while start < end:
        key, start = varint(buffer, start)
        number, wire = key >> 3, key & 7
        value = 0
        if wire == VARINT:
            value, stop = varint(buffer, start)
        elif wire == FIXED64:
            stop = start + 8
        elif wire == FIXED32:
            stop = start + 4
        elif wire == BYTES:
            length, start = varint(buffer, start)
            stop = start + length
        else:
            raise ValueError(f"wire type {wire} at byte {start} is none that messages have")
        if stop > end:
            raise ValueError(f"field {number} at byte {start} reaches beyond its message")
        yield Field(number, wire, start, stop, value)
        start = stop


def text(buffer: bytes, field: Field) -> str:
    """Return a field's bytes as UTF-8 text."""
    return buffer[field.start : field.end].decode("utf-8", "replace")


def double(buffer: bytes, field: Field) -> float:
    """Return a field's 8 bytes as a float."""
    (value,) = struct.unpack_from("<d", buffer, field.start)
    return float(value)


def signed(value: int) -> int:
    """Return a varint as a signed 64-bit integer."""
    return value - (1 << 64) if value >= 1 << 63 else value
