"""What can still be done: with an attached lake, and with the catalog itself."""

from __future__ import annotations

import os
import socket
from enum import Enum, auto
from typing import TYPE_CHECKING

from isoflop.lakehouse.backends.connection import never_free
from isoflop.lakehouse.shared.extensions import load_extension

if TYPE_CHECKING:
    import duckdb

    from isoflop.lakehouse.address import SharedAddress

DEFAULT_PORT = 5432  # of PostgreSQL
SOCKET_FOLDERS = ("/var/run/postgresql", "/tmp")  # where libpq looks when no host is named: Debian's, PostgreSQL's
# What a client may say first: is encryption to be had? A living server answers with one letter, before it asks
# who we are. Source: PostgreSQL documentation, "Message Formats", SSLRequest.
GREETING = (8).to_bytes(4) + (80877103).to_bytes(4)


class State(Enum):
    """What an attached lake can still do."""

    ANSWERS = auto()
    AWAY = auto()  # DuckDB works, the catalog does not answer
    DEAD = auto()  # DuckDB has given its database object up


def is_dead(con: duckdb.DuckDBPyConnection) -> bool:
    """Return whether DuckDB has given the database up."""
    import duckdb

    try:
        con.cursor().execute("SELECT 1")
    except duckdb.Error:
        return True
    return False


def let_go(con: duckdb.DuckDBPyConnection) -> None:
    """Close a connection after an error, unless it would have to roll back what can no longer be rolled back."""
    import duckdb

    try:
        con.execute("ROLLBACK")
    except duckdb.TransactionException as error:
        is_safe = "no transaction is active" in str(error) and not is_dead(con)
    except duckdb.Error:
        is_safe = False
    else:
        is_safe = True
    if is_safe:
        con.close()
    else:
        never_free(con)


def look(con: duckdb.DuckDBPyConnection, catalog: str) -> State:
    """Ask an attached lake something trivial, outside of every transaction."""
    import duckdb

    if is_dead(con):
        return State.DEAD
    cursor = con.cursor()
    try:
        cursor.execute(f"FROM postgres_query('__ducklake_metadata_{catalog}', 'SELECT 1')").fetchall()
    except duckdb.Error:
        let_go(cursor)
        return State.DEAD if is_dead(con) else State.AWAY
    cursor.close()
    return State.ANSWERS


def look_afresh(address: SharedAddress) -> State:
    """Ask the catalog something trivial through a connection of its own."""
    import duckdb

    con = duckdb.connect(config={"threads": 1})
    try:
        load_extension(con, "postgres_scanner")
        text = address.connection_string.replace("'", "''")
        con.execute(f"ATTACH '{text}' AS asked (TYPE postgres)")
        con.execute("FROM postgres_query('asked', 'SELECT 1')").fetchall()
    except duckdb.Error:
        return State.AWAY
    finally:
        let_go(con)
    return State.ANSWERS


def is_silent(address: SharedAddress, seconds: float) -> bool:
    """Return whether the catalog's server says nothing at all for so long; a refusal is an answer."""
    for place in server_places(address):
        try:
            with _connected(place, seconds) as connection:
                connection.sendall(GREETING)
                connection.recv(1)
                return False
        except TimeoutError:
            return True
        except OSError:
            continue
    return False


def _connected(place: str | tuple[str, int], seconds: float) -> socket.socket:
    if not isinstance(place, str):
        return socket.create_connection(place, seconds)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(seconds)
        connection.connect(place)
    except BaseException:
        connection.close()
        raise
    return connection


def server_places(address: SharedAddress) -> list[str | tuple[str, int]]:
    """Return where the catalog's server listens: paths of sockets, or host and port, as libpq finds them."""
    port = server_port(address)
    host = address.host or os.environ.get("PGHOSTADDR") or os.environ.get("PGHOST") or ""
    if not host:
        return [f"{folder}/.s.PGSQL.{port}" for folder in SOCKET_FOLDERS]
    if host.startswith("/"):
        return [f"{host}/.s.PGSQL.{port}"]
    return [(each, port) for each in host.split(",")]


def server_port(address: SharedAddress) -> int:
    """Return the port of the catalog's server, as libpq finds it."""
    if address.port is not None:
        return address.port
    given = (os.environ.get("PGPORT") or "").split(",")[0]
    return int(given) if given.isdigit() else DEFAULT_PORT
