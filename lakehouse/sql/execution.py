"""Running a text on a DuckDB connection: statement by statement, stoppable, with errors that point into the text.

DuckDB itself places an error of a later statement as if the text began with that statement. Here each is sent
by itself, and its error is restated over the whole text that the user wrote.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import Interrupted, QuerySyntaxError, display_width, underline
from isoflop.lakehouse.sql.cancellation import Watch, watched
from isoflop.lakehouse.sql.folder import search_files
from isoflop.lakehouse.sql.quoting import quoted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from isoflop.lakehouse.backends.backend import Parameters

WITHOUT_ARROW = ("UHUGEINT",)
LOOK_EVERY = 0.25  # seconds between two looks at how far a query is
# DuckDB makes this of PIVOT and shows it in its errors, with the caret as far in as the place is in what it was sent.
_OF_PIVOT = 'CREATE OR REPLACE TEMP TYPE "__pivot_enum'
_PLACED = re.compile(r"(?P<message>.*?)\n\nLINE (?P<line>\d+): (?P<shown>[^\n]*)\n(?P<caret> *)\^.*", re.DOTALL)


@contextlib.contextmanager
def transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Keep all that is run on a connection within the block, or, after an error, nothing of it."""
    con.execute("BEGIN")
    try:
        yield
        con.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(Exception):
            con.execute("ROLLBACK")
        raise


