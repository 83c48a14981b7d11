"""`isoflop compare`: a short spelling of COMPARE and COMPARE APPROACHES."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption


def compare(
    candidates: Annotated[
        list[str] | None,
        typer.Argument(metavar="LAW|FORMULA…", help="Saved laws, or formulas like 'loss ~ kaplan(params, tokens)'."),
    ] = None,
    approaches: Annotated[
        bool, typer.Option("--approaches", help="The best size for a budget by envelope, isoFLOP profiles and law.")
    ] = False,
    from_: Annotated[
        str, typer.Option("--from", metavar="SOURCE", help="A table, a view, a file or a query.")
    ] = "runs",
    where: Annotated[str | None, typer.Option("--where", "-w", metavar="CONDITION", help="Which rows.")] = None,
    group_by: Annotated[
        str | None, typer.Option("--group-by", metavar="COLUMN,…", help="One comparison for each value (approaches).")
    ] = None,
    holdout: Annotated[
        str | None,
        typer.Option("--holdout", metavar="SPLIT", help="Judge laws by these rows: 'LARGEST 20 PERCENT BY flops'."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="FLOPS,…", help="Best sizes at these budgets (approaches)."),
    ] = None,
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="KEY=VALUE", help="An option: weighing=resamples, tolerance=0.2, seed=0."),
    ] = None,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Compare laws on the same rows, or the approaches to the best size for a budget.

    The statement this stands for is printed on stderr.

      isoflop compare chin "loss ~ kaplan(params, tokens)" --holdout "LARGEST 20 PERCENT BY flops"

      isoflop compare chin kap --with weighing=resamples

      isoflop compare --approaches --at 1e21,1e22

      isoflop compare --approaches --where "corpus = 'web'" --with budgets=1e19,1e20,1e21 --with tolerance=0.2
    """
    from isoflop.cli.options import chosen_format, open_lake
    from isoflop.cli.output import note, show

    form = chosen_format(format, json)
    statement = compare_statement(
        candidates or [], from_, approaches=approaches, where=where, group_by=group_by, holdout=holdout, at=at,
        options=with_ or [],
    )  # fmt: skip
    note(statement)
    with open_lake(lake) as opened:
        answer = opened.sql(statement)
    show(answer, form)


def compare_statement(
    candidates: list[str],
    source: str,
    *,
    approaches: bool = False,
    where: str | None = None,
    group_by: str | None = None,
    holdout: str | None = None,
    at: str | None = None,
    options: list[str] | None = None,
) -> str:
    """Return the statement that `isoflop compare` stands for, one clause a line.

    Raises
    ------
    UsageError : for nothing to compare, or an option of the other comparison

    Example
    -------
    >>> print(compare_statement(["chin", "loss ~ power(flops)"], "runs.csv", holdout="KFOLD 5"))
    COMPARE chin, (loss ~ power(flops))
    FROM 'runs.csv'
    KFOLD 5
    >>> print(compare_statement([], "runs", approaches=True, at="1e21,1e22"))
    COMPARE APPROACHES
    FROM runs
    AT flops = [1e21, 1e22]
    """
    from isoflop.cli.fit import as_assignment, as_source, quoted_name
    from isoflop.lakehouse.errors import UsageError

    subjects = [f"({candidate.strip()})" if "~" in candidate else quoted_name(candidate) for candidate in candidates]
    if approaches:
        if holdout is not None:
            raise UsageError("--approaches compares on all rows; leave --holdout out")
        if len(subjects) > 1 or any("~" not in candidate for candidate in candidates):
            raise UsageError("--approaches takes one formula at most, such as 'loss ~ chinchilla(params, tokens)'")
        lines = [" ".join(["COMPARE APPROACHES", *subjects])]
    else:
        if not subjects:
            raise UsageError("there is nothing to compare; name laws or formulas, or give --approaches")
        if group_by is not None or at is not None:
            raise UsageError(f"{'--group-by' if at is None else '--at'} belongs to --approaches")
        lines = [f"COMPARE {', '.join(subjects)}"]
    lines.append(f"FROM {as_source(source)}")
    lines += [f"{word} {text}" for word, text in (("WHERE", where), ("GROUP BY", group_by)) if text]
    if holdout is not None:
        is_split = holdout.strip().upper().startswith(("HOLDOUT", "KFOLD", "LEAVE"))
        lines.append(holdout.strip() if is_split else f"HOLDOUT {holdout.strip()}")
    if at is not None:
        lines.append(f"AT {as_assignment(f'flops={at}', '--at')}")
    if options:
        lines.append(f"WITH ({', '.join(as_assignment(option, '--with') for option in options)})")
    return "\n".join(lines)
