"""Answering other processes of this machine, over a Unix socket.

A DuckDB file that one process has open refuses every other, even readers. So the keeper answers: a client sends
a statement, its parameters and the Arrow relations it names, and gets an Arrow table or the error as DuckDB worded it.
Each connection has a thread. What is being worked on when its client goes away is stopped.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Channel
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pyarrow as pa

from isoflop.lakehouse.backends.backend import Backend, Connection
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.ingest.batches import Drained
from isoflop.lakehouse.rpc.endpoint import Endpoint, publish, read_endpoint, socket_folder, withdraw
from isoflop.lakehouse.rpc.wire import HEARTBEAT, LONGEST_GREETING, Reply, Request, channel_of, is_own, receive, send
from isoflop.lakehouse.sql.cancellation import Watch, watched
from isoflop.lakehouse.sql.folder import asked_from
from isoflop.lakehouse.sql.read_only_guard import check_reads, refused

GREETING_SECONDS = 10.0  # a caller that has not said the token by then is sent away
BACKLOG = 128  # callers that may wait for the listener at once

Ask = Callable[[Callable[[Backend], Reply]], Reply]


class Answering:
    """What the keeper does for its clients.

    Parameters
    ----------
    ask : does something with the open store
    drain : commits what is spooled, without waiting for a process that has the lake open
    hello : says how the lake is, without waiting for it
    trouble : says why the lake could not be opened or takes nothing, None when it could
    leave : called when a client says that nothing more will come
    died : called when a client has gone without saying so
    """

    def __init__(
        self,
        ask: Ask,
        drain: Callable[[], Drained],
        hello: Callable[[], Mapping[str, Any]],
        trouble: Callable[[], str | None],
        leave: Callable[[], None],
        died: Callable[[], None],
    ) -> None:
        self._ask, self._drain, self._hello, self._trouble, self._left = ask, drain, hello, trouble, leave
        self.died = died
        self._running: dict[str, Watch] = {}

    def answer(self, request: Request, relations: Mapping[str, pa.Table], client: Client) -> Reply:
        """Do what a request asks."""
        match request.kind:
            case "hello":
                return Reply(said=self._hello())
            case "drain" if not request.is_read_only:  # never stopped half way: it is for all
                done = self._drain()
                counts = {"files": done.files, "points": done.points, "repeated": done.repeated}
                return Reply(said={**counts, "unreadable": list(done.unreadable)})
            case "trouble":
                return Reply(said={"trouble": self._trouble()})
            case "interrupt":
                watch = self._running.get(str(request.name))
                if watch is not None:
                    watch.cancel()
                return Reply()
            case "leave":
                client.leaves()
                self._left()
                return Reply()
        with asked_from(request.folder), watched() as watch:
            client.watch = self._running[str(request.name)] = watch
            try:
                if request.in_session or request.kind == "end":
                    return self._in_session(request, relations, client)
                return self._ask(lambda backend: self._by_itself(backend, request, relations, client))
            finally:
                client.watch = None
                self._running.pop(str(request.name), None)

    def _by_itself(
        self, backend: Backend, request: Request, relations: Mapping[str, pa.Table], client: Client
    ) -> Reply:
        if request.is_read_only and request.kind not in ("query", "begin"):
            raise refused("nothing is written")
        match request.kind:
            case "query":
                ((sql, parameters),) = request.statements
                if request.is_read_only:
                    check_reads(sql, backend.query, relations)
                return Reply(backend.query(sql, parameters, relations))
            case "write":
                backend.write(request.statements, relations, request.token)
            case "compact":
                backend.compact()
            case "snapshot":
                backend.snapshot(Path(str(request.to)))
            case "begin":
                client.session = backend.connection()
            case _:
                raise StoreError(
                    f"the keeper of the lake does not know '{request.kind}'", hint="it runs another isoflop"
                )
        return Reply()

    def _in_session(self, request: Request, relations: Mapping[str, pa.Table], client: Client) -> Reply:
        session = client.session
        if session is None:
            raise StoreError("the session is over", hint="begin another one")
        match request.kind:
            case "query":
                ((sql, parameters),) = request.statements
                if request.is_read_only:
                    check_reads(sql, session.query, relations)
                return Reply(session.query(sql, parameters, relations))
            case "write" if request.is_read_only:
                raise refused("nothing is written")
            case "write":
                return Reply(said={"is_done": session.write(request.statements, relations)})
            case "begin_statement":
                return Reply(said={"is_done": session.begin()})
            case "commit_statement" | "give_up_statement":
                session.end(keep=request.kind == "commit_statement")
            case "end":
                client.session = None
                return Reply(said={"was_open": session.close()})
        return Reply()


@dataclass(eq=False)
class Client:
    """One connection.

    Parameters
    ----------
    channel : what it speaks by
    leaves : says that nothing more will come from its process
    session : the lasting connection to the lake that it began
    watch : of the request that is worked on
    is_busy : whether a request is worked on
    name : of the client that has made it, one of several connections
    """

    channel: Channel
    leaves: Callable[[], None]
    session: Connection | None = None
    watch: Watch | None = None
    is_busy: bool = False
    name: str = ""
    sending: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, reply: Reply) -> None:
        """Send an answer."""
        header = {"said": dict(reply.said or {}), "error": reply.error}
        with self.sending:
            send(self.channel, header, {} if reply.table is None else {"answer": reply.table})

    def beat(self) -> None:
        """Send a sign of life, unless an answer is on its way."""
        if self.sending.acquire(blocking=False):
            try:
                self.channel.send_bytes(b"")
            finally:
                self.sending.release()


class LakeServer:
    """Listens for this user's other processes; every exception becomes a reply that carries it.

    Parameters
    ----------
    file : where it is written that this process listens
    answering : what is done for the clients

    Raises
    ------
    OSError : if it cannot be written there
    """

    def __init__(self, file: Path, answering: Answering) -> None:
        self._file, self._answering = file, answering
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.endpoint = Endpoint(str(socket_folder() / "keeper"), secrets.token_urlsafe(32), os.getpid())
        self._clients: set[Client] = set()
        self._leaving: set[str] = set()  # names of clients of which nothing more will come
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        try:
            self._listener.bind(self.endpoint.socket)
            self._listener.listen(BACKLOG)
            self._listener.settimeout(0.2)  # seconds after which it looks whether it is over
            before = read_endpoint(file)
            publish(self.endpoint, file)
            if before is not None:  # of a keeper that was killed: whoever listens here has the lock of the only one
                withdraw(file, before)
        except BaseException:
            self.close()
            raise
        self.heard = time.monotonic()  # when a client was last there
        threading.Thread(target=self._listen, name="isoflop-listener", daemon=True).start()
        threading.Thread(target=self._look_after, name="isoflop-heartbeat", daemon=True).start()

    @property
    def num_clients(self) -> int:
        """How many clients there are that have not said goodbye."""
        with self._lock:
            return len({client.name for client in self._clients} - self._leaving)

    def _listen(self) -> None:
        while not self._is_over.is_set():
            try:
                opened, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                if self._is_over.wait(0.1):  # out of descriptors, for example: later there may be some
                    return
                continue
            if not is_own(opened):
                opened.close()
                continue
            client = Client(channel_of(opened), leaves=lambda: None)
            threading.Thread(target=self._serve, args=(client,), name="isoflop-client", daemon=True).start()

    def _serve(self, client: Client) -> None:
        try:
            if not client.channel.poll(GREETING_SECONDS):
                return
            token, _, name = client.channel.recv_bytes(LONGEST_GREETING).partition(b" ")
            if not hmac.compare_digest(token, self.endpoint.token.encode()):
                return
            client.name = name.decode()
            client.leaves = lambda: self._leaving.add(client.name)
            with self._lock:
                self._clients.add(client)
            while client.channel.poll(None):
                about, relations = receive(client.channel)
                self.heard = time.monotonic()
                client.is_busy = True
                try:
                    reply = self._answering.answer(Request.read(about), relations, client)
                except Exception as error:
                    reply = Reply(error=described(error))
                finally:
                    client.is_busy = False
                client.reply(reply)
        except (OSError, EOFError, ValueError, KeyError, TypeError, pa.ArrowException):
            pass  # it has gone, or does not speak as we do
        finally:
            self._forget(client)

    def _forget(self, client: Client) -> None:
        with self._lock:
            self._clients.discard(client)
            has_died = client.name not in self._leaving and client.name not in {other.name for other in self._clients}
            self._leaving &= {client.name for client in self._clients}
        self.heard = time.monotonic()
        if has_died and client.name:
            self._answering.died()
        session, client.session = client.session, None
        if session is not None:
            with contextlib.suppress(Exception):
                session.close()
        with contextlib.suppress(OSError):
            client.channel.close()

    def _look_after(self) -> None:
        """Send signs of life to those who wait, and stop what is worked on for those who have gone."""
        while not self._is_over.wait(HEARTBEAT):
            with self._lock:
                busy = {client.channel: client for client in self._clients if client.is_busy}
            try:
                gone = set(wait(list(busy), timeout=0)) if busy else set()
            except (OSError, ValueError):  # one was closed in this moment
                continue
            for channel, client in busy.items():
                if channel in gone:  # one that waits for an answer says nothing, so this is its end
                    watch = client.watch
                    if watch is not None:
                        watch.cancel()
                    continue
                with contextlib.suppress(OSError, ValueError):
                    client.beat()

    def close(self) -> None:
        """Answer no more requests and take the address away; what is worked on is stopped."""
        self._is_over.set()
        withdraw(self._file, self.endpoint)
        self._listener.close()
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            watch = client.watch
            if watch is not None:
                watch.cancel()


def described(error: Exception) -> dict[str, Any]:
    """Return an error as it travels."""
    message, hint = getattr(error, "message", str(error)), getattr(error, "hint", None)
    return {"class": type(error).__name__, "message": str(message), "hint": hint}
