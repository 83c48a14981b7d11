"""`isoflop laws`: the saved laws, one of them in full, or the forms that have names."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption


def laws(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The law to show in full.")] = None,
    forms: Annotated[bool, typer.Option("--forms", help="List the forms that have names, with their sources.")] = False,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """List the saved laws, or the coefficients of one.

    SHOW LAWS, DESCRIBE LAW and SHOW LAW FORMS are the statements behind it.

      isoflop laws

      isoflop laws chin

      isoflop laws --forms
    """
    from isoflop.cli.fit import quoted_name
    from isoflop.cli.options import chosen_format, open_lake
    from isoflop.cli.output import note, show
    from isoflop.lakehouse.errors import UsageError

    form = chosen_format(format, json)
    if forms and name is not None:
        raise UsageError("--forms lists every form; leave the name out")
    statement = "SHOW LAW FORMS" if forms else "SHOW LAWS" if name is None else f"DESCRIBE LAW {quoted_name(name)}"
    with open_lake(lake, makes=False) as opened:
        answer = opened.sql(statement)
    show(answer, form)
    if not len(answer) and not forms:
        note('no laws yet: isoflop fit "loss ~ chinchilla(params, tokens)" --name chin')
