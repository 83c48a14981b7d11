"""A lake that another process of this machine keeps, asked over its Unix socket.

Every wait has a limit: a keeper that works on an answer gives a sign of life every second, and one that gives none for
long is taken for stopped. What the caller gives up is stopped there.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection as Channel
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from isoflop.lakehouse.errors import Interrupted, StoreError
from isoflop.lakehouse.ingest.batches import Drained
from isoflop.lakehouse.rpc.endpoint import Endpoint, KeeperGone, KeeperSilent, read_endpoint
from isoflop.lakehouse.rpc.wire import SILENCE, Reply, Request, channel_of, is_own, receive, send
from isoflop.lakehouse.saying import say
from isoflop.lakehouse.sql.cancellation import watched
from isoflop.lakehouse.sql.folder import here, with_whole_paths

if TYPE_CHECKING:
    from isoflop.lakehouse.backends.backend import Parameters, Statement

SAY_AFTER = 2.0  # seconds of waiting for another process after which it is said for whom
CONNECT_SECONDS = 5.0  # that a keeper on this machine may take to accept a connection


class LakeClient:
    """A lake that another process of this machine keeps.

    Parameters
    ----------
    path : what stands for the lake on this machine
    endpoint : where the keeper listens
    is_read_only : whether it is asked to refuse changes
    """

    def __init__(self, path: Path, endpoint: Endpoint, is_read_only: bool = False) -> None:
        self.path, self.pid = path, endpoint.pid
        self._endpoint, self._is_read_only = endpoint, is_read_only
        self._name = secrets.token_hex(8)  # the same for all its connections
        self._idle: list[Channel] = []
        self._lock = threading.Lock()
        self._is_closed = False

    @classmethod
    def find(cls, path: Path, file: Path, is_read_only: bool = False) -> LakeClient | None:
        """Return a client of the process that listens where `file` says, or None when none does."""
        endpoint = read_endpoint(file)
        if endpoint is None:
            return None
        client = cls(path, endpoint, is_read_only)
        try:
            client._give_back(client._channel())
        except KeeperGone:
            return None
        return client

    def hello(self, timeout: float | None = None) -> Mapping[str, Any]:
        """Return how the lake is: whether it is open, was made just now, or why it cannot be opened."""
        return self._said(self.ask(Request("hello"), timeout=timeout))

    def trouble(self, timeout: float) -> str | None:
        """Return why the keeper could not open the lake or commit to it the last time it tried; None when it could."""
        found = self._said(self.ask(Request("trouble"), timeout=timeout))["trouble"]
        return None if found is None else str(found)

    def query(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Have the keeper run statements and return the last one's rows."""
        return self._rows(self.ask(Request("query", [(sql, parameters)]), relations))

    def write(
        self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None, token: str | None = None
    ) -> None:
        """Have the keeper run statements in one transaction."""
        self.ask(Request("write", statements, token), relations)

    def connection(self) -> RemoteConnection:
        """Return a connection that lasts, at the keeper."""
        return RemoteConnection(self)

    def drain(self, timeout: float | None = None) -> Drained:
        """Have the keeper commit what lies in the spool."""
        said = self._said(self.ask(Request("drain"), timeout=timeout))
        return Drained(said["files"], said["points"], said["repeated"], tuple(said["unreadable"]))

    def compact(self) -> None:
        """Have the keeper rewrite its file."""
        self.ask(Request("compact"))

    def snapshot(self, to: Path) -> None:
        """Have the keeper write a consistent copy."""
        self.ask(Request("snapshot", to=str(to.absolute())))

    def leave(self, timeout: float) -> None:
        """Say that nothing more will come, and wait until the keeper has let go of the lake if no other needs it."""
        with contextlib.suppress(StoreError):
            self.ask(Request("leave"), timeout=timeout)
        self.close()

    def ask(
        self, request: Request, relations: Mapping[str, pa.Table] | None = None, timeout: float | None = None
    ) -> Reply:
        """Send a request and return the reply.

        Parameters
        ----------
        timeout : seconds the whole answer may take; None as long as the keeper gives signs of life

        Raises
        ------
        duckdb.Error : the error the keeper met, of the same class and wording
        KeeperGone : if the keeper has gone
        KeeperSilent : if it gives no sign of life, or `timeout` is over
        Interrupted : if the caller asked to stop
        """
        channel = self._channel()
        is_whole = False
        try:
            reply = self.converse(channel, request, relations, timeout)
            is_whole = True
            return _checked(reply)
        finally:
            if is_whole:
                self._give_back(channel)
            else:
                channel.close()  # the keeper sees it and stops what it was doing

    def converse(
        self,
        channel: Channel,
        request: Request,
        relations: Mapping[str, pa.Table] | None = None,
        timeout: float | None = None,
    ) -> Reply:
        """Send a request by a channel and wait for its reply, errors included; able to be stopped meanwhile."""
        folder = here()
        request = replace(
            request,
            statements=[(with_whole_paths(sql, folder), parameters) for sql, parameters in request.statements],
            name=request.name or secrets.token_hex(8),
            is_read_only=self._is_read_only,
            folder=folder,
        )
        with watched() as watch, watch.stoppable(lambda: self.interrupt(str(request.name))):
            try:
                send(channel, request.fields(), relations)
                with self._said_for_whom(request.kind):
                    header, tables = receive(channel, None if timeout is None else time.monotonic() + timeout)
            except TimeoutError as error:
                raise KeeperSilent(self.path, self.pid, timeout or 0.0) from error
            except BlockingIOError as error:
                raise KeeperSilent(self.path, self.pid, SILENCE) from error
            except (OSError, EOFError, ValueError) as error:
                raise KeeperGone(self.path, self.pid) from error
        return Reply(tables.get("answer"), header["said"], header["error"])

    def interrupt(self, name: str) -> None:
        """Have the keeper stop the request of a name."""
        with contextlib.suppress(Exception):
            channel = self._channel(is_new=True)
            with contextlib.closing(channel):
                send(channel, Request("interrupt", name=name).fields())
                receive(channel, time.monotonic() + CONNECT_SECONDS)

    @contextlib.contextmanager
    def _said_for_whom(self, kind: str) -> Iterator[None]:
        """Say for whom is waited when that takes longer than two seconds."""
        if kind in ("query", "interrupt", "trouble") or self._is_read_only:
            yield
            return
        line = f"waiting for process {self.pid}, which keeps {self.path}"
        timer = threading.Timer(SAY_AFTER, lambda: say(line))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @property
    def is_alive(self) -> bool:
        """Whether the keeper still has the other end of our connections."""
        try:
            channel = self._channel()
        except StoreError:
            return False
        try:
            is_alive = not channel.poll(0)  # nothing is asked, so what could come is its end
        except OSError:
            is_alive = False
        if is_alive:
            self._give_back(channel)
        else:
            channel.close()
        return is_alive

    def _channel(self, is_new: bool = False) -> Channel:
        """Return an idle connection, or a new one."""
        if self._is_closed:
            raise KeeperGone(self.path, self.pid)
        with self._lock:
            if self._idle and not is_new:
                return self._idle.pop()
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            opened.settimeout(CONNECT_SECONDS)
            opened.connect(self._endpoint.socket)
            if not is_own(opened):
                raise ConnectionRefusedError
            channel = channel_of(opened)
        except OSError as error:
            opened.close()
            raise KeeperGone(self.path, self.pid) from error
        try:
            channel.send_bytes(f"{self._endpoint.token} {self._name}".encode())
        except OSError as error:
            channel.close()
            raise KeeperGone(self.path, self.pid) from error
        return channel

    def _give_back(self, channel: Channel) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(channel)
                return
        channel.close()

    @staticmethod
    def _rows(reply: Reply) -> pa.Table:
        return pa.table({}) if reply.table is None else reply.table

    @staticmethod
    def _said(reply: Reply) -> Mapping[str, Any]:
        return reply.said or {}

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for channel in idle:
            with contextlib.suppress(OSError):
                channel.close()

    def forget_after_fork(self) -> None:
        """Close a forked process's copies of the connections, which belong to its parent."""
        self._lock = threading.Lock()
        self.close()


