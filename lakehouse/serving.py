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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.flight as flight

from isoflop.lakehouse.batches import Drained
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.holder import HolderGone, address_file

if TYPE_CHECKING:
    from isoflop.lakehouse.store import Backend, Parameters, Statement

__all__ = ["HolderGone", "LakeClient", "LakeServer", "Request", "address_file", "answer"]

ERROR_KEY = b"isoflop_error"
# A wrong token is a sign of it too: another process listens where the holder did.
GONE = (
    flight.FlightUnavailableError, flight.FlightTimedOutError, flight.FlightUnauthenticatedError,
    flight.FlightInternalError, OSError,
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What a client asks of the holder.

    Parameters
    ----------
    kind : `query` one statement, `write` several in one transaction, `drain`, `compact`, or `snapshot`
    statements : the SQL with its parameters
    token : names a write, so that one whose answer was lost can be sent again
    to : the file of a snapshot
    """

    kind: str
    statements: Sequence[Statement] = ()
    token: str | None = None
    to: str | None = None


Handler = Callable[[Request, Mapping[str, pa.Table]], pa.Table]


def answer(backend: Backend, request: Request, relations: Mapping[str, pa.Table]) -> pa.Table:
    """Do what a request asks with the holder's own store."""
    match request.kind:
        case "query":
            ((sql, parameters),) = request.statements
            return backend.query(sql, parameters, relations)
        case "write":
            backend.write(request.statements, relations, request.token)
        case "drain":
            done = backend.drain()
            unreadable = pa.array(done.unreadable, pa.string())
            return pa.table({"unreadable": unreadable}).replace_schema_metadata(
                {"drained": json.dumps([done.files, done.points, done.repeated])}
            )
        case "compact":
            backend.compact()
        case "snapshot":
            backend.snapshot(Path(str(request.to)))
        case _:
            raise StoreError(f"the holder of the lake does not know '{request.kind}'", hint="it runs another isoflop")
    return pa.table({})


class LakeServer(flight.FlightServerBase):  # type: ignore[misc]
    """Answers requests with `handler`; every exception becomes a table that carries it."""

    def __init__(self, path: Path, handler: Handler) -> None:
        super().__init__("grpc://127.0.0.1:0")
        self._handler = handler
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
        self._uploads[about["upload"]] = _aligned(reader.read_all())

    def do_get(self, context: Any, ticket: Any) -> Any:
        """Answer one request."""
        about = json.loads(ticket.ticket)
        self._check(about)
        relations = {name: self._uploads.pop(key) for name, key in about["relations"].items()}
        try:
            request = Request(
                about["kind"],
                [(sql, _decode(parameters)) for sql, parameters in about["statements"]],
                about["token"],
                about["to"],
            )
            table = self._handler(request, relations)
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


def _aligned(table: pa.Table) -> pa.Table:
    """Return a copy in buffers of our own: those that come over the wire are not aligned, and Arrow warns of each."""
    plain = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in table.schema
    ]  # a dictionary's own buffers would stay as they are
    return table.cast(pa.schema(plain, table.schema.metadata)).take(pa.array(np.arange(table.num_rows)))


def _decode(parameters: Any) -> Parameters:
    if isinstance(parameters, dict):
        return {key: _value(value) for key, value in parameters.items()}
    return None if parameters is None else [_value(value) for value in parameters]


def _value(value: Any) -> Any:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) and set(value) == {"hex"} else value


def _encode(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return {"hex": bytes(value).hex()}
    return value.item() if hasattr(value, "item") else str(value)


class LakeClient:
    """A lake that another process on this machine holds."""

    def __init__(self, path: Path, address: str, token: str, pid: int) -> None:
        self.path, self.pid = path, pid
        self._credential = token
        self._client = flight.connect(address)

    @classmethod
    def find(cls, path: Path) -> LakeClient | None:
        """Return a client of the process that holds `path`, or None when nobody answers."""
        try:
            about = json.loads(address_file(path).read_text())
            client = cls(path, about["address"], about["token"], int(about["pid"]))
            client._ask(Request("query", [("SELECT 1", None)]), timeout=5.0)
        except (OSError, ValueError, KeyError, StoreError, flight.FlightError, pa.ArrowException):
            return None
        return client

    def query(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Have the holder run statements and return the last one's rows."""
        return self._ask(Request("query", [(sql, parameters)]), relations)

    def write(
        self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None, token: str | None = None
    ) -> None:
        """Have the holder run statements in one transaction."""
        self._ask(Request("write", statements, token), relations)

    def drain(self) -> Drained:
        """Have the holder commit what lies in the spool."""
        done = self._ask(Request("drain"))
        files, points, repeated = json.loads((done.schema.metadata or {}).get(b"drained", b"[0, 0, 0]"))
        return Drained(files, points, repeated, tuple(done["unreadable"].to_pylist()))

    def compact(self) -> None:
        """Have the holder rewrite its file."""
        self._ask(Request("compact"))

    def snapshot(self, to: Path) -> None:
        """Have the holder write a consistent copy."""
        self._ask(Request("snapshot", to=str(to.absolute())))

    def _ask(
        self, request: Request, relations: Mapping[str, pa.Table] | None = None, timeout: float | None = None
    ) -> pa.Table:
        """Send a request and return its table.

        Raises
        ------
        duckdb.Error : the error the holder met, of the same class and wording
        HolderGone : if the holder has gone
        """
        keys = {name: secrets.token_hex(8) for name in relations or {}}
        options = flight.FlightCallOptions(timeout=timeout) if timeout else flight.FlightCallOptions()
        ticket = {
            "credential": self._credential, "relations": keys, "kind": request.kind, "token": request.token,
            "to": request.to, "statements": list(request.statements),
        }  # fmt: skip
        try:
            for name, table in (relations or {}).items():
                command = json.dumps({"credential": self._credential, "upload": keys[name]})
                writer, _ = self._client.do_put(
                    flight.FlightDescriptor.for_command(command.encode()), table.schema, options
                )
                with writer:
                    writer.write_table(table)
            answer = self._client.do_get(
                flight.Ticket(json.dumps(ticket, default=_encode).encode()), options
            ).read_all()
        except GONE as error:
            raise HolderGone(self.path, self.pid) from error
        except (flight.FlightError, pa.ArrowException) as error:
            raise StoreError(f"the process that holds {self.path} could not answer: {error}") from error
        described = (answer.schema.metadata or {}).get(ERROR_KEY)
        if described is not None:
            raise _error(json.loads(described))
        return _aligned(answer)

    def close(self) -> None:
        """Drop the connection."""
        self._client.close()


def _error(described: Mapping[str, Any]) -> Exception:
    import duckdb

    from isoflop.lakehouse import errors

    found = getattr(duckdb, described["class"], None) or getattr(errors, described["class"], None)
    if isinstance(found, type) and issubclass(found, duckdb.Error):
        return found(described["message"])
    return StoreError(described["message"], hint=described.get("hint"))
