"""`isoflop extrapolate`: a short spelling of EXTRAPOLATE."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption, LawArgument


def extrapolate(
    law: LawArgument,
    to: Annotated[
        list[str],
        typer.Argument(metavar="COLUMN=VALUE…", help="Where to: params=1e12 tokens=2e13; a value may be a list."),
    ],
    level: Annotated[
        float | None, typer.Option("--level", metavar="SHARE", help="Share that the interval covers [default: 0.95].")
    ] = None,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Interval of the law itself, without the noise of a single run.")
    ] = False,
    average_with: Annotated[
        list[str] | None,
        typer.Option("--average-with", metavar="LAW", help="Average with this law, fitted to the same rows."),
    ] = None,
    through: Annotated[
        list[str] | None,
        typer.Option("--through", metavar="LAW", help="Hand the prediction to this law, which takes it as an input."),
    ] = None,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Predict beyond the runs, with an interval and how far beyond it is.

    Values may use columns given before them, and several values make a row each. The statement this stands
    for is printed on stderr.

      isoflop extrapolate chin params=1e12 tokens=2e13

      isoflop extrapolate chin params=1e11,1e12 "tokens=20 * params"

      isoflop extrapolate chin --average-with kap params=1e12 tokens=2e13

      isoflop extrapolate chin --through task params=7e10 tokens=1.4e12

      isoflop extrapolate chin flops=6e23 "params=sqrt(flops / 120)" "tokens=20 * params"
    """
    from isoflop.cli.options import answer_statement, chosen_format

    form = chosen_format(format, json)
    statement = extrapolate_statement(
        law, to, level=level, confidence=confidence, average_with=average_with, through=through
    )
    answer_statement(statement, lake, form)


def extrapolate_statement(
    law: str,
    to: list[str],
    *,
    level: float | None = None,
    confidence: bool = False,
    average_with: list[str] | None = None,
    through: list[str] | None = None,
) -> str:
    """Return the statement that `isoflop extrapolate` stands for.

    Raises
    ------
    UsageError : for a target without a value, or an average that is to be handed on

    Example
    -------
    >>> extrapolate_statement("chin", ["params=1e11,1e12", "tokens=20 * params"], level=0.9)
    'EXTRAPOLATE chin TO params = [1e11, 1e12], tokens = 20 * params WITH (level = 0.9)'
    >>> extrapolate_statement("chin", ["params=1e11", "tokens=2e12"], average_with=["kap"])
    'EXTRAPOLATE AVERAGE OF chin, kap TO params = 1e11, tokens = 2e12'
    >>> extrapolate_statement("chin", ["params=1e11", "tokens=2e12"], through=["task"])
    'EXTRAPOLATE chin THROUGH task TO params = 1e11, tokens = 2e12'
    """
    from isoflop.cli.fit import as_assignment, law_in_statement
    from isoflop.lakehouse.errors import UsageError

    if average_with and through:
        raise UsageError("--through takes what one law predicts; leave --average-with out")

    names = ", ".join(law_in_statement(name) for name in (law, *(average_with or [])))
    subject = f"AVERAGE OF {names}" if average_with else names
    if through:
        subject += f" THROUGH {', '.join(map(law_in_statement, through))}"
    statement = f"EXTRAPOLATE {subject} TO {', '.join(as_assignment(each, 'isoflop extrapolate LAW') for each in to)}"
    options = [] if level is None else [f"level = {level:g}"]
    options += ["interval = 'confidence'"] if confidence else []
    return f"{statement} WITH ({', '.join(options)})" if options else statement
