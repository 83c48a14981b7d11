"""`isoflop sql`: ask one statement, or the statements of a file."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption, ReadOnlyOption

SIZE = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[kmbgtpKMBGTP]")  # which people write: 70B, 1.4T


def sql(
    statement: Annotated[
        str | None, typer.Argument(metavar="STATEMENT", help="What to ask; read from stdin when that is piped.")
    ] = None,
    file: Annotated[str | None, typer.Option("--file", metavar="FILE", help="Read the statements from a file.")] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A value for $NAME, such as 70B; '70B' is text."),
    ] = None,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
    read_only: ReadOnlyOption = False,
) -> None:
    """Ask a statement: DuckDB's SQL, with the verbs of scaling laws as relations.

    Several statements are separated by semicolons; temporary tables, SET, ATTACH and BEGIN … COMMIT last
    between them, and the answer to the last one is printed. Ctrl-C stops a statement.

      isoflop sql "FROM runs SELECT name, loss ORDER BY loss LIMIT 5"

      isoflop sql "FIT loss ~ chinchilla(params, tokens) FROM runs"

      isoflop sql "CREATE LAW big AS FIT loss ~ power(flops) FROM 'runs.csv'"

      isoflop sql "EXTRAPOLATE big TO flops = [1e24, 1e25]" --format json

      isoflop sql "FROM (EXTRAPOLATE big TO flops = 1e24) SELECT lower, upper"

      isoflop sql "CROSS VALIDATE big FROM runs HOLDOUT LARGEST 2 BY flops"

      isoflop sql "FROM runs WHERE loss < \\$most" --param most=3.2

      isoflop sql --file questions.sql

      isoflop sql --read-only --file from-somebody.sql
    """
    from isoflop.cli.options import chosen_format, lake_for
    from isoflop.cli.output import show
    from isoflop.cli.waiting import waiting

    form = chosen_format(format, json)
    text = read_statement(statement, file)
    parameters = read_parameters(param or []) or None
    opening = lake_for(text, lake, makes=True, read_only=read_only)
    with opening as opened, opened.session() as session, waiting() as progress:
        answer = session.sql(text, parameters, progress=progress)
    show(answer, form)


def read_statement(statement: str | None, file: str | None) -> str:
    """Return the text to ask: the argument, the file, or what is piped in.

    Raises
    ------
    UsageError : when there is none of them, or two, or the file cannot be read
    """
    import sys
    from pathlib import Path

    from isoflop.lakehouse.errors import UsageError

    if statement is not None and file is not None:
        raise UsageError("give a statement or --file, not both")
    if file is not None:
        try:
            return Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if statement is not None and statement != "-":
        return statement
    if sys.stdin.isatty():
        raise UsageError("nothing to ask", hint='isoflop sql "SHOW LAWS", or isoflop shell to ask one after another')
    return sys.stdin.read()


def read_parameters(given: list[str]) -> dict[str, Any]:
    """Return `name=value` pairs as values: numbers where they read as numbers, as people write them too, else text.

    Raises
    ------
    UsageError : for a pair without `=`

    Example
    -------
    >>> read_parameters(["most=3.2", "family=transformer", "width=64", "params=70B", "name='70B'"])
    {'most': 3.2, 'family': 'transformer', 'width': 64, 'params': 70000000000, 'name': '70B'}
    """
    from isoflop.lakehouse.errors import UsageError

    found: dict[str, Any] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--param {pair} has no value", hint="--param budget=1e21")
        found[name.strip().removeprefix("$")] = _value(text.strip())
    return found


def _value(text: str) -> Any:
    from isoflop.queries.language.syntax.sizes import with_sizes

    if len(text) > 1 and text[0] == text[-1] == "'":  # a text, whatever it looks like
        return text[1:-1].replace("''", "'")
    if SIZE.fullmatch(text):
        size = float(with_sizes(text))
        return int(size) if size.is_integer() else size
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
