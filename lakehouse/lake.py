"""The lakehouse: open it, ask it, record into it.

`Lakehouse` is the one stateful object of the library. It either holds the lake's file or, when
another process does, asks that process; callers see no difference. With `hold()` it keeps the file,
commits the spool twice a second and answers others; when the holder leaves, the next one takes over.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse import registry
from isoflop.lakehouse.answers import Answer
from isoflop.lakehouse.catalog import LakeHeld, resolve
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.records import RunRecord
from isoflop.lakehouse.runlog import RunLog
from isoflop.lakehouse.store import Parameters, Statement, Store
from isoflop.lakehouse.writer import Drained

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse.serving import LakeClient, LakeServer, Request

WAIT_FOR_HOLDER = 10.0  # seconds a command waits for another short command to let go of the file
DRAIN_EVERY = 0.5  # seconds between commits of the spool while holding

Language = Callable[["Lakehouse", str, Parameters], Answer]


class Lakehouse:
    """An open lakehouse.

    Parameters
    ----------
    address : path of the `.duckdb` file; None takes ISOFLOP_LAKE, else `./isoflop.duckdb`
    language : what `sql` runs; plain DuckDB when None
    hold : keep the file and answer other processes until `close`
    drains : commit what an earlier process left in the spool

    Raises
    ------
    StoreError : if the lake cannot be opened and nobody who holds it answers
    """

    def __init__(
        self,
        address: str | os.PathLike[str] | None = None,
        *,
        language: Language | None = None,
        hold: bool = False,
        drains: bool = True,
    ) -> None:
        self.path: Path = resolve(address)
        self.is_new = not self.path.exists()
        self._language = language
        self._backend: Store | LakeClient | None = None
        self._server: LakeServer | None = None
        self._lock = threading.RLock()
        self._keeper: threading.Thread | None = None
        self._stop = threading.Event()
        self._holds = 0
        self._complaint: str | None = None
        self._reach()
        if drains and self.is_holder:
            self._drain_quietly()
        if hold:
            self._start_keeping()

    @classmethod
    def open(
        cls, address: str | os.PathLike[str] | None = None, *, language: Language | None = None, hold: bool = False
    ) -> Lakehouse:
        """Open the lake at `address`, making it when it is missing."""
        return cls(address, language=language, hold=hold)

    @property
    def address(self) -> str:
        """The path of the lake's file."""
        return str(self.path)

    @property
    def spool_folder(self) -> Path:
        """The folder in which workers leave finished batches."""
        return self.path.with_name(self.path.name + ".spool")

    @property
    def is_holder(self) -> bool:
        """Whether this process has the file open, rather than asking the one that has."""
        return isinstance(self._backend, Store)

    # Asking and writing

    def query(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Run plain DuckDB statements and return the last one's rows.

        Parameters
        ----------
        sql : one or more DuckDB statements
        parameters : values for `?` or `$name`
        relations : Arrow tables visible to the statements under their names

        Raises
        ------
        duckdb.Error : as DuckDB words it, wherever the statement ran
        """
        return self._ask([(sql, parameters)], relations or {}, is_write=False)

    def write(self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None) -> None:
        """Run statements in one transaction: all of them or none."""
        self._ask(list(statements), relations or {}, is_write=True)

    def sql(self, text: str, parameters: Parameters = None) -> Answer:
        """Answer a statement of the isoflop language, or any DuckDB statement."""
        if self._language is None:
            return Answer(self.query(text, parameters), statement=text)
        return self._language(self, text, parameters)

    def drain(self) -> Drained:
        """Commit what lies in the spool, here or in the process that holds the lake; counts are of this process.

        Raises
        ------
        StoreError : if the store cannot take it; the spool keeps it
        """
        backend = self._reach()
        if isinstance(backend, Store):
            return backend.drain()
        self._ask([], {}, is_write=True)
        return Drained()

    # Recording

    def record_runs(self, runs: Sequence[RunRecord]) -> int:
        """Add runs that are not known yet and return how many were new."""
        return registry.record_runs(self, runs)

    def record_sweep(self, *, name: str, spec: str, runs: Sequence[RunRecord], sweep_id: str | None = None) -> str:
        """Record a sweep and its runs; recording the same sweep again changes nothing. Returns its id."""
        return registry.record_sweep(self, name=name, spec=spec, runs=runs, sweep_id=sweep_id)

    def begin_attempts(self, run_ids: Sequence[str], driver: str) -> dict[str, int]:
        """Reserve the next attempt of each run for `driver` and return their numbers."""
        return registry.begin_attempts(self, run_ids, driver)

    def end_attempt(
        self, run_id: str, attempt: int, status: str, reason: str | None = None, error: str | None = None
    ) -> None:
        """Say how an attempt ended when its worker cannot; an end that the worker wrote is kept."""
        registry.end_attempt(self, run_id, attempt, status, reason, error)

    def run(
        self,
        family: str,
        config: Mapping[str, object] | None = None,
        *,
        seed: int = 0,
        name: str | None = None,
        tags: Sequence[str] = (),
        **counts: Any,
    ) -> RunLog:
        """Open a run of your own training code; use it in a `with` block.

        Parameters
        ----------
        family : a name for the kind of training, for example "mine"
        config : the settings that identify the run; scalars become columns of `runs`
        counts : params, params_non_embedding, tokens, steps, flops, memcpy_bytes, where known

        Example
        -------
        >>> import isoflop, tempfile
        >>> with tempfile.TemporaryDirectory() as folder, isoflop.open(f"{folder}/runs.duckdb") as lake:
        ...     with lake.run("mine", {"width": 64}, params=1e6, tokens=2e7) as run:
        ...         run.log(step=1, loss=3.5)
        ...     lake.query("SELECT status, width, loss FROM runs").to_pylist()
        [{'status': 'finished', 'width': 64, 'loss': 3.5}]
        """
        record = RunRecord(
            family=family, config=dict(config or {}), seed=seed, name=name, source="log", tags=tuple(tags), **counts
        )
        return RunLog(self, record)

    # Holding the file

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the lake while the block runs: commit its spool, answer other processes."""
        self._start_keeping()
        try:
            yield
        finally:
            self._stop_keeping()

    def _start_keeping(self) -> None:
        with self._lock:
            self._holds += 1
            if self._keeper is not None:
                return
            self._reach()
            self._serve()
            self._stop.clear()
            self._keeper = threading.Thread(target=self._keep, name="isoflop-writer", daemon=True)
            self._keeper.start()

    def _stop_keeping(self) -> None:
        with self._lock:
            self._holds -= 1
            keeper = self._keeper if self._holds == 0 else None
        if keeper is None:
            return
        self._stop.set()
        keeper.join()
        with self._lock:
            self._keeper = None
            if self._server is not None:
                self._server.close()
                self._server = None
        self._drain_quietly()

    def _keep(self) -> None:
        while not self._stop.wait(DRAIN_EVERY):
            self._take_over()
            self._drain_quietly()

    def _take_over(self) -> None:
        """Become the holder when the process that was has gone."""
        with self._lock:
            if isinstance(self._backend, Store):
                return
            with contextlib.suppress(StoreError):
                self._backend = Store(self.path, self.spool_folder)
                self._serve()

    def _drain_quietly(self) -> None:
        try:
            self.drain()
            self._complaint = None
        except StoreError as error:
            if self._complaint is None:
                print(f"isoflop: {error}", file=sys.stderr)
            self._complaint = str(error)

    def _serve(self) -> None:
        if isinstance(self._backend, Store) and self._server is None:
            from isoflop.lakehouse.serving import LakeServer

            self._server = LakeServer(self.path, self._answer)

    def _answer(self, request: Request, relations: Mapping[str, pa.Table]) -> pa.Table:
        return self._ask(request.statements, relations, is_write=request.is_write)

    # Reaching the file

    def _ask(self, statements: Sequence[Statement], relations: Mapping[str, pa.Table], *, is_write: bool) -> pa.Table:
        backend = self._reach()
        if isinstance(backend, Store):
            if not statements:
                backend.drain()
                return _nothing()
            if is_write:
                backend.write(statements, relations)
                return _nothing()
            ((sql, parameters),) = statements
            return backend.query(sql, parameters, relations)
        from isoflop.lakehouse.serving import HolderGone, Request

        try:
            return backend.ask(Request(statements, is_write), relations)
        except HolderGone:
            with self._lock:
                self._backend = None
            if is_write:
                raise
            return self._ask(statements, relations, is_write=False)

    def _reach(self) -> Store | LakeClient:
        """Return the open store, or a client of the process that has it open."""
        with self._lock:
            if self._backend is not None:
                return self._backend
            until = time.monotonic() + WAIT_FOR_HOLDER
            while True:
                try:
                    self._backend = Store(self.path, self.spool_folder)
                    return self._backend
                except LakeHeld:
                    from isoflop.lakehouse.serving import LakeClient

                    client = LakeClient.find(self.path)
                    if client is not None:
                        self._backend = client
                        return client
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.1)

    def close(self) -> None:
        """Commit what is spooled and let go of the file."""
        while self._holds:
            self._stop_keeping()
        with self._lock:
            if self._backend is not None:
                if isinstance(self._backend, Store):
                    self._drain_quietly()
                self._backend.close()
                self._backend = None

    def __enter__(self) -> Lakehouse:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Lakehouse({self.address!r})"


def _nothing() -> pa.Table:
    import pyarrow as pa

    return pa.table({})
