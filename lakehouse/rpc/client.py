"""A lake that another process on this machine holds, asked over Arrow Flight.

While an answer is awaited the calling thread stays able to take Ctrl-C, and what it gives up is stopped there.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.flight as flight

from isoflop.lakehouse.errors import Interrupted, StoreError
from isoflop.lakehouse.ingest.batches import Drained
from isoflop.lakehouse.rpc.holder import HolderGone, address_file
from isoflop.lakehouse.rpc.wire import ERROR_KEY, HEARTBEAT, Request, aligned, encode
from isoflop.lakehouse.sql.watch import watched

if TYPE_CHECKING:
    from isoflop.lakehouse.backends.backend import Parameters, Statement

# A wrong token is a sign of it too: another process listens where the holder did.
GONE = (
    flight.FlightUnavailableError, flight.FlightTimedOutError, flight.FlightUnauthenticatedError,
    flight.FlightInternalError, OSError,
)  # fmt: skip
LOOK_EVERY = 0.05  # seconds between two looks whether an answer is there or Ctrl-C was pressed
Result = TypeVar("Result")


class LakeClient:
    """A lake that another process on this machine holds.

    Parameters
    ----------
    path : the lake's file
    address, token, pid : of the process that holds it
    is_read_only : whether it is asked to refuse changes
    """

    def __init__(self, path: Path, address: str, token: str, pid: int, is_read_only: bool = False) -> None:
        self.path, self.pid = path, pid
        self._credential, self._is_read_only = token, is_read_only
        self._client = flight.connect(address)
        self._is_closed = False

    @classmethod
    def find(cls, path: Path, is_read_only: bool = False) -> LakeClient | None:
        """Return a client of the process that holds `path`, or None when nobody answers."""
        try:
            about = json.loads(address_file(path).read_text())
            client = cls(path, about["address"], about["token"], int(about["pid"]), is_read_only)
            client.ask(Request("query", [("SELECT 1", None)]), timeout=5.0)
        except (OSError, ValueError, KeyError, StoreError, flight.FlightError, pa.ArrowException):
            return None
        return client

    def query(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Have the holder run statements and return the last one's rows."""
        return self.ask(Request("query", [(sql, parameters)]), relations)

    def write(
        self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None, token: str | None = None
    ) -> None:
        """Have the holder run statements in one transaction."""
        self.ask(Request("write", statements, token), relations)

    def connection(self) -> RemoteConnection:
        """Return a connection that lasts, at the holder."""
        begun = self.ask(Request("begin"))
        return RemoteConnection(self, (begun.schema.metadata or {})[b"session"].decode())

    def drain(self) -> Drained:
        """Have the holder commit what lies in the spool."""
        done = self.ask(Request("drain"))
        files, points, repeated = json.loads((done.schema.metadata or {}).get(b"drained", b"[0, 0, 0]"))
        return Drained(files, points, repeated, tuple(done["unreadable"].to_pylist()))

    def compact(self) -> None:
        """Have the holder rewrite its file."""
        self.ask(Request("compact"))

    def snapshot(self, to: Path) -> None:
        """Have the holder write a consistent copy."""
        self.ask(Request("snapshot", to=str(to.absolute())))

    def ask(
        self, request: Request, relations: Mapping[str, pa.Table] | None = None, timeout: float | None = None
    ) -> pa.Table:
        """Send a request and return its table.

        Raises
        ------
        duckdb.Error : the error the holder met, of the same class and wording
        HolderGone : if the holder has gone
        Interrupted : if somebody asked to stop
        """
        request = replace(request, name=request.name or secrets.token_hex(8), is_read_only=self._is_read_only)

        def stop() -> None:
            with contextlib.suppress(Exception):
                self._send(Request("interrupt", name=request.name), None, 5.0)

        if request.kind not in ("query", "write", "drain"):
            return self._send(request, relations, timeout)
        with watched() as watch, watch.stoppable(stop):
            try:
                return _patiently(lambda: self._send(request, relations, timeout))
            except KeyboardInterrupt:
                stop()
                raise

    def _send(self, request: Request, relations: Mapping[str, pa.Table] | None, timeout: float | None) -> pa.Table:
        if self._is_closed:  # somebody else has met its absence
            raise HolderGone(self.path, self.pid)
        keys = {name: secrets.token_hex(8) for name in relations or {}}
        options = flight.FlightCallOptions(timeout=timeout) if timeout else flight.FlightCallOptions()
        ticket = {"credential": self._credential, "relations": keys, **request.fields()}
        try:
            for name, table in (relations or {}).items():
                command = json.dumps({"credential": self._credential, "upload": keys[name]})
                writer, _ = self._client.do_put(
                    flight.FlightDescriptor.for_command(command.encode()), table.schema, options
                )
                with writer:
                    writer.write_table(table)
            answer = self._client.do_get(flight.Ticket(json.dumps(ticket, default=encode).encode()), options).read_all()
        except GONE as error:
            raise HolderGone(self.path, self.pid) from error
        except (flight.FlightError, pa.ArrowException) as error:
            raise StoreError(f"the process that holds {self.path} could not answer: {error}") from error
        described = (answer.schema.metadata or {}).get(ERROR_KEY)
        if described is not None:
            raise _error(json.loads(described))
        return aligned(answer)

    def close(self) -> None:
        """Drop the connection."""
        self._is_closed = True
        self._client.close()


