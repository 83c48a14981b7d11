"""`isoflop forecast`: a short spelling of FORECAST and SHOW FORECASTS."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.completing import complete_law
from isoflop.cli.options import FormatOption, JsonOption, LakeOption, WithOption


def forecast(
    law: Annotated[
        str | None,
        typer.Argument(
            metavar="[LAW]", autocompletion=complete_law, help="A saved law; without one, the forecasts are listed."
        ),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Argument(metavar="COLUMN=VALUE…", help="Where to: params=70B tokens=1.4T; a value may be a list."),
    ] = None,
    with_: WithOption = None,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Predict beyond the runs, keep it, and score it when the runs land.

    The same as isoflop extrapolate, and kept in the lake. The statement this stands for is printed on stderr.

      isoflop forecast chin params=70B tokens=1.4T

      isoflop forecast chin params=7B,70B "tokens=20 * params" --with level=0.9

      isoflop forecast
    """
    from isoflop.cli.options import answer_statement, chosen_format

    form = chosen_format(format, json)
    answer_statement(forecast_statement(law, to or [], with_), lake, form)


def forecast_statement(law: str | None, to: list[str], options: list[str] | None = None) -> str:
    """Return the statement that `isoflop forecast` stands for.

    Raises
    ------
    UsageError : for a law without a target, or a target without a value

    Example
    -------
    >>> forecast_statement("chin", ["params=7B,70B", "tokens=20 * params"]), forecast_statement(None, [])
    ('FORECAST chin TO params = [7B, 70B], tokens = 20 * params', 'SHOW FORECASTS')
    """
    from isoflop.cli.fit import as_assignment, law_in_statement, with_clause
    from isoflop.lakehouse.errors import UsageError

    if law is None:
        if options:
            raise UsageError("--with belongs to a forecast", hint="isoflop forecast LAW params=70B tokens=1.4T")
        return "SHOW FORECASTS"
    usage = f"isoflop forecast {law} params=70B tokens=1.4T"
    if not to:
        raise UsageError("a forecast is of some place", hint=usage)
    targets = ", ".join(as_assignment(each, "isoflop forecast LAW") for each in to)
    return "\n".join([f"FORECAST {law_in_statement(law)} TO {targets}", *with_clause(options or [])])
