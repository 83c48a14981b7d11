"""Who keeps a lake's data: our own open store, the shared catalog, or the process that holds the file.

Whoever it is may go away at any time. Then the next request finds another, or becomes the holder itself.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from isoflop.lakehouse.address import Address, FileAddress
from isoflop.lakehouse.backends.backend import Backend
from isoflop.lakehouse.backends.catalog import LakeHeld, StoreDead
from isoflop.lakehouse.backends.store import Store
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.rpc.holder import HolderGone

if TYPE_CHECKING:
    from isoflop.lakehouse.rpc.serving import LakeServer

WAIT_FOR_HOLDER = 10.0  # seconds a command waits for another short command to let go of the file
TRIES = 4  # how often a request goes to the next holder when the last one died over it

Result = TypeVar("Result")


class Reach:
    """The way to the data of one lake.

    Parameters
    ----------
    place : the lake's address
    is_read_only : whether it is opened for reading only; then no file is kept open between two requests
    """

    def __init__(self, place: Address, is_read_only: bool = False) -> None:
        self.place, self.is_read_only = place, is_read_only
        self.path: Path = place.path
        self.is_new = not is_read_only and isinstance(place, FileAddress) and not self.path.exists()
        self.serves = False
        self.lock = threading.RLock()
        self._backend: Backend | None = None
        self._server: LakeServer | None = None
        self._stays = 0

    @property
    def is_open(self) -> bool:
        """Whether somebody who keeps the data has been found."""
        return self._backend is not None

    @property
    def is_holder(self) -> bool:
        """Whether this process reaches the data itself, rather than asking the one that holds the file."""
        is_shared = not isinstance(self.place, FileAddress)
        return isinstance(self._backend, Store) or (is_shared and self._backend is not None)

    @property
    def spool_folder(self) -> Path:
        """The folder in which workers leave finished batches."""
        return self.path.with_name(self.path.name + ".spool")

    def ask(self, action: Callable[[Backend, int], Result], repeats: Callable[[], bool] = lambda: True) -> Result:
        """Do something with whoever keeps the lake; with the next one when the last one died over it.

        Parameters
        ----------
        action : gets the backend and how often it was tried before
        repeats : whether it can be done again when nobody knows if it was done
        """
        tries = 0
        with self.staying():
            while True:
                backend = self.reach()
                try:
                    return action(backend, tries)
                except HolderGone:
                    self.forget(backend)
                    tries += 1
                    if tries == TRIES or not repeats():
                        raise
                except (StoreDead, LakeHeld):
                    self.forget(backend)
                    raise

    @contextlib.contextmanager
    def staying(self) -> Iterator[None]:
        """Keep a lake that is open for reading only open for the whole block, and let go of it after."""
        with self.lock:
            self._stays += 1
        try:
            yield
        finally:
            with self.lock:
                self._stays -= 1
                backend = self._backend
                if (
                    backend is not None
                    and self.is_read_only
                    and not self._stays
                    and isinstance(self.place, FileAddress)
                ):
                    self.forget(backend)

    def reach(self) -> Backend:
        """Return the open store, or a client of the process that has it open."""
        with self.lock:
            if self._backend is not None:
                return self._backend
            until = time.monotonic() + WAIT_FOR_HOLDER
            while True:
                try:
                    self._backend = self._open()
                    self.serve()
                    return self._backend
                except LakeHeld:
                    from isoflop.lakehouse.rpc.client import LakeClient

                    client = LakeClient.find(self.path, self.is_read_only)
                    if client is not None:
                        self._backend = client
                        return client
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.1)

    def take_over(self) -> None:
        """Become the holder when the process that was has gone, or when our own store has died."""
        with self.lock:
            if self.is_holder or self.is_read_only:
                return
            with contextlib.suppress(StoreError):
                self._backend = self._open()
                self.serve()

    def serve(self) -> None:
        """Answer other processes, when that is wanted and the file is ours."""
        if self.serves and isinstance(self._backend, Store) and self._server is None:
            from isoflop.lakehouse.rpc.serving import Answering, LakeServer

            answering = Answering(lambda act: self.ask(lambda backend, _: act(backend)))
            self._server = LakeServer(self.path, answering)

    def close_silent_sessions(self) -> None:
        """Close the sessions of other processes that have gone."""
        if self._server is not None:
            self._server.answering.close_silent()

    @property
    def num_sessions(self) -> int:
        """How many sessions other processes have here."""
        return 0 if self._server is None else self._server.answering.num_sessions

    def stop_serving(self) -> None:
        """Answer nobody any more."""
        self.serves = False
        if self._server is not None:
            self._server.close()
            self._server = None

    def _open(self) -> Backend:
        if isinstance(self.place, FileAddress):
            if self.is_read_only:
                from isoflop.lakehouse.backends.read_only import ReadOnlyStore

                return ReadOnlyStore(self.path)
            return Store(self.path, self.spool_folder)
        from isoflop.lakehouse.shared import SharedStore

        store = SharedStore(self.place, self.spool_folder, is_read_only=self.is_read_only)
        self.is_new = self.is_new or store.is_new
        return store

    def forget(self, backend: Backend) -> None:
        """Give up a store that has died or a holder that has gone; the next request finds another."""
        with self.lock:
            if self._backend is backend:
                self._backend = None
        with contextlib.suppress(Exception):
            backend.close()

    def close(self) -> None:
        """Let go of the lake."""
        with self.lock:
            backend, self._backend = self._backend, None
            if backend is not None:
                backend.close()
