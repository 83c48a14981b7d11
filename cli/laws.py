"""`isoflop laws`: the saved laws, one of them in full, or the forms that have names."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.completing import complete_law
from isoflop.cli.options import FormatOption, JsonOption, LakeOption


def laws(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", autocompletion=complete_law, help="The law to show in full.")
    ] = None,
    forms: Annotated[bool, typer.Option("--forms", help="List the forms that have names, with their sources.")] = False,
    published: Annotated[
        bool, typer.Option("--published", help="List the laws of papers, with their numbers and sources.")
    ] = False,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """List the saved laws, or the coefficients of one.

    SHOW LAWS, DESCRIBE LAW, SHOW LAW FORMS and SHOW PUBLISHED LAWS are the statements behind it.

      isoflop laws

      isoflop laws chin

      isoflop laws --forms

      isoflop laws --published

      isoflop laws published:besiroglu_2024
    """
    from isoflop.cli.fit import law_in_statement
    from isoflop.cli.options import chosen_format, lake_for
    from isoflop.cli.output import note, show
    from isoflop.lakehouse.errors import UsageError

    form = chosen_format(format, json)
    if forms and published:
        raise UsageError("--forms and --published exclude each other")
    if (forms or published) and name is not None:
        listed = "--forms lists every form" if forms else "--published lists every law of a paper"
        raise UsageError(f"{listed}; leave the name out")
    if forms or published:
        statement = "SHOW LAW FORMS" if forms else "SHOW PUBLISHED LAWS"
    else:
        statement = "SHOW LAWS" if name is None else f"DESCRIBE LAW {law_in_statement(name)}"
    with lake_for(statement, lake) as opened:
        answer = opened.sql(statement)
    show(answer, form)
    if not len(answer) and not forms and not published:
        note('no laws yet: isoflop fit "loss ~ chinchilla(params, tokens)" --name chin')
