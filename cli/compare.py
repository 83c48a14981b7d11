"""`isoflop compare`: a short spelling of COMPARE, COMPARE APPROACHES and COMPARE GAIN."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.completing import complete_law
from isoflop.cli.options import FormatOption, JsonOption, LakeOption


def compare(
    candidates: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LAW|FORMULA…",
            autocompletion=complete_law,
            help="Saved laws, or formulas like 'loss ~ kaplan(params, tokens)'.",
        ),
    ] = None,
    approaches: Annotated[
        bool, typer.Option("--approaches", help="The best size for a budget by envelope, isoFLOP profiles and law.")
    ] = False,
    gain: Annotated[bool, typer.Option("--gain", help="How much compute the first law saves over the second.")] = False,
    from_: Annotated[
        str, typer.Option("--from", metavar="SOURCE", help="A table, a view, a file or a query.")
    ] = "runs",
    where: Annotated[str | None, typer.Option("--where", "-w", metavar="CONDITION", help="Which rows.")] = None,
    group_by: Annotated[
        str | None,
        typer.Option("--group-by", metavar="COLUMN,…", help="One comparison a value; groups of --gain."),
    ] = None,
    sharing: Annotated[
        str | None,
        typer.Option("--sharing", metavar="NAME,…", help="Coefficients that the groups of --gain have in common."),
    ] = None,
    holdout: Annotated[
        str | None,
        typer.Option("--holdout", metavar="SPLIT", help="Judge laws by these rows: 'LARGEST 20 PERCENT BY flops'."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="FLOPS,…", help="Best sizes, or the gain, at these budgets."),
    ] = None,
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="KEY=VALUE", help="An option: weighing=resamples, tolerance=0.2, seed=0."),
    ] = None,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Compare laws on the same rows, approaches to the best size for a budget, or the compute two laws need.

    The statement this stands for is printed on stderr.

      isoflop compare chin "loss ~ kaplan(params, tokens)" --holdout "LARGEST 20 PERCENT BY flops"

      isoflop compare chin kap --with weighing=resamples

      isoflop compare --approaches --at 1e21,1e22

      isoflop compare --gain new old --at 1e21,1e23

      isoflop compare --gain new old "loss ~ chinchilla(params, tokens)" --group-by recipe --sharing E,alpha,beta

      isoflop compare --approaches --where "corpus = 'web'" --with budgets=1e19,1e20,1e21 --with tolerance=0.2
    """
    from isoflop.cli.options import answer_statement, chosen_format
    from isoflop.lakehouse.errors import UsageError

    form = chosen_format(format, json)
    if gain:
        if approaches or holdout is not None:
            raise UsageError("--gain takes no --approaches and no --holdout")
        if group_by is None and where is not None:
            raise UsageError("--gain compares two saved laws as they are; --where goes with --group-by")
        statement = gain_statement(
            candidates or [], at=at, options=with_ or [], source=from_, where=where, group_by=group_by, sharing=sharing
        )
    else:
        if sharing is not None:
            raise UsageError("--sharing belongs to --gain with --group-by")
        statement = compare_statement(
        candidates or [], from_, approaches=approaches, where=where, group_by=group_by, holdout=holdout, at=at,
        options=with_ or [],
    )  # fmt: skip
    answer_statement(statement, lake, form, makes=from_.strip().lower() != "runs")


def gain_statement(
    candidates: list[str],
    *,
    at: str | None = None,
    options: list[str] | None = None,
    source: str = "runs",
    where: str | None = None,
    group_by: str | None = None,
    sharing: str | None = None,
) -> str:
    """Return the statement that `isoflop compare --gain` stands for.

    With `group_by` the candidates are the values of two groups and the formula that is fitted to each; `level` and
    `seed` are then options of the comparison, all others of the fit.

    Raises
    ------
    UsageError : for other than two laws, or other than two groups and a formula

    Example
    -------
    >>> gain_statement(["new", "old"], at="1e21,1e23")
    'COMPARE GAIN OF new OVER old AT flops = [1e21, 1e23]'
    >>> print(gain_statement(["new", "old", "loss ~ power(flops)"], group_by="recipe", sharing="E", at="1e21"))
    COMPARE GAIN OF 'new' OVER 'old' IN (
    FIT loss ~ power(flops)
    FROM runs
    GROUP BY recipe SHARING (E)) AT flops = 1e21
    """
    from isoflop.cli.fit import as_assignment, fit_statement, law_in_statement
    from isoflop.lakehouse.errors import UsageError
    from isoflop.lakehouse.sql.quoting import literal

    own = options or []
    if group_by is None:
        if sharing is not None:
            raise UsageError("--sharing needs --group-by: the groups that have these coefficients in common")
        if len(candidates) != 2 or any("~" in candidate for candidate in candidates):
            raise UsageError("--gain takes two saved laws: isoflop compare --gain new old")
        first, second = map(law_in_statement, candidates)
        statement = f"COMPARE GAIN OF {first} OVER {second}"
    else:
        if len(candidates) != 3 or ["~" in candidate for candidate in candidates] != [False, False, True]:
            said = "isoflop compare --gain new old 'loss ~ power(flops)' --group-by recipe"
            raise UsageError("--gain with --group-by takes the values of two groups and a formula", hint=said)
        is_own = [option.partition("=")[0].strip().lower() in ("level", "seed") for option in own]
        of_fit = [option for option, compares in zip(own, is_own, strict=True) if not compares]
        own = [option for option, compares in zip(own, is_own, strict=True) if compares]
        fit = fit_statement(candidates[2], source, where=where, group_by=group_by, sharing=sharing, options=of_fit)
        statement = f"COMPARE GAIN OF {literal(candidates[0])} OVER {literal(candidates[1])} IN (\n{fit})"
    if at is not None:
        statement += f" AT {as_assignment(at if '=' in at else f'flops={at}', '--at')}"
    if own:
        statement += f" WITH ({', '.join(as_assignment(option, '--with') for option in own)})"
    return statement


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
    from isoflop.cli.fit import as_assignment, as_holdout, as_source, law_in_statement, with_clause
    from isoflop.lakehouse.errors import UsageError

    subjects = [
        f"({candidate.strip()})" if "~" in candidate else law_in_statement(candidate) for candidate in candidates
    ]
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
        lines.append(as_holdout(holdout))
    if at is not None:
        lines.append(f"AT {as_assignment(f'flops={at}', '--at')}")
    lines += with_clause(options or [])
    return "\n".join(lines)
