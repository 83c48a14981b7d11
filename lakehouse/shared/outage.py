"""What an error of the shared catalog means, and what is done about it.

What a connection can still do decides, since the same outage has many wordings: a fresh cursor is asked
something trivial (`shared.life`). Words only tell people what happened, and a conflict from an error.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.shared.life import State

if TYPE_CHECKING:
    import duckdb

    from isoflop.lakehouse.address import SharedAddress

FIRST_PAUSE = 0.02  # seconds
LONGEST_PAUSE = 0.5  # seconds
CONFLICTS = 40  # how often a transaction starts again when others come between
REOPENINGS = 3  # how often one request attaches the lake anew
AGAIN = 2  # how often what went wrong for no reason to be seen is done again

AWAY = re.compile(
    r"connect|server closed|terminating|shutting down|starting up|no connection|Connection refused|timeout expired|"
    r"SSL (SYSCALL|connection)|could not (receive|send)|recovery mode|broken pipe|unsuccessful query result",
    re.IGNORECASE,
)
REFUSED = re.compile(
    r"password authentication failed|no password supplied|role \".*\" does not exist|no pg_hba.conf entry|"
    r"database \".*\" does not exist|permission denied",
    re.IGNORECASE,
)
# In an error of what lies under a statement; a cursor of its own has no transaction that the statement aborted.
BENEATH = re.compile(r"ducklake|postgres|libpq|Current transaction is aborted", re.IGNORECASE)
CONFLICT = re.compile(
    r"conflict|could not serialize|deadlock detected|concurrently updated|duplicate key value", re.IGNORECASE
)


class CatalogAway(StoreError):
    """The catalog of a shared lake does not answer."""

    def __init__(self, address: SharedAddress | str, error: Exception) -> None:
        super().__init__(
            f"the catalog {address} does not answer: {reason(error)}",
            hint="nothing logged is lost, it waits in the spool; try again when PostgreSQL is back",
        )


class CatalogRefused(StoreError):
    """The catalog of a shared lake answers, but not to us."""

    def __init__(self, address: SharedAddress, error: Exception) -> None:
        is_missing = bool(re.search(r'database ".*" does not exist', str(error)))
        super().__init__(
            f"the catalog {address} refuses us: {reason(error)}",
            hint=f"createdb {address.database}"
            if is_missing
            else "the password goes into PGPASSWORD or ~/.pgpass, the user into the address",
        )


class LakeBroken(StoreError):
    """DuckDB gives the attached lake up again and again."""

    def __init__(self, address: SharedAddress | str, error: Exception) -> None:
        super().__init__(
            f"{address} was attached anew {REOPENINGS} times, and each time DuckDB gave it up: {reason(error)}",
            hint="what is committed is safe, what is not waits in the spool; try again, or ask less at once",
        )


class Crowded(StoreError):
    """Others committed each time before this transaction could."""

    def __init__(self, address: SharedAddress | str) -> None:
        super().__init__(
            f"other processes wrote to {address} each of the {CONFLICTS} times that this one tried",
            hint="nothing was written; try again",
        )


class Uncertain(StoreError):
    """Nobody knows whether a statement that changes something was carried out."""

    def __init__(self, address: SharedAddress | str, error: Exception) -> None:
        super().__init__(
            f"the catalog {address} went away while it answered, so it is not known whether the statement was "
            f"carried out: {reason(error)}",
            hint="look whether it was before you repeat it",
        )


class SessionLost(StoreError):
    """The connection of a session has died with DuckDB's database object."""

    def __init__(self, address: SharedAddress | str, error: Exception) -> None:
        super().__init__(
            f"the session's connection to {address} is lost: {reason(error)}; its temporary tables, settings and "
            "open transaction are gone",
            hint="open a new session (leave the shell and start it again)",
        )


