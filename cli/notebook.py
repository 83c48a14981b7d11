"""`%load_ext isoflop`: statements in a notebook, as `%isoflop …` in a line and `%%isoflop …` in a cell.

Tables of the notebook are relations under the names of their variables, its numbers and texts are `$name`. The magics
share one session, so that temporary tables and transactions last. IPython is imported nowhere else.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError as MagicUsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from isoflop.cli.options import open_lake
from isoflop.cli.waiting import waiting
from isoflop.lakehouse.errors import IsoflopError
from isoflop.lakehouse.visible import visible
from isoflop.queries.language.syntax.tokens import Kind, tokenize

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse import Answer, Lakehouse, Session

USAGE = """%isoflop [--lake LAKE] [--read-only] [--close] [NAME <<] [STATEMENT]

  %isoflop --lake runs.duckdb                   name the lake of this notebook
  %isoflop SHOW LAWS                            ask a statement
  %isoflop best << FROM runs ORDER BY loss      keep the answer in a variable
  %%isoflop fitted <<                           the same, with the statements in the cell"""


@magics_class
class IsoflopMagics(Magics):
    """The magics of one notebook, and its session."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._variables: dict[str, Any] = shell.user_ns
        self._lake: Lakehouse | None = None
        self._session: Session | None = None
        self._address: str | None = None
        self._is_read_only = False

    @no_var_expand  # a `$name` is a value for DuckDB, never text in the statement
    @line_cell_magic
    def isoflop(self, line: str, cell: str | None = None) -> Answer | None:
        """Ask statements of the lake of this notebook; `%isoflop` alone says how."""
        import duckdb

        try:
            target, text = self._read(line, cell)
            if not text.strip():
                return None
            answer = self._ask(text)
        except (IsoflopError, duckdb.Error) as error:
            # As the shell shows it: the statement and its caret, without the frames of the library.
            print(visible(str(error)), file=sys.stderr)
            raise Refused from None
        if target is None:
            return answer
        self._variables[target] = answer
        return None

    def _read(self, line: str, cell: str | None) -> tuple[str | None, str]:
        """Return the variable to assign to, and the statements; options before them are taken."""
        rest = line.strip()
        if not rest and cell is None:
            print(USAGE)
        while rest.startswith("--"):
            option, _, rest = rest.partition(" ")
            rest = rest.lstrip()
            match option:
                case "--lake":
                    word = shlex.split(rest)[0] if rest else ""
                    if not word:
                        raise MagicUsageError("--lake has no value\n" + USAGE)
                    rest = rest.partition(" ")[2].lstrip() if not rest.startswith(("'", '"')) else rest[len(word) + 2 :]
                    self.close()
                    self._address = word
                case "--read-only":
                    self.close()
                    self._is_read_only = True
                case "--close":
                    self.close()
                case _:
                    raise MagicUsageError(f"there is no option {option}\n{USAGE}")
        name, arrow, after = rest.partition("<<")
        target = None
        if arrow and name.strip().isidentifier():
            target, rest = name.strip(), after.strip()
        return target, rest if cell is None else f"{rest}\n{cell}" if rest else cell

    def _ask(self, text: str) -> Answer:
        session = self._opened()
        tables, values = read_namespace(text, self._variables)
        with waiting() as progress:
            return session.sql(text, values or None, relations=tables or None, progress=progress)

    def _opened(self) -> Session:
        if self._session is None:
            self._lake = open_lake(self._address, hold=not self._is_read_only, read_only=self._is_read_only)
            self._session = self._lake.session()
        return self._session

    def close(self) -> None:
        """End the session and let go of the lake."""
        if self._session is not None:
            self._session.close()
        if self._lake is not None:
            self._lake.close()
        self._session = self._lake = None


class Refused(Exception):
    """A statement that was not answered; why was printed already."""

    def _render_traceback_(self) -> list[str]:
        return []


def read_namespace(text: str, namespace: Mapping[str, Any]) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """Return the tables and the parameter values that a text names, from the variables of a notebook.

    Parameters
    ----------
    text : statements
    namespace : variables by name; polars, pandas and Arrow tables and answers count as tables

    Example
    -------
    >>> import pyarrow as pa
    >>> tables, values = read_namespace("FROM sizes WHERE n > $least", {"sizes": pa.table({"n": [1]}), "least": 0})
    >>> list(tables), values
    (['sizes'], {'least': 0})
    """
    tables: dict[str, pa.Table] = {}
    values: dict[str, Any] = {}
    for token in tokenize(text):
        if token.kind is Kind.PARAMETER and token.text.startswith("$"):
            name = token.text[1:]
            if name in namespace:
                values[name] = _value(namespace[name])
        elif token.is_name and token.name in namespace and token.name not in tables:
            table = _table(namespace[token.name])
            if table is not None:
                tables[token.name] = table
    return tables, values


def _table(value: Any) -> pa.Table | None:
    """Return a variable as an Arrow table, or None when it is none; a library that is not imported made no tables."""
    import pyarrow as pa

    from isoflop.lakehouse import Answer

    if isinstance(value, Answer):
        return value.arrow()
    if isinstance(value, pa.Table):
        return value
    if isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        return pa.Table.from_pandas(value, preserve_index=False)
    if polars is not None and isinstance(value, polars.LazyFrame):
        value = value.collect()
    if polars is not None and isinstance(value, polars.DataFrame):
        return value.to_arrow()
    return None


def _value(value: Any) -> Any:
    """Return a parameter as DuckDB takes it: NumPy's numbers as Python's."""
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        return value.tolist()
    return value


def load_ipython_extension(shell: Any) -> None:
    """Register the magics; what `%load_ext isoflop` calls."""
    import atexit

    magics = IsoflopMagics(shell)
    shell.register_magics(magics)
    atexit.register(magics.close)


def unload_ipython_extension(shell: Any) -> None:
    """End the session; what `%unload_ext isoflop` calls."""
    magics = shell.magics_manager.registry.get("IsoflopMagics")
    if magics is not None:
        magics.close()
