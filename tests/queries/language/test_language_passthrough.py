"""Every DuckDB statement means here what it means there: same rows, same types, same error at the same place.

`passthrough/*.sql` holds the statements, one a paragraph, by topic; `setup.sql` makes what they read and `errors.sql`
holds those that fail. Each is asked twice, of DuckDB and of a lake with the same data. Then each is asked behind a
verb, where it is not sent as it was typed but token by token.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import IsoflopError
from isoflop.queries.language.syntax.clauses import split_statements
from isoflop.queries.language.syntax.tokens import tokenize

FOLDER = Path(__file__).parents[2] / "fixtures" / "queries" / "passthrough"
VERB = "SHOW LAWS LIKE 'nobody';\n"
# What holds for a session or keeps the text of its query is refused beside a verb, or means something else there.
ALONE = {"BEGIN", "PREPARE", "EXECUTE", "SET", "PRAGMA", "EXPLAIN", "CALL", "COPY", "EXPORT"}
# What differs between any two sessions: where files lie, what is in memory, how long it took.
DIFFERS = re.compile(r"/[^\s'\"]*", re.MULTILINE)

Outcome = tuple[str, object, object, object]


def paragraphs(name: str) -> list[str]:
    """The statements of a file."""
    return (FOLDER / f"{name}.sql").read_text(encoding="utf-8").strip("\n").split("\n\n")


TOPICS = sorted(path.stem for path in FOLDER.glob("*.sql") if path.stem not in ("setup", "errors"))
SOUND = [pytest.param(text, id=f"{topic}-{k}") for topic in TOPICS for k, text in enumerate(paragraphs(topic))]
BROKEN = [pytest.param(text, id=f"errors-{k}") for k, text in enumerate(paragraphs("errors"))]


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lakehouse, duckdb.DuckDBPyConnection, Path]]:
    """A lake, a connection to a copy of its file, and a folder for files."""
    folder = tmp_path_factory.mktemp("twins")
    (folder / "here").mkdir()
    (folder / "there").mkdir()
    path, copy = folder / "here" / "twin.duckdb", folder / "there" / "twin.duckdb"
    with isoflop.open(path) as lake:
        lake.write([(statement, None) for statement in paragraphs("setup")])
    shutil.copy(path, copy)
    with isoflop.open(path) as lake, duckdb.connect(str(copy)) as plain:
        yield lake, plain, folder


def answered(table: pa.Table) -> Outcome:
    """What came back, as it is compared: names, types and rows."""
    rows = [column.combine_chunks().to_string(window=1000) for column in table.columns]
    return "rows", table.column_names, [str(kind) for kind in table.schema.types], rows


def refused(error: Exception) -> Outcome:
    """What an error says, as it is compared: class, message, and where its caret stands."""
    text = str(error)
    kind, _, message = text.partition("\n\nLINE ")[0].partition(" Error: ")
    return kind, DIFFERS.sub("/", message), *caret(text)


def caret(text: str) -> tuple[int | None, int | None]:
    """The line and the column that an error points at, or None; a column only where the line is shown whole."""
    found = re.search(r"^LINE (\d+): (.*)\n( *)\^", text, re.MULTILINE)
    if found is None:
        return None, None
    line, shown, blanks = int(found[1]), found[2], len(found[3])
    column = None if shown.startswith("...") else blanks - len(f"LINE {line}: ")
    return line, column


def ask_duckdb(plain: duckdb.DuckDBPyConnection, text: str) -> Outcome:
    """What DuckDB makes of a text."""
    try:
        with plain.cursor() as cursor:
            return answered(cursor.execute(text).to_arrow_table())
    except duckdb.Error as error:
        return refused(error)


def ask_lake(lake: Lakehouse, text: str) -> Outcome:
    """What a lake makes of a text."""
    try:
        return answered(lake.sql(text).arrow())
    except (duckdb.Error, IsoflopError) as error:
        return refused(error)


def in_folder(text: str, folder: Path) -> str:
    """A statement with its files in a folder."""
    return text.replace("{folder}", str(folder))


@pytest.mark.slow
@pytest.mark.parametrize("text", SOUND)
def test_a_statement_of_duckdb_is_answered_as_by_duckdb(twins, text: str) -> None:
    lake, plain, folder = twins
    expected = ask_duckdb(plain, in_folder(text, folder / "there"))
    assert expected[0] == "rows", expected
    assert ask_lake(lake, in_folder(text, folder / "here")) == expected


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_statement_is_refused_as_by_duckdb(twins, text: str) -> None:
    lake, plain, folder = twins
    expected = ask_duckdb(plain, in_folder(text, folder / "there"))
    found = ask_lake(lake, in_folder(text, folder / "here"))
    assert expected[0] != "rows" and found[0] == expected[0], (expected, found)
    # In a later statement of several DuckDB shows no place, and a lake, which asks them one by one, does.
    if expected[2] is not None or ";" not in text:
        assert found[2:] == expected[2:], (expected, found)


def stands_alone(text: str) -> bool:
    """Whether a statement can be asked behind a verb."""
    tokens = tokenize(text)
    ranges = split_statements(tokens)
    return len(ranges) == 1 and tokens[ranges[0][0]].upper not in ALONE


@pytest.mark.parametrize("text", [each for each in SOUND if stands_alone(each.values[0])])
def test_a_statement_behind_a_verb_is_answered_as_by_duckdb(twins, text: str) -> None:
    lake, plain, _ = twins
    assert ask_lake(lake, VERB + text) == ask_duckdb(plain, text)


@pytest.mark.parametrize("text", [each for each in BROKEN if stands_alone(each.values[0])])
def test_a_broken_statement_behind_a_verb_has_its_caret_where_duckdb_has_it(twins, text: str) -> None:
    lake, plain, folder = twins
    kind, message, line, column = ask_duckdb(plain, in_folder(text, folder / "there"))
    found = ask_lake(lake, VERB + in_folder(text, folder / "here"))
    assert found[0] == kind, (message, found)
    if "end of input" not in str(message):  # where DuckDB says no place, and a text with a verb does
        assert found[2:] == (line and line + 1, column), (message, found)
