"""`isoflop residuals`: a short spelling of RESIDUALS."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption, LawArgument, WithOption


def residuals(
    law: LawArgument,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="SOURCE", help="A table, a view, a file or a query [default: the law's rows]."),
    ] = None,
    where: Annotated[
        str | None, typer.Option("--where", "-w", metavar="CONDITION", help="Which rows; of runs without --from.")
    ] = None,
    with_: WithOption = None,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Show what a law leaves unexplained of each row.

    Without --from and --where the rows are those that the law was fitted to. The statement this stands for is printed
    on stderr; isoflop plot LAW --kind residuals draws it.

      isoflop residuals chin

      isoflop residuals chin --where "params >= 1B"

      isoflop residuals chin --from runs.csv --format csv
    """
    from isoflop.cli.options import answer_statement, chosen_format
    from isoflop.cli.predict import over_rows

    form = chosen_format(format, json)
    answer_statement(over_rows("RESIDUALS", law, from_, where, with_), lake, form)