class Recovery:
    """One request: what it may do again after an error, how often, and until when.

    Parameters
    ----------
    address : of the lake, for messages
    patience : for how long a catalog that is away is waited for [s]
    look : what the attached lake can still do
    reopen : attach the lake anew
    may_repeat : whether the request may be done again when it is not known whether it was done
    """

    def __init__(
        self,
        address: SharedAddress,
        patience: float,
        look: Callable[[], State],
        reopen: Callable[[], None],
        may_repeat: Callable[[], bool] = lambda: True,
    ) -> None:
        self._address, self._look, self._reopen, self._may_repeat = address, look, reopen, may_repeat
        self._until = time.monotonic() + patience
        self._outages = self._conflicts = self._reopenings = self._blind = 0

    def after(self, error: duckdb.Error) -> None:
        """Return when the request can be tried again.

        Raises
        ------
        StoreError : if it cannot
        duckdb.Error : `error` itself, if it is the statement's own
        """
        import duckdb

        if isinstance(error, duckdb.InterruptException):
            raise error
        state = self._look()
        if state is State.ANSWERS and not is_away(error):
            self._after_own(error)
            return
        if is_refused(error):
            raise CatalogRefused(self._address, error) from error
        if not self._may_repeat():
            if state is State.DEAD:
                self._reopen()
            raise Uncertain(self._address, error) from error
        if state is State.DEAD:
            if self._reopenings == REOPENINGS:
                raise LakeBroken(self._address, error) from error
            self._reopenings += 1
            self._reopen()
            return
        if time.monotonic() > self._until:
            raise CatalogAway(self._address, error) from error
        self._outages += 1
        time.sleep(pause(self._outages + 3))

    def _after_own(self, error: duckdb.Error) -> None:
        """Go on after an error of the request itself: others came between, or it is wrong."""
        if is_conflict(error):
            if self._conflicts == CONFLICTS:
                raise Crowded(self._address) from error
            self._conflicts += 1
            time.sleep(pause(self._conflicts))
        elif is_of_statement(error) or not self._may_repeat():
            raise error
        elif self._blind < AGAIN:
            self._blind += 1
        elif BENEATH.search(str(error)) and not self._reopenings:  # what DuckLake remembers of the catalog is wrong
            self._reopenings += 1
            self._reopen()
        else:
            raise error


def is_conflict(error: Exception) -> bool:
    """Return whether another transaction came between, so that the same work may be done again."""
    text = str(error)
    return bool(CONFLICT.search(text)) or ("Failed to commit DuckLake transaction" in text and not is_away(error))


def is_away(error: Exception) -> bool:
    """Return whether an error says that the catalog, rather than the statement, is the reason."""
    import duckdb

    if not isinstance(error, duckdb.Error) or is_refused(error):
        return False
    return bool(BENEATH.search(str(error)) and AWAY.search(str(error)))


def is_refused(error: Exception) -> bool:
    """Return whether PostgreSQL turned this user or database away."""
    return bool(REFUSED.search(str(error))) and ("ostgres" in str(error) or "FATAL" in str(error))


def is_of_statement(error: Exception) -> bool:
    """Return whether an error can only mean that the statement is wrong."""
    import duckdb

    return not BENEATH.search(str(error)) and isinstance(
        error,
        duckdb.ParserException
        | duckdb.SyntaxException
        | duckdb.BinderException
        | duckdb.CatalogException
        | duckdb.ConversionException
        | duckdb.ConstraintException
        | duckdb.OutOfRangeException
        | duckdb.PermissionException
        | duckdb.NotImplementedException,
    )


def reason(error: Exception) -> str:
    """Return the part of an error that a user can use: PostgreSQL's own words."""
    text = str(error)
    found = re.search(r"(FATAL: .*|connection to server .*|server closed .*|could not .*)", text)
    return (found.group(1) if found else text.splitlines()[0] if text else "no reason given").strip()


def pause(tries: int) -> float:
    """Return how long to wait before the next try [s]: doubling, capped, with jitter."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(tries, 10)) * random.uniform(0.5, 1.5))
