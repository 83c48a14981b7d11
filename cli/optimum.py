"""`isoflop optimum`: a short spelling of OPTIMUM OF, and of CREATE LAW … AS OPTIMUM OF."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption, WithOption


def optimum(
    swept: Annotated[str, typer.Argument(metavar="SETTING", help="What was tried at several values: learning_rate.")],
    by: Annotated[
        str, typer.Option("--by", metavar="COLUMN,…", help="What the runs of a cell have in common: params,tokens.")
    ],
    minimize: Annotated[
        str | None, typer.Option("--minimize", metavar="COLUMN", help="What is to be small [default: loss].")
    ] = None,
    maximize: Annotated[str | None, typer.Option("--maximize", metavar="COLUMN", help="What is to be large.")] = None,
    from_: Annotated[
        str, typer.Option("--from", metavar="SOURCE", help="A table, a view, a file or a query.")
    ] = "runs",
    where: Annotated[str | None, typer.Option("--where", "-w", metavar="CONDITION", help="Which rows.")] = None,
    group_by: Annotated[
        str | None, typer.Option("--group-by", metavar="COLUMN,…", help="Cells and a law for each value.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Save the law through the optima by this name.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Save a new version of the law when it exists.")] = False,
    with_: WithOption = None,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Find where a swept setting is best, cell by cell, and the power law of it.

    The statement this stands for is printed on stderr.

    \b
      isoflop optimum learning_rate --by params,tokens
      isoflop optimum learning_rate --by params,tokens --where "batch_size = 256" --with within=0.05 --name best_lr
      isoflop optimum params --by flops --with tolerance=0.1
      isoflop optimum dropout --by params --maximize accuracy --from runs.csv
    """
    from isoflop.cli.options import answer_statement, chosen_format

    form = chosen_format(format, json)
    clauses = {"FROM": from_, "WHERE": where, "GROUP BY": group_by}
    aims = {"MINIMIZE": minimize, "MAXIMIZE": maximize}
    statement = optimum_statement(swept, by, aims, clauses, name=name, replace=replace, options=with_)
    answer_statement(statement, lake, form)


def optimum_statement(
    swept: str,
    by: str,
    aims: dict[str, str | None],
    clauses: dict[str, str | None],
    *,
    name: str | None = None,
    replace: bool = False,
    options: list[str] | None = None,
) -> str:
    """Return the statement that `isoflop optimum` stands for, one clause a line.

    Parameters
    ----------
    swept, by : what was swept, and what tells cells apart
    aims : MINIMIZE or MAXIMIZE -> what is to be so
    clauses : FROM, WHERE and GROUP BY -> their texts
    name, replace : of the law that is saved
    options : of the WITH list, `key=value`

    Raises
    ------
    UsageError : for two aims, --replace without a name, or an option without a value

    Example
    -------
    >>> print(optimum_statement("lr", "params,tokens", {"MINIMIZE": "loss"}, {"FROM": "runs"}, name="best_lr"))
    CREATE LAW best_lr AS
    OPTIMUM OF lr BY (params,tokens) MINIMIZE loss
    FROM runs
    """
    from isoflop.cli.fit import as_source, quoted_name, with_clause
    from isoflop.lakehouse.errors import UsageError

    given = [f" {word} {text}" for word, text in aims.items() if text]
    if len(given) > 1:
        raise UsageError("one column is to be small or large; give --minimize or --maximize")
    if replace and name is None:
        raise UsageError("--replace needs --name: the law that gets a new version")
    lines = [] if name is None else [f"CREATE {'OR REPLACE ' if replace else ''}LAW {quoted_name(name)} AS"]
    columns = by.strip()
    columns = columns if columns.startswith("(") and columns.endswith(")") else f"({columns})"
    lines.append(f"OPTIMUM OF {swept.strip()} BY {columns}{''.join(given)}")
    for word, text in clauses.items():
        if text:
            lines.append(f"{word} {as_source(text) if word == 'FROM' else text}")
    return "\n".join([*lines, *with_clause(options or [])])
