"""`isoflop predict`: a short spelling of PREDICT."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption, LawArgument, WithOption


def predict(
    law: LawArgument,
    from_: Annotated[
        str, typer.Option("--from", metavar="SOURCE", help="A table, a view, a file or a query.")
    ] = "runs",
    where: Annotated[str | None, typer.Option("--where", "-w", metavar="CONDITION", help="Which rows.")] = None,
    with_: WithOption = None,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Put what a law says beside each row, with its interval.

    The statement this stands for is printed on stderr.

      isoflop predict chin

      isoflop predict chin --where "params >= 1B" --with level=0.9

      isoflop predict chin --from runs.csv --format csv
    """
    from isoflop.cli.options import answer_statement, chosen_format

    form = chosen_format(format, json)
    answer_statement(over_rows("PREDICT", law, from_, where, with_), lake, form)


def over_rows(verb: str, law: str, source: str | None, where: str | None, options: list[str] | None) -> str:
    """Return the statement that asks a law about rows, one clause a line.

    Parameters
    ----------
    verb : `PREDICT` or `RESIDUALS`
    source : of the rows; None for those that the law was fitted to

    Raises
    ------
    UsageError : for an option without a value, or a condition without rows

    Example
    -------
    >>> print(over_rows("PREDICT", "chin", "runs.csv", "params >= 1B", ["level=0.9"]))
    PREDICT chin
    FROM 'runs.csv'
    WHERE params >= 1B
    WITH (level = 0.9)
    """
    from isoflop.cli.fit import as_source, law_in_statement, with_clause

    if source is None and where is not None:
        source = "runs"
    lines = [f"{verb} {law_in_statement(law)}"]
    lines += [f"{word} {text}" for word, text in (("FROM", source and as_source(source)), ("WHERE", where)) if text]
    return "\n".join([*lines, *with_clause(options or [])])
