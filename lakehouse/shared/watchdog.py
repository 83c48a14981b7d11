"""No request waits for ever for a catalog that is silent.

A server that is frozen, or that a broken network hides, sends neither answer nor error, and a call that waits
for it heeds no interrupt. So while a request takes long, the server is greeted beside it. When it does not greet
back either, for as long as requests have patience, the connections of this process to the catalog are shut
down, and whoever waits on one of them gets an error.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator

from isoflop.lakehouse.address import SharedAddress
from isoflop.lakehouse.shared.life import is_silent, server_places, server_port

TICK = 0.5  # seconds between two looks at what is waited for
LOOK_AFTER = 2.0  # seconds after which a request takes long
LOOK_EVERY = 5.0  # seconds between two greetings while the server greets back


class Watchdog:
    """Looks after the requests of one store.

    Parameters
    ----------
    address : of the lake
    patience : for how long a silent server is waited for [s]
    """

    def __init__(self, address: SharedAddress, patience: Callable[[], float]) -> None:
        self._address, self._patience = address, patience
        self._begun: dict[object, float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look after what is asked of the catalog within the block."""
        request = object()
        with self._lock:
            self._begun[request] = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="isoflop-watchdog", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._begun[request]

    def _run(self) -> None:
        heard = float("-inf")
        while True:
            time.sleep(TICK)
            with self._lock:
                if not self._begun:
                    self._thread = None
                    return
                begun = min(self._begun.values())
            if time.monotonic() < max(begun + LOOK_AFTER, heard + LOOK_EVERY):
                continue
            if is_silent(self._address, max(0.1, self._patience() - LOOK_AFTER)):
                shut_down(self._address)
            else:
                heard = time.monotonic()


def shut_down(address: SharedAddress) -> int:
    """Shut down every connection of this process to the catalog's server; returns how many there were."""
    port, hosts = server_port(address), _hosts(address)
    count = 0
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as connection:
                if _is_of(connection.getpeername(), hosts, port):
                    connection.shutdown(socket.SHUT_RDWR)
                    count += 1
    return count


def _is_of(peer: object, hosts: set[str], port: int) -> bool:
    match peer:
        case (str() as host, int() as found, *_):
            return found == port and host.removeprefix("::ffff:") in hosts
        case str() as path:
            return path.endswith(f"/.s.PGSQL.{port}")
        case _:
            return False


def _hosts(address: SharedAddress) -> set[str]:
    """Return the numeric addresses of the server; none for one on this machine's own sockets."""
    found: set[str] = set()
    for place in server_places(address):
        if not isinstance(place, str):
            with contextlib.suppress(OSError):
                found |= {str(each[4][0]) for each in socket.getaddrinfo(place[0], None)}
    return found
