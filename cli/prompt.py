"""The typed side of `isoflop shell`: a prompt that knows statements, names and the past."""

from __future__ import annotations

import os
import re
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
from pygments.token import Keyword, Name  # type: ignore[import-untyped]

from isoflop.cli.conversation import Conversation, is_blank, split_ended
from isoflop.cli.options import FORMATS
from isoflop.cli.output import note, stderr_console
from isoflop.cli.verbs import COMMANDS, clauses, shown
from isoflop.lakehouse.errors import IsoflopError
from isoflop.lakehouse.units import format_seconds
from isoflop.lakehouse.visible import visible, visible_line

if TYPE_CHECKING:
    from isoflop.lakehouse import Asked

WORDS = (
    "SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "JOIN", "USING", "WITH", "AS", "AND", "OR", "NOT",
    "NULL", "IN", "BETWEEN", "COPY", "CREATE TABLE", "CREATE TEMP TABLE", "CREATE VIEW", "DESCRIBE", "SUMMARIZE",
    "HAVING", "UNION ALL", "DISTINCT", "BEGIN", "COMMIT", "ROLLBACK", "ATTACH", "USE", "PREPARE", "EXECUTE",
)  # fmt: skip
# Statements after which other names may exist.
_CHANGING = ("CREATE", "DROP", "ALTER", "ATTACH", "DETACH", "USE", "INSERT")


def converse(conversation: Conversation, prompt: PromptSession[str] | None = None) -> None:
    """Ask for statements until the user leaves.

    Parameters
    ----------
    conversation : who answers
    prompt : where lines are read; a terminal with history and completion by default
    """
    import duckdb

    names = NameCompleter(conversation.session)
    prompt = prompt or make_prompt(names)
    note(f"{conversation.lake.address}; statements end with ;  .help shows the verbs, .quit leaves")
    while not conversation.is_over:
        try:
            typed = prompt.prompt("isoflop> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        try:
            _answer(conversation, typed, names)
        except KeyboardInterrupt:
            note("interrupted")
        except (IsoflopError, duckdb.Error) as error:
            stderr_console().print(visible(str(error)), style="red", markup=False, highlight=False, soft_wrap=True)


def _answer(conversation: Conversation, typed: str, names: NameCompleter) -> None:
    if typed.lstrip().startswith("."):
        conversation.command(typed.strip())
        return
    statements, rest = split_ended(typed)
    for statement in [*statements, *([] if is_blank(rest) else [rest])]:
        began = time.monotonic()
        rows = conversation.ask(statement)
        if conversation.is_timed:
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
        lexer=PygmentsLexer(StatementLexer),
        complete_in_thread=True,
        complete_while_typing=False,
        prompt_continuation="       > ",
        enable_history_search=True,
        **options,
    )


def _history() -> History:
    """Return the history in the user's state folder, or one that is forgotten when that cannot be written."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    file = state / "isoflop" / "history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(file))


class StatementLexer(PostgresLexer):  # type: ignore[misc]
    """PostgreSQL's words, and those of the verbs."""

    def get_tokens_unprocessed(self, text: str, *arguments: Any) -> Iterator[tuple[int, Any, str]]:
        """Yield position, kind and text of each token."""
        own = {word for name, _ in _words() for word in name.split()}
        for position, kind, value in super().get_tokens_unprocessed(text, *arguments):
            yield position, Keyword if kind in Name and value.upper() in own else kind, value