class RemoteConnection:
    """A lasting connection at the holder of the file, kept alive from here.

    Parameters
    ----------
    client : how the holder is reached
    session : the name that it gave
    """

    def __init__(self, client: LakeClient, session: str) -> None:
        self._client, self._session = client, session
        self._is_over = threading.Event()
        threading.Thread(target=self._keep_alive, name="isoflop-session", daemon=True).start()

    def query(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Have the holder run statements and return the last one's rows."""
        return self._client.ask(Request("query", [(sql, parameters)], session=self._session), relations)

    def write(self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None) -> bool:
        """Run statements inside the open transaction; False, and nothing done, when there is none."""
        done = self._client.ask(Request("write", statements, session=self._session), relations)
        return (done.schema.metadata or {}).get(b"is_done") == b"true"

    def begin(self) -> bool:
        """Begin a transaction for one statement; False, and nothing done, when one is open."""
        done = self._client.ask(Request("begin_statement", session=self._session))
        return (done.schema.metadata or {}).get(b"is_done") == b"true"

    def end(self, *, keep: bool) -> None:
        """Commit the transaction of a statement, or roll it back."""
        self._client.ask(Request("commit_statement" if keep else "give_up_statement", session=self._session))

    def close(self) -> bool:
        """Let go of the connection; returns whether a transaction was open, which is rolled back."""
        self._is_over.set()
        done = self._client.ask(Request("end", session=self._session))
        return (done.schema.metadata or {}).get(b"was_open") == b"true"

    def _keep_alive(self) -> None:
        while not self._is_over.wait(HEARTBEAT):
            try:
                self._client.ask(Request("keep", session=self._session), timeout=HEARTBEAT)
            except Exception:  # whoever asks next hears why
                return


def _patiently(call: Callable[[], Result]) -> Result:
    """Do what blocks in a thread of its own where the main thread would not hear Ctrl-C meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        return call()
    results: list[Result] = []
    errors: list[BaseException] = []
    is_done = threading.Event()

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)
        finally:
            is_done.set()

    threading.Thread(target=run, name="isoflop-answer", daemon=True).start()
    while not is_done.wait(LOOK_EVERY):
        pass
    if errors:
        raise errors[0]
    return results[0]


def _error(described: Mapping[str, Any]) -> Exception:
    import duckdb

    from isoflop.lakehouse import errors

    if described["class"] == "Interrupted":
        return Interrupted()
    found = getattr(duckdb, described["class"], None) or getattr(errors, described["class"], None)
    if isinstance(found, type) and issubclass(found, duckdb.Error):
        return found(described["message"])
    return StoreError(described["message"], hint=described.get("hint"))
