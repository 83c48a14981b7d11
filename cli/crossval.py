"""`isoflop crossval`: a short spelling of CROSS VALIDATE."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.completing import complete_law
from isoflop.cli.options import FormatOption, JsonOption, LakeOption, WithOption

LARGE_FROM_SMALL = "LARGEST 20 PERCENT BY flops"  # what a scaling law is for: the large runs from the small ones


def crossval(
    law: Annotated[
        str,
        typer.Argument(
            metavar="LAW|FORMULA",
            autocompletion=complete_law,
            help="A saved law, or a formula: 'loss ~ chinchilla(params, tokens)'.",
        ),
    ],
    holdout: Annotated[
        str,
        typer.Option(
            "--holdout", metavar="SPLIT", help="How rows are split: 'LARGEST 20 PERCENT BY flops', 'KFOLD 5'."
        ),
    ] = LARGE_FROM_SMALL,
    from_: Annotated[
        str, typer.Option("--from", metavar="SOURCE", help="A table, a view, a file or a query.")
    ] = "runs",
    where: Annotated[str | None, typer.Option("--where", "-w", metavar="CONDITION", help="Which rows.")] = None,
    weight_by: Annotated[str | None, typer.Option("--weight-by", metavar="EXPRESSION", help="Weight of a row.")] = None,
    with_: WithOption = None,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Judge a law on rows it has not seen.

    The statement this stands for is printed on stderr.

      isoflop crossval chin

      isoflop crossval chin --holdout "KFOLD 5" --with seed=1

      isoflop crossval "loss ~ kaplan(params, tokens)" --where "params >= 10M" --holdout "LEAVE ONE OUT"
    """
    from isoflop.cli.options import answer_statement, chosen_format

    form = chosen_format(format, json)
    statement = crossval_statement(law, from_, holdout, where=where, weight_by=weight_by, options=with_)
    answer_statement(statement, lake, form)


def crossval_statement(
    law: str,
    source: str,
    holdout: str,
    *,
    where: str | None = None,
    weight_by: str | None = None,
    options: list[str] | None = None,
) -> str:
    """Return the statement that `isoflop crossval` stands for, one clause a line.

    Raises
    ------
    UsageError : for an option without a value

    Example
    -------
    >>> print(crossval_statement("chin", "runs", "KFOLD 5", where="params >= 10M", options=["seed=1"]))
    CROSS VALIDATE chin
    FROM runs
    WHERE params >= 10M
    KFOLD 5
    WITH (seed = 1)
    """
    from isoflop.cli.fit import as_holdout, as_source, law_in_statement, with_clause

    lines = [f"CROSS VALIDATE {law.strip() if '~' in law else law_in_statement(law)}", f"FROM {as_source(source)}"]
    lines += [f"{word} {text}" for word, text in (("WHERE", where), ("WEIGHT BY", weight_by)) if text]
    return "\n".join([*lines, as_holdout(holdout), *with_clause(options or [])])
