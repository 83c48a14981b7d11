"""`isoflop fit`: a short spelling of FIT and CREATE LAW."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption

FILES = (".csv", ".tsv", ".parquet", ".json", ".jsonl", ".ndjson")


def fit(
    formula: Annotated[
        str, typer.Argument(metavar="FORMULA", help="What follows what: 'loss ~ chinchilla(params, tokens)'.")
    ],
    from_: Annotated[
        str, typer.Option("--from", metavar="SOURCE", help="A table, a view, a file or a query.")
    ] = "runs",
    where: Annotated[str | None, typer.Option("--where", "-w", metavar="CONDITION", help="Which rows.")] = None,
    parameters: Annotated[
        str | None,
        typer.Option("--parameters", metavar="LIST", help="The free numbers of a formula: 'E > 0, a IN [0, 1]'."),
    ] = None,
    group_by: Annotated[
        str | None, typer.Option("--group-by", metavar="COLUMN,…", help="One fit for each value.")
    ] = None,
    sharing: Annotated[
        str | None,
        typer.Option("--sharing", metavar="NAME,…", help="Coefficients that all groups of --group-by have in common."),
    ] = None,
    weight_by: Annotated[str | None, typer.Option("--weight-by", metavar="EXPRESSION", help="Weight of a row.")] = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Save the fit as a law of this name.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Save a new version of the law when it exists.")] = False,
    with_: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="KEY=VALUE",
            help="An option of the fit: delta=1e-3, resamples=1000, seed=0, bootstrap=auto, intervals=profile.",
        ),
    ] = None,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Fit a law to runs, and save it when it gets a name.

    The statement this stands for is printed on stderr, ready for `isoflop sql` and `isoflop shell`.

      isoflop fit "loss ~ chinchilla(params, tokens)"

      isoflop fit "loss ~ chinchilla(params, tokens)" --name chin

      isoflop fit "loss ~ power(flops)" --where "width > 64" --with seed=1

      isoflop fit "loss ~ power(flops)" --with bootstrap=auto --with intervals=profile

      isoflop fit "loss ~ power(tokens)" --from runs.csv --group-by width

      isoflop fit "loss ~ chinchilla(params, tokens)" --group-by recipe --sharing E,alpha,beta

      isoflop fit "loss ~ A / tokens ^ b" --parameters "A > 0, b > 0"
    """
    from isoflop.cli.options import answer_statement, chosen_format

    form = chosen_format(format, json)
    statement = fit_statement(
        formula, from_, where=where, parameters=parameters, group_by=group_by, sharing=sharing, weight_by=weight_by,
        name=name, replace=replace, options=with_ or [],
    )  # fmt: skip
    answer_statement(statement, lake, form, makes=from_.strip().lower() != "runs")


def fit_statement(
    formula: str,
    source: str,
    *,
    where: str | None = None,
    parameters: str | None = None,
    group_by: str | None = None,
    sharing: str | None = None,
    weight_by: str | None = None,
    name: str | None = None,
    replace: bool = False,
    options: list[str] | None = None,
) -> str:
    """Return the statement that `isoflop fit` stands for, one clause a line.

    Raises
    ------
    UsageError : for an option without a value, --replace without a name, or --sharing without groups

    Example
    -------
    >>> print(fit_statement("loss ~ power(flops)", "runs", name="best", options=["delta=1e-4"]))
    CREATE LAW best AS
    FIT loss ~ power(flops)
    FROM runs
    WITH (delta = 1e-4)
    >>> print(fit_statement("loss ~ power(flops)", "runs", group_by="recipe", sharing="E,alpha"))
    FIT loss ~ power(flops)
    FROM runs
    GROUP BY recipe SHARING (E,alpha)
    """
    from isoflop.lakehouse.errors import UsageError

    if replace and name is None:
        raise UsageError("--replace needs --name: the law that gets a new version")
    if sharing is not None and group_by is None:
        raise UsageError("--sharing needs --group-by: the groups that have these coefficients in common")
    groups = f"{group_by} SHARING ({sharing.strip().strip('()')})" if group_by and sharing else group_by
    lines = []
    if name is not None:
        lines.append(f"CREATE {'OR REPLACE ' if replace else ''}LAW {quoted_name(name)} AS")
    lines.append(f"FIT {formula.strip()}" + (f" PARAMETERS ({parameters})" if parameters else ""))
    lines.append(f"FROM {as_source(source)}")
    clauses = (("WHERE", where), ("GROUP BY", groups), ("WEIGHT BY", weight_by))
    lines += [f"{keyword} {text}" for keyword, text in clauses if text]
    lines += with_clause(options or [])
    return "\n".join(lines)


def with_clause(options: list[str]) -> list[str]:
    """Return the WITH line of `key=value` options; none without any.

    Example
    -------
    >>> with_clause(["seed=1", "level=0.9"]), with_clause([])
    (['WITH (seed = 1, level = 0.9)'], [])
    """
    return [f"WITH ({', '.join(as_assignment(option, '--with') for option in options)})"] if options else []


def as_holdout(text: str) -> str:
    """Return how rows are split, HOLDOUT in front where the kind of split is not said.

    Example
    -------
    >>> as_holdout("LARGEST 20 PERCENT BY flops"), as_holdout("KFOLD 5")
    ('HOLDOUT LARGEST 20 PERCENT BY flops', 'KFOLD 5')
    """
    text = text.strip()
    return text if text.upper().startswith(("HOLDOUT", "KFOLD", "LEAVE")) else f"HOLDOUT {text}"


def as_source(text: str) -> str:
    """Return a source as FROM takes it: a file is quoted, a query stands in parentheses.

    Example
    -------
    >>> as_source("runs"), as_source("points.csv"), as_source("SELECT * FROM runs")
    ('runs', "'points.csv'", '(SELECT * FROM runs)')
    """
    from isoflop.lakehouse.sql.quoting import literal

    text = text.strip().removesuffix(";")
    if text.lower().endswith(FILES) and not text.startswith(("'", '"')) and "(" not in text:
        return literal(text)
    first = text.partition(" ")[0].upper()
    return f"({text})" if first in ("SELECT", "FROM", "WITH", "VALUES") else text


def as_assignment(text: str, option: str) -> str:
    """Return `key=value` as `key = value`; a list of values without brackets gets them.

    Raises
    ------
    UsageError : when there is no value

    Example
    -------
    >>> as_assignment("params=1e11,1e12", "TO"), as_assignment("tokens=20 * params", "TO")
    ('params = [1e11, 1e12]', 'tokens = 20 * params')
    """
    from isoflop.lakehouse.errors import UsageError

    key, equals, value = text.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise UsageError(f"'{text}' is not KEY=VALUE", hint=f"{option} params=1e12")
    parts = _split(value)
    value = f"[{', '.join(parts)}]" if len(parts) > 1 else value.strip()
    return f"{key.strip()} = {value}"


def _split(text: str) -> list[str]:
    """Return the parts between commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        else:
            depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def quoted_name(name: str) -> str:
    """Return a name as a statement takes it: quoted unless it is a plain word."""
    from isoflop.lakehouse.sql.quoting import quoted

    return name if name.isidentifier() and name.isascii() else quoted(name)


def law_in_statement(name: str) -> str:
    """Return a law as a statement takes it: quoted unless it is a plain word, or a published one's."""
    kind, colon, rest = name.partition(":")
    return f"{kind}:{quoted_name(rest)}" if colon and kind.lower() == "published" else quoted_name(name)