class RemoteConnection:
    """A lasting connection at the keeper, over a channel of its own.

    Parameters
    ----------
    client : how the keeper is reached
    """

    def __init__(self, client: LakeClient) -> None:
        self._client = client
        self._channel = client._channel(is_new=True)
        self._lock = threading.RLock()
        try:
            self._ask(Request("begin"))
        except BaseException:
            self._channel.close()
            raise

    def query(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Have the keeper run statements and return the last one's rows."""
        reply = self._ask(Request("query", [(sql, parameters)], in_session=True), relations)
        return pa.table({}) if reply.table is None else reply.table

    def write(self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None) -> bool:
        """Run statements inside the open transaction; False, and nothing done, when there is none."""
        return self._is_said("is_done", Request("write", statements, in_session=True), relations)

    def begin(self) -> bool:
        """Begin a transaction for one statement; False, and nothing done, when one is open."""
        return self._is_said("is_done", Request("begin_statement", in_session=True))

    def end(self, *, keep: bool) -> None:
        """Commit the transaction of a statement, or roll it back."""
        self._ask(Request("commit_statement" if keep else "give_up_statement", in_session=True))

    def close(self) -> bool:
        """Let go of the connection; returns whether a transaction was open, which is rolled back."""
        try:
            return self._is_said("was_open", Request("end", in_session=True))
        finally:
            self._channel.close()

    def _is_said(self, name: str, request: Request, relations: Mapping[str, pa.Table] | None = None) -> bool:
        return bool((self._ask(request, relations).said or {}).get(name))

    def _ask(self, request: Request, relations: Mapping[str, pa.Table] | None = None) -> Reply:
        name = secrets.token_hex(8)
        with self._lock:
            if self._channel.closed:
                raise KeeperGone(self._client.path, self._client.pid)
            try:
                reply = self._client.converse(self._channel, replace(request, name=name), relations)
            except KeyboardInterrupt:
                self._client.interrupt(name)
                with contextlib.suppress(OSError, EOFError, ValueError):
                    receive(
                        self._channel, time.monotonic() + CONNECT_SECONDS
                    )  # that it was stopped: the session goes on
                    raise
                self._channel.close()
                raise
            except StoreError:
                self._channel.close()
                raise
        return _checked(reply)


def _checked(reply: Reply) -> Reply:
    if reply.error is not None:
        raise as_raised(reply.error)
    return reply


def as_raised(described: Mapping[str, Any]) -> Exception:
    """Return the error that a reply describes, of the class it had."""
    import duckdb

    from isoflop.lakehouse import errors

    if described["class"] == "Interrupted":
        return Interrupted()
    found = getattr(duckdb, described["class"], None) or getattr(errors, described["class"], None)
    if isinstance(found, type) and issubclass(found, duckdb.Error):
        return found(described["message"])
    if isinstance(found, type) and issubclass(found, errors.IsoflopError):
        error = found.__new__(found)  # how each class words its message was decided there
        errors.IsoflopError.__init__(error, described["message"], hint=described.get("hint"))
        return error
    return StoreError(described["message"], hint=described.get("hint"))
