"""The lakehouse: open it, ask it, record into it.

`Lakehouse` is the one stateful object of the library. It opens the lake itself, asks the process that keeps it, or has
one started that does; callers see no difference.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from isoflop.lakehouse.address import FileAddress, parse_address
from isoflop.lakehouse.answers import Answer
from isoflop.lakehouse.backends.backend import Backend, Parameters, Relations, Statement
from isoflop.lakehouse.backends.leftovers import adopt_spools
from isoflop.lakehouse.backends.store import Store
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.ingest.forks import flush_open
from isoflop.lakehouse.ingest.writer import Drained
from isoflop.lakehouse.rpc.access import Access
from isoflop.lakehouse.rpc.committing import Committing
from isoflop.lakehouse.rpc.greeting import greet, say_lost
from isoflop.lakehouse.runlog import RunLog
from isoflop.lakehouse.runs import registry
from isoflop.lakehouse.runs.given_counts import counts_given
from isoflop.lakehouse.runs.metrics import Directed, set_direction
from isoflop.lakehouse.runs.records import RunRecord
from isoflop.lakehouse.saying import say
from isoflop.lakehouse.session import Session
from isoflop.lakehouse.sql.bare_names import run_named
from isoflop.lakehouse.sql.cancellation import OnProgress, Watches
from isoflop.lakehouse.sql.read_only_guard import refused
from isoflop.lakehouse.sql.statements import only_reads

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse.backends.backend import Connection


Asked: TypeAlias = "Lakehouse | Session"  # whom statements go to
Language = Callable[[Asked, str, Parameters, Relations], Answer]
Result = TypeVar("Result")


class Lakehouse:
    """An open lakehouse.

    Parameters
    ----------
    address : path of the `.duckdb` file, or `postgresql://…?data=…`; None takes ISOFLOP_LAKE, else `./isoflop.duckdb`
    language : what `sql` runs; plain DuckDB when None
    hold : open nothing here, but ask the lake's keeper, which is started where there is none: for a process that
        stays, trains or forks; others can use the lake meanwhile
    drains : commit what an earlier process left in the spool
    read_only : answer queries and refuse everything else: changes, files, extensions, settings

    Raises
    ------
    UsageError : if the address is none
    StoreError : if the lake cannot be opened and no process that holds it answers
    """

    has_transactions = False  # each statement has a connection of its own; a session's share one

    def __init__(
        self,
        address: str | os.PathLike[str] | None = None,
        *,
        language: Language | None = None,
        hold: bool = False,
        drains: bool = True,
        read_only: bool = False,
    ) -> None:
        self._place = parse_address(address)
        if isinstance(self._place, FileAddress) and not read_only:
            adopt_spools(self._place)
        self._access = Access(self._place, is_read_only=read_only, is_kept=hold and not read_only)
        self.path: Path = self._place.path
        self.is_read_only = read_only
        self._language = language
        self._watches = Watches()
        self._complaint: str | None = None
        self._committing = Committing(self._access, self._drain_quietly)
        self._options: dict[str, Any] = {"language": language, "hold": hold, "drains": drains, "read_only": read_only}
        _open.add(self)
        if read_only:
            self._ask(lambda backend, _: None)
        elif hold:
            greet(self._access)
        else:
            self._access.resolve()
            if drains and self.is_owner:
                self._drain_quietly()
                say_lost(self._mark_lost())

    @classmethod
    def open(
        cls, address: str | os.PathLike[str] | None = None, *, language: Language | None = None, hold: bool = False
    ) -> Lakehouse:
        """Open the lake at `address`, making it when it is missing."""
        return cls(address, language=language, hold=hold)

    @property
    def address(self) -> str:
        """The path of the lake's file, or the URL of its catalog; never with a password."""
        return str(self._place)

    @property
    def is_shared(self) -> bool:
        """Whether the lake has a shared catalog rather than a file."""
        return not isinstance(self._place, FileAddress)

    @property
    def is_new(self) -> bool:
        """Whether opening the lake made it."""
        return self._access.is_new

    @property
    def spool_folder(self) -> Path:
        """The folder in which workers leave finished batches."""
        return self._access.spool_folder

    @property
    def is_owner(self) -> bool:
        """Whether this process reaches the rows itself, rather than asking the one that keeps the lake."""
        return self._access.is_owner

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

        def ask(text: str) -> pa.Table:
            return self._ask(lambda held, _: held.query(text, parameters, relations), repeats=lambda: only_reads(text))

        with self._watches.watched():
            return run_named(sql, ask)

    def write(self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None) -> None:
        """Run statements in one transaction: all of them or none, once even if the holder dies meanwhile."""
        self._refuse_when_read_only("nothing is written")
        token = secrets.token_hex(8)

        def run(backend: Backend, tries: int) -> None:
            # Our own file answers for itself; whoever else may have committed without our hearing of it.
            is_certain = isinstance(backend, Store) and tries == 0
            backend.write(statements, relations, None if is_certain else token)

        self._ask(run)

    def sql(
        self,
        text: str,
        parameters: Parameters = None,
        *,
        relations: Relations = None,
        progress: OnProgress | None = None,
    ) -> Answer:
        """Answer a statement of the isoflop language, or any DuckDB statement.

        Parameters
        ----------
        text : one or more statements; the answer is that to the last
        parameters : values for `?` or `$name`
        relations : Arrow tables visible under their names
        progress : called from time to time with how far the answer is

        Raises
        ------
        StatementError, duckdb.Error : for what cannot be answered, with a caret in `text`
        Interrupted : when `interrupt` was called meanwhile
        """
        with self._watches.watched(progress), self.staying():
            return self.answer(self, text, parameters, relations)

    def answer(self, asked: Asked, text: str, parameters: Parameters = None, relations: Relations = None) -> Answer:
        """Answer a text by asking `asked`: this lake, or a session of it."""
        if self._language is None:
            return Answer(asked.query(text, parameters, relations), statement=text)
        return self._language(asked, text, parameters, relations)

    def session(self) -> Session:
        """Open a session, in which temporary tables, SET, USE, ATTACH, PREPARE and transactions last."""
        return Session(self)

    def staying(self) -> contextlib.AbstractContextManager[None]:
        """Keep a lake that is open for reading only open for the whole block."""
        return self._access.staying()

    def connection(self) -> Connection:
        """Return a connection that lasts, for a session."""
        return self._ask(lambda backend, _: backend.connection())

    def interrupt(self) -> None:
        """Stop what this lake is answering, from any thread; it can be asked again at once."""
        self._watches.cancel()

    def drain(self) -> Drained:
        """Commit what lies in the spool, here or in the process that holds the lake.

        Raises
        ------
        StoreError : if the store cannot take it; the spool keeps it
        """
        self._refuse_when_read_only("the spool is left alone")
        return self._ask(lambda backend, _: backend.drain())

    def compact(self) -> None:
        """Rewrite the points clustered by metric, run and step, and give freed space back."""
        self._refuse_when_read_only("it is not rewritten")
        self._ask(lambda backend, _: backend.compact())

    def snapshot(self, to: str | os.PathLike[str]) -> None:
        """Write a consistent copy of the lake into a new DuckDB file, whoever writes meanwhile.

        Raises
        ------
        StoreError : if the file exists or cannot be written
        """
        self._refuse_when_read_only("no file is written")
        path = Path(to).expanduser().absolute()
        if path.exists():
            raise StoreError(f"{path} exists; a snapshot overwrites nothing", hint="name another file")
        self._ask(lambda backend, _: backend.snapshot(path))

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

    def metric(self, name: str, *, best: str | None) -> Directed:
        """Say which value of a metric is its best: "highest", "lowest", or None for what its name says.

        `finals` follows at once.

        Raises
        ------
        UsageError : if `best` is none of them
        """
        self._refuse_when_read_only("no direction is kept")
        return set_direction(self, name, best)

    def run(
        self,
        family: str,
        config: Mapping[str, object] | None = None,
        *,
        seed: int = 0,
        name: str | None = None,
        tags: Sequence[str] = (),
        resume: bool | int = False,
        **counts: Any,
    ) -> RunLog:
        """Open a run of your own training code; use it in a `with` block.

        Parameters
        ----------
        family : a name for the kind of training, for example "mine"
        config : the settings that identify the run; scalars become columns of `runs`
        resume : whether it goes on where its last attempt was, whose points then stay in `curves`: True for up to the
            first step that is logged, a number for up to and with that step
        counts : params, params_non_embedding, tokens, steps, flops, memcpy_bytes, where known: numbers, or "7B"; one
            that is a setting too is read from there

        Raises
        ------
        RecordError : for what is no count, or said otherwise in `config`, and settings that differ only in case

        Example
        -------
        >>> import isoflop, tempfile
        >>> with tempfile.TemporaryDirectory() as folder, isoflop.open(f"{folder}/runs.duckdb") as lake:
        ...     with lake.run("mine", {"width": 64}, params=1e6, tokens=2e7) as run:
        ...         run.log(step=1, loss=3.5)
        ...     lake.query("SELECT status, width, loss FROM runs").to_pylist()
        [{'status': 'finished', 'width': 64, 'loss': 3.5}]
        """
        settings, words = dict(config or {}), tuple(tags)
        given = counts_given(settings, counts)
        record = RunRecord(family=family, config=settings, seed=seed, name=name, source="log", tags=words, **given)
        self._refuse_when_read_only("nothing is recorded")
        return RunLog(self._committing, record, resume)

    # Having it kept

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Have the lake kept while the block runs: its keeper commits the spool and answers other processes."""
        self._refuse_when_read_only("it is not kept for others")
        if not self._access.is_kept:
            self._access.is_kept = True
            self._access.close()
            greet(self._access)
        self._committing.begin()
        try:
            yield
        finally:
            self._committing.leave()

    def _drain_quietly(self) -> bool:
        """Commit the spool; say once, not every time, that the store takes nothing. Returns whether it did."""
        try:
            self.drain()
        except StoreError as error:
            if self._complaint is None:
                say(f"{error}")
            self._complaint = str(error)
            return False
        self._complaint = None
        return True

    def _mark_lost(self) -> int:
        with contextlib.suppress(StoreError):
            return registry.mark_lost(self)
        return 0

    # Reaching the rows

    def _ask(self, action: Callable[[Backend, int], Result], repeats: Callable[[], bool] = lambda: True) -> Result:
        return self._access.ask(action, repeats)

    def _reach(self) -> Backend:
        return self._access.resolve()

    def _refuse_when_read_only(self, what: str) -> None:
        if self.is_read_only:
            raise refused(what)

    def close(self) -> None:
        """Wait, for some seconds at most, until what was recorded here is committed, and let go of the lake."""
        if self.is_owner and not self.is_read_only:
            self._drain_quietly()
        self._committing.close()
        self._access.close()

    def __enter__(self) -> Lakehouse:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Lakehouse({self.address!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """A process that the lake is sent to opens it by its address, and asks its keeper."""
        return _sent, (self.address, {**self._options, "hold": not self.is_read_only})


def _sent(address: str, options: Mapping[str, Any]) -> Lakehouse:
    return Lakehouse(address, **options)


_open: weakref.WeakSet[Lakehouse] = weakref.WeakSet()


def _leave() -> None:
    """Close what a script has left open, so that the lake's file is whole when the script has ended."""
    flush_open()
    for lake in list(_open):
        with contextlib.suppress(Exception):
            lake.close()


atexit.register(_leave)
