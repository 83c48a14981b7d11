"""`isoflop shell`: statements one after another, typed or piped in."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from isoflop.cli.options import FormatOption, LakeOption

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse

HELP = """\
Statements end with a semicolon and may span lines. DuckDB's SQL works as it is; beside it:

  FIT loss ~ chinchilla(params, tokens) FROM runs;
  FIT loss ~ chinchilla(params, tokens) FROM runs WITH (bootstrap = 'auto', intervals = 'profile');
  CREATE LAW chin AS FIT loss ~ chinchilla(params, tokens) FROM runs WHERE status = 'finished';
  SHOW LAWS;   SHOW LAW FORMS;   DESCRIBE LAW chin;   REFIT LAW chin;   DROP LAW chin;
  EXTRAPOLATE chin TO params = [1e11, 1e12], tokens = 20 * params;
  OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG SUBJECT TO flops <= 1e21;
  DESIGN 6 RUNS FOR chin TO params = 7e10, tokens = 1.4e12 OVER params IN [1e8, 1e10] LOG, tokens = 20 * params;
  CROSS VALIDATE chin FROM runs HOLDOUT LARGEST 20 PERCENT BY params;
  COMPARE chin, (loss ~ kaplan(params, tokens)) FROM runs WITH (weighing = 'resamples');
  COMPARE APPROACHES FROM runs AT flops = [1e21, 1e22];
  EXTRAPOLATE AVERAGE OF chin, (loss ~ kaplan(params, tokens)) FROM runs TO params = 1e12, tokens = 2e13;
  PREDICT chin FROM runs;   RESIDUALS chin;   EXPLAIN FIT loss ~ power(params) FROM runs;
  SELECT chin(7e10, 1.4e12);   FROM (EXTRAPOLATE chin TO params = 1e12, tokens = 2e13) SELECT lower, upper;

  .tables          tables and views       .format csv      table, json, csv, arrow or markdown
  .laws            saved laws             .read FILE       run the statements of a file
  .help            this                   .quit            leave (or Ctrl-D)
"""

TABLES = (
    "SELECT table_name AS name, table_type AS kind FROM information_schema.tables "
    "WHERE table_schema = 'main' ORDER BY name"
)


def shell(lake: LakeOption = None, format: FormatOption = None) -> None:
    """Ask statements one after another, with completion and history.

    Statements end with a semicolon; .help shows the verbs and the commands that start with a dot. Piped
    statements are answered in order, and the first error stops.

      isoflop shell

      isoflop shell --lake demo.duckdb < questions.sql
    """
    from isoflop.cli.options import chosen_format, open_lake

    form = chosen_format(format)
    with open_lake(lake) as opened:
        session = Session(opened, form)
        if sys.stdin.isatty():
            from isoflop.cli.prompt import converse

            converse(session)
        else:
            session.run_lines(sys.stdin)


class Session:
    """A conversation with a lake: what was typed but not ended, and how answers are printed.

    Parameters
    ----------
    lake : whom the statements go to
    format : how answers are printed
    """

    def __init__(self, lake: Lakehouse, format: str = "table") -> None:
        self.lake, self.format = lake, format
        self.is_over = False

    def run_lines(self, lines: Iterable[str]) -> None:
        """Answer piped lines: a statement is asked as soon as its semicolon is read.

        Raises
        ------
        IsoflopError, duckdb.Error : for the first statement that cannot be answered
        """
        pending = ""
        for line in lines:
            if not pending.strip() and line.lstrip().startswith("."):
                self.command(line.strip())
            else:
                statements, pending = split_ended(pending + line)
                for statement in statements:
                    self.ask(statement)
            if self.is_over:
                return
        if not is_blank(pending):
            self.ask(pending)

    def ask(self, statement: str) -> int:
        """Answer one statement on stdout; returns how many rows it has."""
        from isoflop.cli.output import show

        answer = self.lake.sql(statement)
        show(answer, self.format)
        return len(answer)

    def command(self, line: str) -> None:
        """Do what a line that starts with a dot says.

        Raises
        ------
        UsageError : when there is no such command
        """
        from isoflop.cli.options import chosen_format
        from isoflop.cli.output import note
        from isoflop.lakehouse.errors import UsageError, did_you_mean

        name, _, argument = line.partition(" ")
        argument = argument.strip().rstrip(";")
        match name.rstrip(";"):
            case ".help":
                print(HELP)
            case ".tables":
                self.ask(TABLES)
            case ".laws":
                self.ask("SHOW LAWS")
            case ".format":
                self.format = chosen_format(argument or None)
                note(f"answers are printed as {self.format}")
            case ".read":
                self._read(argument)
            case ".quit" | ".exit":
                self.is_over = True
            case other:
                commands = (".help", ".tables", ".laws", ".format", ".read", ".quit")
                raise UsageError(f"there is no command {other}", hint=did_you_mean(other, commands, ".help lists them"))

    def _read(self, file: str) -> None:
        from isoflop.lakehouse.errors import UsageError

        try:
            with open(file, encoding="utf-8") as lines:
                self.run_lines(lines)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{file or '.read'} cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from error


def split_ended(text: str) -> tuple[list[str], str]:
    """Return the statements of a text that end with a semicolon, and what follows the last of them.

    Example
    -------
    >>> split_ended("SELECT ';'; SHOW LAWS; SELECT")
    (["SELECT ';';", ' SHOW LAWS;'], ' SELECT')
    """
    from isoflop.queries.language.syntax.tokens import tokenize

    statements, start = [], 0
    is_empty = True
    for token in tokenize(text):
        if token.text == ";":
            if not is_empty:
                statements.append(text[start : token.end])
            start, is_empty = token.end, True
        elif token.text:
            is_empty = False
    return statements, text[start:]


def is_blank(text: str) -> bool:
    """Return whether a text holds nothing but gaps and comments."""
    from isoflop.queries.language.syntax.tokens import tokenize

    return len(tokenize(text)) == 1