class NameCompleter(Completer):
    """Completes verbs, keywords, options, and the names in a lake: tables, columns, laws, forms; each with its meaning.

    Parameters
    ----------
    lake : whose names; they are asked for at the first Tab, and again after a statement that changes them
    """

    def __init__(self, lake: Asked) -> None:
        self._lake = lake
        self._names: tuple[tuple[str, str], ...] | None = None

    def forget(self) -> None:
        """Ask for the names again at the next Tab."""
        self._names = None

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what the word before the cursor may become, names first; inside WITH (…) the options."""
        word = document.get_word_before_cursor(WORD=False)
        line = document.text_before_cursor.lstrip()
        if line.startswith("."):
            yield from _command_completions(line)
            return
        if not word or not (word[0].isalpha() or word[0] == "_"):
            return
        yield from _further_words(line, word)
        options = _options_at(line)
        known = options or (*self._known(), *_words())
        for name, meaning in known:
            if name.lower().startswith(word.lower()) and name != word:
                yield Completion(name, -len(word), display=visible_line(name), display_meta=visible_line(meaning))

    def _known(self) -> tuple[tuple[str, str], ...]:
        if self._names is None:
            try:
                self._names = tuple(dict(_names(self._lake)).items())
            except Exception:  # a prompt without completion is better than none
                self._names = ()
        return self._names


def _further_words(line: str, word: str) -> Iterator[Completion]:
    """Yield what is left of verbs and keywords of several words, of which the first ones are typed."""
    typed = line.upper()
    for name, meaning in _words():
        for gap in (place + 1 for place, letter in enumerate(name) if letter == " "):
            rest = name[gap:]
            if rest.startswith(word.upper()) and typed.endswith(name[:gap] + word.upper()) and rest != word:
                yield Completion(rest, -len(word), display=visible_line(rest), display_meta=visible_line(meaning))


def _command_completions(line: str) -> Iterator[Completion]:
    command, gap, verb = line.partition(" ")
    if not gap:
        for name, meaning in COMMANDS.items():
            if name.startswith(line):
                yield Completion(name, -len(line), display_meta=meaning)
    elif command in (".mode", ".format"):
        yield from (Completion(name, -len(verb)) for name in FORMATS if name.startswith(verb))
    elif command == ".help":
        for each in shown():
            if each.name.startswith(verb.upper()):
                yield Completion(each.name, -len(verb), display_meta=each.meaning)


def _options_at(line: str) -> tuple[tuple[str, str], ...]:
    """Return the options of the verb whose WITH list is open at the end of a text."""
    opened = _OPEN_WITH.search(line)
    if opened is None:
        return ()
    from isoflop.cli.verbs import options_of

    before = line[: opened.start()].upper()
    places = [(before.rfind(each.name), each.name) for each in shown() if each.name in before]
    return tuple(options_of(max(places)[1]).items()) if places else ()


def _names(lake: Asked) -> Iterator[tuple[str, str]]:
    """Yield the names of a lake with what they mean; of two alike the later counts."""
    from isoflop.queries.laws import listed_laws
    from isoflop.queries.laws.auto import AUTO, USAGES
    from isoflop.queries.theory import known_theories

    columns = lake.query(
        "SELECT column_name AS name, any_value(data_type) AS type, string_agg(DISTINCT table_name, ', ') AS tables "
        "FROM information_schema.columns WHERE table_schema = 'main' GROUP BY ALL ORDER BY ALL"
    )
    yield from ((row["name"], f"column of {row['tables']}, {row['type'].lower()}") for row in columns.to_pylist())
    tables = lake.query(
        "SELECT table_name AS name, lower(table_type) AS kind FROM information_schema.tables "
        "WHERE table_schema = 'main' ORDER BY ALL"
    )
    yield from ((row["name"], row["kind"].replace("base table", "table")) for row in tables.to_pylist())
    yield from ((name, f"form: {law.formula or law.target}") for name, law in sorted(listed_laws().items()))
    yield AUTO, f"form: a weighted mean of those that the rows determine, {' or '.join(USAGES)}"
    yield from ((name, f"theory of {theory.family}") for name, theory in sorted(known_theories().items()))
    laws = lake.query("SELECT name, any_value(form) AS form, any_value(target) AS target FROM laws GROUP BY ALL")
    yield from ((row["name"], f"law of {row['target']}: {row['form']}") for row in laws.to_pylist())


_OPEN_WITH = re.compile(r"\bWITH\s*\([^()]*$", re.IGNORECASE)


def _words() -> tuple[tuple[str, str], ...]:
    """Return verbs, keywords inside them and words of SQL, with what they mean."""
    verbs = ((verb.name, verb.meaning) for verb in shown())
    return (*verbs, *clauses().items(), *((word, "") for word in WORDS))
