"""What an error of the shared catalog means: somebody else came between, or nobody answers."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import StoreError

if TYPE_CHECKING:
    from isoflop.lakehouse.address import SharedAddress

FIRST_PAUSE = 0.02  # seconds
LONGEST_PAUSE = 2.0

AWAY = re.compile(
    r"connect|server closed|terminating|shutting down|starting up|no connection|Connection refused|timeout expired|"
    r"SSL (SYSCALL|connection)|could not (receive|send)|recovery mode|broken pipe",
    re.IGNORECASE,
)
REFUSED = re.compile(
    r"password authentication failed|no password supplied|role \".*\" does not exist|no pg_hba.conf entry|"
    r"database \".*\" does not exist|permission denied",
    re.IGNORECASE,
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


def is_conflict(error: Exception) -> bool:
    """Return whether another transaction came between, so that the same work may be done again."""
    text = str(error)
    return "conflict" in text.lower() or ("Failed to commit DuckLake transaction" in text and not is_away(error))


def is_away(error: Exception) -> bool:
    """Return whether the catalog, rather than the statement, is the reason."""
    import duckdb

    if not isinstance(error, duckdb.Error) or is_refused(error):
        return False
    of_catalog = "ostgres" in str(error) or "libpq" in str(error) or "ducklake" in str(error).lower()
    return of_catalog and bool(AWAY.search(str(error)))


def is_refused(error: Exception) -> bool:
    """Return whether PostgreSQL turned this user or database away."""
    return bool(REFUSED.search(str(error)))


def reason(error: Exception) -> str:
    """Return the part of an error that a person can use: PostgreSQL's own words."""
    text = str(error)
    found = re.search(r"(FATAL: .*|connection to server .*|server closed .*|could not .*)", text)
    return (found.group(1) if found else text.splitlines()[0]).strip()


def pause(tries: int) -> float:
    """Return how long to wait before the next try [s]: doubling, capped, with jitter."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(tries, 10)) * random.uniform(0.5, 1.5))
