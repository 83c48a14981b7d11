"""A conversation of `isoflop shell` with a lake: statements, and commands that start with a dot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isoflop.lakehouse import Answer, Lakehouse

TABLES = (
    "SELECT table_name AS name, table_type AS kind FROM information_schema.tables "
    "WHERE table_schema = 'main' ORDER BY name"
)

MODES = {"line": "lines", "box": "table", "duckbox": "table", "column": "table"}  # as other shells call them


class Conversation:
    """A conversation with a lake: one session of it, and how answers are printed.

    Parameters
    ----------
    lake : whom the statements go to
    format : how answers are printed
    """

    def __init__(self, lake: Lakehouse, format: str = "table") -> None:
        self.lake, self.format = lake, format
        self.session = lake.session()
        self.is_over = False
        self.is_timed = self.is_paged = True
        self._last: Answer | None = None

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
        from isoflop.cli.waiting import waiting

        with waiting() as progress:
            self._last = self.session.sql(statement, progress=progress)
        show(self._last, self.format, is_paged=self.is_paged)
        return len(self._last)

    def command(self, line: str) -> None:
        """Do what a line that starts with a dot says.

        Raises
        ------
        UsageError : when there is no such command
        """
        from isoflop.cli.options import chosen_format
        from isoflop.cli.output import note
        from isoflop.cli.verbs import COMMANDS
        from isoflop.lakehouse.errors import UsageError, did_you_mean

        name, _, argument = line.partition(" ")
        argument = argument.strip().rstrip(";")
        match name.rstrip(";"):
            case ".help":
                print(self._help(argument))
            case ".tables":
                self.ask(TABLES)
            case ".laws":
                self.ask("SHOW LAWS")
            case ".mode" | ".format":
                self.format = chosen_format(MODES.get(argument.lower(), argument)) if argument else self.format
                note(f"answers are printed as {self.format}")
            case ".plot":
                self._plot(argument)
            case ".timing":
                self.is_timed = _is_on(argument, ".timing")
            case ".pager":
                self.is_paged = _is_on(argument, ".pager")
            case ".read":
                self._read(argument)
            case ".quit" | ".exit":
                self.is_over = True
            case other:
                raise UsageError(f"there is no command {other}", hint=did_you_mean(other, COMMANDS, ".help lists them"))

    def _help(self, name: str) -> str:
        from isoflop.cli.verbs import help_on, overview, shown
        from isoflop.lakehouse.errors import UsageError, did_you_mean

        found = help_on(name) if name else overview()
        if found is None:
            known = [verb.name for verb in shown()]
            raise UsageError(f"there is no verb {name}", hint=did_you_mean(name, known, ".help lists them"))
        return found

    def _plot(self, names: str) -> None:
        """Draw what is named, or else the last answer."""
        from isoflop.cli.plot.answer_figure import answer_figure
        from isoflop.cli.plot.command import figure_of, print_figure

        if names:
            print_figure(figure_of(self.lake, names.split()))
        else:
            print_figure(answer_figure(self.lake, self._last))

    def _read(self, file: str) -> None:
        from isoflop.lakehouse.errors import UsageError

        try:
            with open(file, encoding="utf-8") as lines:
                self.run_lines(lines)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{file or '.read'} cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from error

    def close(self) -> None:
        """End the session; what was open is rolled back."""
        self.session.close()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_on(argument: str, command: str) -> bool:
    """Return what `on` or `off` says."""
    from isoflop.lakehouse.errors import UsageError

    if argument.lower() not in ("on", "off"):
        raise UsageError(f"{command} is on or off, got '{argument}'", hint=f"{command} off")
    return argument.lower() == "on"


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
