"""Answering other processes while this one holds the file, over Arrow Flight on loopback.

A DuckDB file that one process has open refuses every other, even readers. So the holder answers:
it listens on 127.0.0.1 at a free port and writes address and a random token to a file beside the
store that only its owner can read. A client sends a statement, its parameters and the Arrow
relations it names; it gets an Arrow table or the error as DuckDB worded it.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as flight

from isoflop.lakehouse.backends.backend import Backend, Connection
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.rpc.holder import address_file
from isoflop.lakehouse.rpc.wire import ERROR_KEY, SESSION_TIMEOUT, Request, aligned
from isoflop.lakehouse.sql.reads import check_reads, refused
from isoflop.lakehouse.sql.watch import Watch, watched

Reach = Callable[[Callable[[Backend], pa.Table]], pa.Table]


@dataclass
class Served:
    """A session of another process.

    Parameters
    ----------
    connection : its connection to the lake
    heard : when its process was last heard of
    """

    connection: Connection
    heard: float = field(default_factory=time.monotonic)


class Answering:
    """What the holder does for its clients: requests with the store, and the sessions that last between them.

    Parameters
    ----------
    reach : does something with the open store
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._sessions: dict[str, Served] = {}
        self._running: dict[str, Watch] = {}
        self._lock = threading.Lock()

    def answer(self, request: Request, relations: Mapping[str, pa.Table]) -> pa.Table:
        """Do what a request asks."""
        if request.kind == "interrupt":
            with self._lock:
                watch = self._running.get(str(request.name))
            if watch is not None:
                watch.cancel()
            return pa.table({})
        with watched() as watch:
            with self._lock:
                self._running[str(request.name)] = watch
            try:
                if request.session is not None:
                    return self._in_session(request, relations)
                return self._reach(lambda backend: self._by_itself(backend, request, relations))
            finally:
                with self._lock:
                    self._running.pop(str(request.name), None)

    def _by_itself(self, backend: Backend, request: Request, relations: Mapping[str, pa.Table]) -> pa.Table:
        if request.is_read_only and request.kind not in ("query", "begin"):
            raise refused("nothing is written")
        match request.kind:
            case "query":
                ((sql, parameters),) = request.statements
                if request.is_read_only:
                    check_reads(sql, backend.query, relations)
                return backend.query(sql, parameters, relations)
            case "write":
                backend.write(request.statements, relations, request.token)
            case "drain":
                done = backend.drain()
                unreadable = pa.array(done.unreadable, pa.string())
                return _said({"drained": json.dumps([done.files, done.points, done.repeated])}, unreadable=unreadable)
            case "compact":
                backend.compact()
            case "snapshot":
                backend.snapshot(Path(str(request.to)))
            case "begin":
                name = secrets.token_hex(8)
                self._sessions[name] = Served(backend.connection())
                return _said({"session": name})
            case _:
                raise StoreError(
                    f"the holder of the lake does not know '{request.kind}'", hint="it runs another isoflop"
                )
        return pa.table({})

    def _in_session(self, request: Request, relations: Mapping[str, pa.Table]) -> pa.Table:
        served = self._sessions.get(str(request.session))
        if served is None:
            raise StoreError("the session is over: its process was not heard of for too long", hint="begin another one")
        served.heard = time.monotonic()
        match request.kind:
            case "query":
                ((sql, parameters),) = request.statements
                if request.is_read_only:
                    check_reads(sql, served.connection.query, relations)
                return served.connection.query(sql, parameters, relations)
            case "write" if request.is_read_only:
                raise refused("nothing is written")
            case "write":
                return _said({"is_done": json.dumps(served.connection.write(request.statements, relations))})
            case "begin_statement":
                return _said({"is_done": json.dumps(served.connection.begin())})
            case "commit_statement" | "give_up_statement":
                served.connection.end(keep=request.kind == "commit_statement")
            case "end":
                del self._sessions[str(request.session)]
                return _said({"was_open": json.dumps(served.connection.close())})
        return pa.table({})

    @property
    def num_sessions(self) -> int:
        """How many sessions are open."""
        return len(self._sessions)

    def close_silent(self) -> None:
        """Close the sessions whose processes have not been heard of for too long."""
        for name, served in list(self._sessions.items()):
            if time.monotonic() - served.heard > SESSION_TIMEOUT:
                self._sessions.pop(name, None)
                with contextlib.suppress(Exception):
                    served.connection.close()


def _said(words: Mapping[str, str], **columns: pa.Array) -> pa.Table:
    """Return a table that carries words beside its columns."""
    return pa.table(columns).replace_schema_metadata(words)


class LakeServer(flight.FlightServerBase):  # type: ignore[misc]
    """Answers requests by Arrow Flight; every exception becomes a table that carries it.

    Parameters
    ----------
    path : the lake's file, beside which the address is written
    answering : what is done for the clients
    """

    def __init__(self, path: Path, answering: Answering) -> None:
        super().__init__("grpc://127.0.0.1:0")
        self.answering = answering
        self._token = secrets.token_urlsafe(32)
        self._uploads: dict[str, pa.Table] = {}
        self._file = address_file(path)
        about = json.dumps({"address": f"grpc://127.0.0.1:{self.port}", "token": self._token, "pid": os.getpid()})
        partial = self._file.with_name(f"{self._file.name}.{os.getpid()}.partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(about)
        os.replace(partial, self._file)

    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Keep an uploaded relation until the request that names it."""
        about = json.loads(descriptor.command)
        self._check(about)
        self._uploads[about["upload"]] = aligned(reader.read_all())

    def do_get(self, context: Any, ticket: Any) -> Any:
        """Answer one request."""
        about = json.loads(ticket.ticket)
        self._check(about)
        relations = {name: self._uploads.pop(key) for name, key in about["relations"].items()}
        try:
            table = self.answering.answer(Request.read(about), relations)
        except Exception as error:
            message, hint = getattr(error, "message", str(error)), getattr(error, "hint", None)
            described = json.dumps({"class": type(error).__name__, "message": message, "hint": hint})
            table = pa.table({}).replace_schema_metadata({ERROR_KEY: described.encode()})
        return flight.RecordBatchStream(table)

    def _check(self, about: Mapping[str, Any]) -> None:
        if not hmac.compare_digest(str(about.get("credential", "")), self._token):
            raise flight.FlightUnauthenticatedError("wrong token")

    def close(self) -> None:
        """Stop answering and take the address away."""
        with contextlib.suppress(OSError, ValueError):
            if json.loads(self._file.read_text())["pid"] == os.getpid():
                self._file.unlink()
        self.shutdown()
