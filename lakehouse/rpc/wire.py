"""What a client and the keeper of a lake say to one another, and how it travels.

A message is a header in JSON and, behind it, the Arrow tables it names, each as an IPC stream. The frames are those of
`multiprocessing.connection` over a Unix socket. While the keeper works on an answer it sends an empty frame every
second, so a client that hears nothing for long knows that no one works.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Channel
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from isoflop.lakehouse.backends.backend import Parameters, Statement

HEARTBEAT = 1.0  # seconds between two signs of life of a keeper that works on an answer
SILENCE = 20.0  # seconds without a sign of life after which a keeper counts as stopped
LONGEST_GREETING = 256  # bytes that are read of a caller that has not said the token yet


@dataclass(frozen=True)
class Request:
    """What a client asks of the keeper.

    Parameters
    ----------
    kind : `hello`: how the lake is; `trouble`: what it suffers from; `query` one text, `write` several statements in
        one transaction, `drain`, `compact`, `snapshot`; `begin` a session, which lasts as long as the connection it
        came by; in it `query`, `write`, `begin_statement` and `commit_statement` or `give_up_statement`, and `end`;
        `interrupt` the request of another name; `leave`: nothing more will come
    statements : the SQL with its parameters
    token : names a write, so that one whose answer was lost can be sent again
    to : the file of a snapshot
    in_session : whether a query or a write belongs to the connection's session
    name : of this request, or of the one to interrupt
    is_read_only : whether the keeper has to refuse changes
    folder : in which the client works, and the files that statements name lie
    """

    kind: str
    statements: Sequence[Statement] = ()
    token: str | None = None
    to: str | None = None
    in_session: bool = False
    name: str | None = None
    is_read_only: bool = False
    folder: str | None = None

    def fields(self) -> dict[str, Any]:
        """Return what is sent."""
        return {key: getattr(self, key) for key in self.__dataclass_fields__}

    @classmethod
    def read(cls, about: Mapping[str, Any]) -> Request:
        """Return the request that was sent; what an older client does not say has its usual value."""
        known = {key: about[key] for key in cls.__dataclass_fields__ if key in about}
        return cls(**{**known, "statements": [(sql, _decoded(values)) for sql, values in about["statements"]]})


@dataclass(frozen=True)
class Reply:
    """What the keeper answers.

    Parameters
    ----------
    table : rows
    said : what goes with them
    error : class, message and hint of what went wrong
    """

    table: pa.Table | None = None
    said: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None


def channel_of(opened: socket.socket) -> Channel:
    """Return a channel over a socket, on which nothing blocks for longer than a keeper may be silent."""
    limit = struct.pack("ll", int(SILENCE), 0)
    opened.setblocking(True)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    return Channel(opened.detach())


def is_own(opened: socket.socket) -> bool:
    """Return whether the process at the other end is this user's, or the administrator's."""
    if not hasattr(socket, "SO_PEERCRED"):  # elsewhere the folder of the socket keeps others out
        return True
    _, uid, _ = struct.unpack("3i", opened.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return uid in (os.geteuid(), 0)


def send(channel: Channel, header: Mapping[str, Any], tables: Mapping[str, pa.Table] | None = None) -> None:
    """Send a header and its tables.

    Raises
    ------
    OSError : if the other end has gone or takes nothing
    """
    tables = tables or {}
    channel.send_bytes(json.dumps({**header, "tables": list(tables)}, default=encode).encode())
    for table in tables.values():
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        channel.send_bytes(memoryview(sink.getvalue()))


def receive(channel: Channel, until: float | None = None) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    """Return the next header and its tables; signs of life are passed over.

    Parameters
    ----------
    until : time of the monotonic clock at which to give up

    Raises
    ------
    TimeoutError : if it did not begin by then
    EOFError, OSError : if the other end has gone or is silent
    ValueError : if it does not speak as we do
    """
    content = b""
    while not content:
        if until is not None and not channel.poll(max(0.0, until - time.monotonic())):
            raise TimeoutError
        content = channel.recv_bytes()
    header = json.loads(content)
    return header, {name: _table(channel.recv_bytes()) for name in header.pop("tables")}


def _table(content: bytes) -> pa.Table:
    # In a buffer of Arrow's own, which is aligned as Arrow and DuckDB want it.
    buffer = pa.allocate_buffer(len(content))
    with contextlib.closing(pa.FixedSizeBufferWriter(buffer)) as writer:
        writer.write(content)
    return pa.ipc.open_stream(buffer).read_all()


def encode(value: Any) -> Any:
    """Return a parameter as JSON has it."""
    if isinstance(value, bytes | bytearray):
        return {"hex": bytes(value).hex()}
    return value.item() if hasattr(value, "item") else str(value)


def _decoded(parameters: Any) -> Parameters:
    if isinstance(parameters, dict):
        return {key: _value(value) for key, value in parameters.items()}
    return None if parameters is None else [_value(value) for value in parameters]


def _value(value: Any) -> Any:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) and set(value) == {"hex"} else value