def check_encodable(text: str) -> None:
    """Check that a text has whole characters only: DuckDB takes UTF-8, which has none for half of a pair.

    Raises
    ------
    QuerySyntaxError : with a caret at the first that is not
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"a statement cannot hold half of a character, {text[error.start]!a}"
        hint = "the text was decoded from something other than UTF-8; decode it anew"
        raise QuerySyntaxError("Parser", message, text, error.start, error.start + 1, hint=hint) from error


def run_text(cursor: duckdb.DuckDBPyConnection, text: str, parameters: Parameters = None) -> pa.Table:
    """Run the statements of a text one after another and return the last one's rows.

    Parameters
    ----------
    cursor : the connection
    text : one or more DuckDB statements
    parameters : values for `?` or `$name`, of every statement that has some

    Raises
    ------
    duckdb.Error : as DuckDB words it, with `LINE` and caret in `text`
    Interrupted : when the caller asked to stop
    KeyboardInterrupt : for Ctrl-C, as DuckDB passes it on
    """
    import pyarrow as pa

    check_encodable(text)
    search_files(cursor, text)
    if ";" not in text.rstrip().rstrip(";"):
        return run_statement(cursor, text, parameters)
    table = pa.table({})
    for statement, start in _placed(cursor, text):
        own = _own(parameters, statement.named_parameters)
        if start is None:
            table = run_statement(cursor, statement, own)
            continue
        # As text: the places in a statement that DuckDB has parsed already would be those of the whole.
        piece = statement.query.lstrip()
        try:
            table = run_statement(cursor, piece, own)
        except Exception as error:
            restated = restate(error, text, piece, start + len(statement.query) - len(piece))
            if restated is None:
                raise
            raise restated from error
    return table


def run_statement(
    cursor: duckdb.DuckDBPyConnection, statement: str | duckdb.Statement, parameters: Parameters = None
) -> pa.Table:
    """Run one statement and return its rows; the watch that is open can stop it and hears how far it is."""
    import duckdb
    import pyarrow as pa

    with watched() as watch, watch.stoppable(cursor.interrupt), _following(cursor, watch):
        try:
            answered: duckdb.DuckDBPyConnection | None = cursor.execute(statement, parameters)
            if answered is None:  # there was no statement
                return pa.table({})
            if odd := [column[0] for column in answered.description or () if str(column[1]) in WITHOUT_ARROW]:
                answered = cursor.execute(_as_text(odd, statement), parameters)
            return answered.to_arrow_table()
        except duckdb.InterruptException as error:
            raise Interrupted from error
        except RuntimeError as error:
            if "interrupted" in str(error).lower():  # how DuckDB passes Ctrl-C on
                cursor.interrupt()  # it gave the query up, but left it running
                raise KeyboardInterrupt from error
            raise
        except KeyboardInterrupt:
            cursor.interrupt()
            raise


def _as_text(columns: Sequence[str], statement: str | duckdb.Statement) -> str:
    """Return a query whose columns of these names are text, of whose types Arrow would make other values."""
    text = statement if isinstance(statement, str) else statement.query
    casts = ", ".join(f"CAST({quoted(name)} AS VARCHAR) AS {quoted(name)}" for name in columns)
    return f"SELECT * REPLACE ({casts}) FROM ({text.rstrip().rstrip(';')})"


def _placed(cursor: duckdb.DuckDBPyConnection, text: str) -> Iterator[tuple[duckdb.Statement, int | None]]:
    """Yield the statements of a text with where each starts; None for one that DuckDB has rewritten."""
    position = 0
    for statement in cursor.extract_statements(text):
        start = text.find(statement.query, position) if statement.query else -1
        position = position if start < 0 else start + len(statement.query)
        yield statement, None if start < 0 else start


def _own(parameters: Parameters, names: set[str]) -> Parameters:
    """Return the values that one statement of several names."""
    if isinstance(parameters, Mapping):
        return {name: parameters[name] for name in names if name in parameters} or None
    return parameters if names else None


@contextlib.contextmanager
def _following(cursor: duckdb.DuckDBPyConnection, watch: Watch) -> Iterator[None]:
    """Report how far a query is while the block runs it, where a caller listens."""
    if watch.progress is None:
        yield
        return
    if not _prepares_progress(cursor):
        yield
        return
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(LOOK_EVERY):
            percent: Any = cursor.query_progress()
            with contextlib.suppress(Interrupted):
                watch.report("percent of a query", int(max(percent, 0)), 100)

    looker = threading.Thread(target=look, name="isoflop-progress", daemon=True)
    looker.start()
    try:
        yield
    finally:
        is_over.set()
        looker.join()


def _prepares_progress(cursor: duckdb.DuckDBPyConnection) -> bool:
    """Have DuckDB count how far a query is; False where it cannot, which must not abort an open transaction."""
    import duckdb

    try:
        locked = cursor.execute("SELECT current_setting('lock_configuration')").fetchone()
        if locked is not None and locked[0]:  # in a lake open for reading only
            return False
        cursor.execute("SET enable_progress_bar = true")
        cursor.execute("SET enable_progress_bar_print = false")
    except duckdb.TransactionException:  # the transaction is aborted, and the query that follows says so
        return False
    return True


def restate(error: Exception, text: str, piece: str, start: int) -> Exception | None:
    """Return an error of DuckDB's with its place shown in the whole text, or None when it names no place.

    Parameters
    ----------
    error : what DuckDB raised for `piece`
    text : what the user wrote
    piece, start : the part that was sent, and where it starts in `text`

    Example
    -------
    >>> import duckdb
    >>> piece = "SELECT nope"
    >>> error = duckdb.BinderException("Binder Error: no nope\\n\\nLINE 1: SELECT nope\\n               ^")
    >>> print(restate(error, "SELECT 1; " + piece, piece, 10))
    Binder Error: no nope
    <BLANKLINE>
    LINE 1: SELECT 1; SELECT nope
                             ^
    """
    position = place_of(error, piece)
    if position is None or type(error).__module__ != "_duckdb":
        return None
    place = start + position
    message = str(error).partition("\n\nLINE ")[0]
    return type(error)(f"{message}\n\n{underline(text, place, place + 1)}")


def place_of(error: Exception, text: str) -> int | None:
    """Return the character of a text that an error of DuckDB's points at, or None when it names no place."""
    found = _PLACED.fullmatch(str(error))
    return found and find_place(text, int(found["line"]), found["shown"], len(found["caret"]))


def find_place(text: str, line: int, shown: str, caret: int) -> int | None:
    """Return the character that DuckDB's caret points at.

    Parameters
    ----------
    text : what DuckDB was sent
    line : number of the line it names
    shown : the line as it prints it, which it may shorten to `...part...`
    caret : columns before the caret
    """
    lines = re.split(r"[\n\r]", text)
    if line > len(lines):
        return None
    start = sum(len(each) + 1 for each in lines[: line - 1])
    columns = caret - len(f"LINE {line}: ")
    if shown.startswith(_OF_PIVOT):
        return columns
    if shown.startswith("...") and not lines[line - 1].startswith("..."):
        part = shown[3:].removesuffix("...")
        offset = lines[line - 1].find(part)
        if offset < 0:
            return start
        start, columns, visible = start + offset, columns - 3, part
    else:
        visible = lines[line - 1]
    for index, character in enumerate(visible):
        if columns <= 0:
            return start + index
        columns -= display_width(character)
    return start + len(visible)
