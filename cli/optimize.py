"""`isoflop optimize`: a short spelling of OPTIMIZE, and the sweep file of the points it finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption, LawArgument, WithOption

if TYPE_CHECKING:
    from isoflop.lakehouse import Answer


def optimize(
    law: LawArgument,
    over: Annotated[
        list[str],
        typer.Option(
            "--over", metavar="RANGE", help="What may be chosen: 'params IN [10M, 1T] LOG', 'tokens = 20 * params'."
        ),
    ],
    subject_to: Annotated[
        list[str] | None, typer.Option("--subject-to", metavar="CONDITION", help="What has to hold: 'flops <= 1e21'.")
    ] = None,
    for_each: Annotated[
        str | None,
        typer.Option("--for-each", metavar="NAME=VALUE,…", help="Once for each: budget=1e21,1e22."),
    ] = None,
    minimize: Annotated[
        str | None,
        typer.Option(
            "--minimize",
            metavar="FORMULA",
            help="What is to be small [default: what the law predicts; of a metric such as accuracy its most].",
        ),
    ] = None,
    maximize: Annotated[str | None, typer.Option("--maximize", metavar="FORMULA", help="What is to be large.")] = None,
    with_: WithOption = None,
    sweep_file: Annotated[
        str | None, typer.Option("--sweep-file", metavar="FILE", help="Write the points as a sweep file (YAML).")
    ] = None,
    family: Annotated[
        str | None, typer.Option("--family", metavar="FAMILY", help="What the sweep trains [default: transformer].")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option("--like", metavar="FILE", help="A sweep file whose corpus, derived settings and limits it takes."),
    ] = None,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Find the size that a law says is best for a budget.

    Ranges and conditions are those of OPTIMIZE, and the statement this stands for is printed on stderr. A sweep file
    of the points goes to isoflop sweep.

    \b
      isoflop optimize chin --over "params IN [10M, 1T] LOG" --over "tokens IN [1B, 100T] LOG" \\
        --subject-to "flops <= 1e22"
      isoflop optimize chin --over "params IN [10M, 1T] LOG" --over "tokens IN [1B, 100T] LOG" \\
        --subject-to "flops <= budget" --for-each budget=1e21,1e22,1e23
      isoflop optimize chin --minimize flops --over "params IN [10M, 1T] LOG" --over "tokens = 20 * params" \\
        --subject-to "loss <= 2.1"
    """
    from isoflop.cli.design import write_sweep
    from isoflop.cli.options import answer_statement, chosen_format
    from isoflop.lakehouse.errors import UsageError

    form = chosen_format(format, json)
    if sweep_file is None and (family or like):
        raise UsageError("--family and --like are about a sweep file", hint="--sweep-file best.yaml")
    if family and like:
        raise UsageError("--like says the family already; give one of the two")
    statement = optimize_statement(
        law, over, subject_to=subject_to, for_each=for_each, minimize=minimize, maximize=maximize, options=with_
    )
    answer = answer_statement(statement, lake, form)
    if sweep_file is not None:
        write_sweep(best_points(answer, over), sweep_file, family or "transformer", like)


def optimize_statement(
    law: str,
    over: list[str],
    *,
    subject_to: list[str] | None = None,
    for_each: str | None = None,
    minimize: str | None = None,
    maximize: str | None = None,
    options: list[str] | None = None,
) -> str:
    """Return the statement that `isoflop optimize` stands for, one clause a line.

    Raises
    ------
    UsageError : for two things to optimize, or an option without a value

    Example
    -------
    >>> print(optimize_statement("chin", ["params IN [10M, 1T] LOG", "tokens = 20 * params"], subject_to=["flops <= b"],
    ...                          for_each="b=1e21,1e22"))
    OPTIMIZE chin
    OVER params IN [10M, 1T] LOG, tokens = 20 * params
    SUBJECT TO flops <= b
    FOR EACH b IN [1e21, 1e22]
    """
    from isoflop.cli.fit import as_assignment, law_in_statement, with_clause
    from isoflop.lakehouse.errors import UsageError

    if minimize and maximize:
        raise UsageError("one formula is optimized; give --minimize or --maximize")
    aim = f" MAXIMIZE {maximize}" if maximize else f" MINIMIZE {minimize}" if minimize else ""
    lines = [f"OPTIMIZE {law_in_statement(law)}{aim}", f"OVER {', '.join(over)}"]
    if subject_to:
        lines.append(f"SUBJECT TO {', '.join(subject_to)}")
    if for_each is not None:
        name, _, values = as_assignment(for_each, "--for-each").partition(" = ")
        lines.append(f"FOR EACH {name} IN {values if values.startswith(('[', '(')) else f'[{values}]'}")
    return "\n".join([*lines, *with_clause(options or [])])


def best_points(answer: Answer, over: list[str]) -> list[dict[str, float]]:
    """Return what OPTIMIZE chose in each row that has an optimum, by the names of OVER, and its FLOPs where known.

    Raises
    ------
    UsageError : when no row has one
    """
    from isoflop.lakehouse.errors import UsageError
    from isoflop.queries.language.syntax.tokens import tokenize

    names = {tokenize(each)[0].name for each in over}
    found: list[dict[str, float]] = []
    for row in answer.records():
        if row["status"] != "infeasible":
            point = {name: value for name, value in row.items() if name in names and isinstance(value, int | float)}
            if "flops" not in point and {"params", "tokens"} <= point.keys():
                point["flops"] = 6 * point["params"] * point["tokens"]  # as OPTIMIZE counts them
            found.append(point)
    if not found:
        raise UsageError("no point satisfies the conditions, so that there is nothing to train")
    return found
