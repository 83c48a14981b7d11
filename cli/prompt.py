"""The typed side of `isoflop shell`: a prompt that knows statements, names and the past."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import PostgresLexer  # type: ignore[import-untyped]

from isoflop.cli.output import note, stderr_console
from isoflop.cli.shell import Session, is_blank, split_ended
from isoflop.lakehouse.errors import IsoflopError
from isoflop.lakehouse.units import format_seconds

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse

WORDS = (
    "FIT", "CREATE LAW", "CREATE OR REPLACE LAW", "REFIT LAW", "DROP LAW", "CROSS VALIDATE", "COMPARE", "EXTRAPOLATE",
    "FORECAST", "EXPLAIN", "EXPLAIN ANALYZE", "PREDICT", "RESIDUALS", "SHOW LAWS", "SHOW FORECASTS", "SHOW LAW FORMS",
    "DESCRIBE LAW", "PARAMETERS",
    "WEIGHT BY", "HOLDOUT LARGEST", "KFOLD", "OPTIMIZE", "MINIMIZE", "MAXIMIZE", "OVER", "SUBJECT TO", "FOR EACH",
    "COMPARE APPROACHES", "AT flops", "AVERAGE OF", "bootstrap", "intervals", "weighing", "tolerance", "budgets",
    "auto", "profile", "jackknife",
    "DESIGN", "RUNS FOR", "SUM",
    "LEAVE ONE OUT", "PERCENT", "INIT", "FIXED", "SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "JOIN",
    "USING", "WITH", "AS", "AND", "OR", "NOT", "NULL", "IN", "BETWEEN", "COPY", "CREATE TABLE", "CREATE VIEW",
    "DESCRIBE", "SUMMARIZE", "HAVING", "UNION ALL", "DISTINCT",
)  # fmt: skip
COMMANDS = (".help", ".tables", ".laws", ".format", ".read", ".quit")
# Statements after which other names may exist.
_CHANGING = ("CREATE", "DROP", "ALTER", "ATTACH", "DETACH", "USE", "INSERT")


def converse(session: Session, prompt: PromptSession[str] | None = None) -> None:
    """Ask for statements until the person leaves.

    Parameters
    ----------
    session : who answers
    prompt : where lines are read; a terminal with history and completion by default
    """
    import duckdb

    names = NameCompleter(session.lake)
    prompt = prompt or make_prompt(names)
    note(f"{session.lake.address}; statements end with ;  .help shows the verbs, .quit leaves")
    while not session.is_over:
        try:
            typed = prompt.prompt("isoflop> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        try:
            _answer(session, typed, names)
        except KeyboardInterrupt:
            note("interrupted")
        except (IsoflopError, duckdb.Error) as error:
            stderr_console().print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)


def _answer(session: Session, typed: str, names: NameCompleter) -> None:
    if typed.lstrip().startswith("."):
        session.command(typed.strip())
        return
    statements, rest = split_ended(typed)
    for statement in [*statements, *([] if is_blank(rest) else [rest])]:
        began = time.monotonic()
        rows = session.ask(statement)
        note(f"{rows} row{'s' * (rows != 1)} in {format_seconds(time.monotonic() - began)}")
        if statement.split(maxsplit=1)[0].upper() in _CHANGING:
            names.forget()


def make_prompt(completer: Completer, **options: Any) -> PromptSession[str]:
    """Return a prompt: Enter sends a statement that has ended, and begins a new line in one that has not."""
    keys = KeyBindings()

    @Condition
    def has_ended() -> bool:
        from prompt_toolkit.application import get_app

        text = get_app().current_buffer.text
        return text.lstrip().startswith(".") or is_blank(split_ended(text)[1])

    @keys.add("enter", filter=has_ended)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    return PromptSession(
        multiline=True,
        key_bindings=keys,
        history=_history(),
        completer=completer,
        lexer=PygmentsLexer(PostgresLexer),
        complete_in_thread=True,
        complete_while_typing=False,
        prompt_continuation="       > ",
        enable_history_search=True,
        **options,
    )


def _history() -> History:
    """Return the history in the person's state folder, or one that is forgotten when that cannot be written."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    file = state / "isoflop" / "history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(file))


class NameCompleter(Completer):
    """Completes verbs, keywords, and the names in a lake: tables, columns, laws, forms.

    Parameters
    ----------
    lake : whose names; they are asked for at the first Tab, and again after a statement that changes them
    """

    def __init__(self, lake: Lakehouse) -> None:
        self._lake = lake
        self._names: tuple[tuple[str, str], ...] | None = None

    def forget(self) -> None:
        """Ask for the names again at the next Tab."""
        self._names = None

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what the word before the cursor may become, names first."""
        word = document.get_word_before_cursor(WORD=False)
        line = document.text_before_cursor.lstrip()
        if line.startswith("."):
            yield from (Completion(each, -len(line)) for each in COMMANDS if each.startswith(line))
            return
        if not word or not (word[0].isalpha() or word[0] == "_"):
            return
        for name, kind in (*self._known(), *((each, "") for each in WORDS)):
            if name.lower().startswith(word.lower()) and name != word:
                yield Completion(name, -len(word), display_meta=kind)

    def _known(self) -> tuple[tuple[str, str], ...]:
        if self._names is None:
            try:
                self._names = tuple(dict.fromkeys(_names(self._lake)))
            except Exception:  # a prompt without completion is better than none
                self._names = ()
        return self._names


def _names(lake: Lakehouse) -> Iterator[tuple[str, str]]:
    from isoflop.queries.laws import known_laws

    laws = lake.query("SELECT DISTINCT name FROM laws ORDER BY name").column(0).to_pylist()
    yield from ((name, "law") for name in laws)
    yield from ((name, "form") for name in known_laws())
    tables = lake.query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' ORDER BY 1")
    yield from ((name, "table") for name in tables.column(0).to_pylist())
    columns = lake.query(
        "SELECT DISTINCT column_name, table_name FROM information_schema.columns WHERE table_schema = 'main' ORDER BY 1"
    )
    yield from ((row["column_name"], "column") for row in columns.to_pylist())
