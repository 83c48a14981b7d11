"""The power law through the optima of cells: how it is written, and the FIT that it is kept as."""

from __future__ import annotations

from collections.abc import Sequence

from isoflop.queries.language.bind import is_plain, tidy
from isoflop.queries.language.options import OPTIMUM_KEYS
from isoflop.queries.language.question import Question
from isoflop.queries.language.scaled import scaled_column
from isoflop.queries.language.syntax.nodes import Option
from isoflop.queries.language.syntax.optimum import CreateOptimum, OptimumClause
from isoflop.queries.language.syntax.tokens import quote_name
from isoflop.queries.laws import find_law
from isoflop.queries.laws.algebra.parser import match_name
from isoflop.queries.laws.law import LARGEST_EXPONENT, input_names

# Forms of the same shape, each taken where it predicts what was swept from what tells cells apart.
FORMS = ("optimal_params", "optimal_tokens", "optimal_learning_rate", "optimal_batch")
FACTOR, EXPONENTS = "k", "abcdghijlmnopqrstuvwxyz"  # no letter that is a number of the field, or nearly one
SHARED = ("resamples", "seed", "level")  # options of the cells' intervals and of the law's
OBJECTIVE = "least_squares_log"  # what weights by variance are for


def power_names(columns: Sequence[str], swept: str) -> tuple[str, tuple[str, ...]]:
    """Return what the factor and the exponents of a power law are called, apart from its columns and its target.

    Example
    -------
    >>> power_names(["params", "A"], "lr")
    ('k', ('b', 'c'))
    """
    taken = {name.lower() for name in (*columns, swept)}
    spare = [f"p{number}" for number in range(2 * len(taken) + 1)]
    free = [name for name in (*EXPONENTS, *spare) if name not in taken]
    factor = next(name for name in (FACTOR, *reversed(free)) if name not in taken)
    return factor, tuple(free[: len(columns)])


def power_text(columns: Sequence[str], factor: str, exponents: Sequence[str]) -> str:
    """Return the power law over columns as a formula.

    Example
    -------
    >>> power_text(["params", "my tokens"], "k", ["a", "b"])
    'k * params ^ a * "my tokens" ^ b'
    """
    powers = (f"{written(column)} ^ {exponent}" for column, exponent in zip(columns, exponents, strict=True))
    return " * ".join([factor, *powers])


def written(name: str) -> str:
    """Return a name as a formula takes it."""
    return name if is_plain(name) else quote_name(name)


def columns_of(clause: OptimumClause) -> tuple[list[str], list[str]]:
    """Return what a law through the cells is a law of, and the SQL of those columns that the cells do not have.

    A cell of `params / 1e6` is one of params: whoever asks the law says params.
    """
    named = [cell.name for cell in clause.cells]
    columns: list[str] = []
    counted: list[str] = []
    for cell in clause.cells:
        found = None if cell.alias else scaled_column(cell.expression)
        if found is None or found[1] == 1 or found[0] in (*named, *columns):
            columns.append(cell.name)
            continue
        columns.append(found[0])
        counted.append(f"{quote_name(cell.name)} / {found[1]!r} AS {quote_name(found[0])}")
    return columns, counted


def form_of(clause: OptimumClause) -> str | None:
    """Return the built-in form that the law is, or None where there is none."""
    names = tuple(cell.name for cell in clause.cells)
    for form in FORMS:
        law = find_law(form)
        if law.target == clause.swept.name and input_names(law) == names:
            return form
    return None


def split_options(options: Sequence[Option]) -> tuple[tuple[Option, ...], tuple[Option, ...]]:
    """Return the options of the cells, and those of the fit of the law through them; some are of both."""
    of_cells = [match_name(option.key.text, OPTIMUM_KEYS) for option in options]
    cells = tuple(option for option, key in zip(options, of_cells, strict=True) if key is not None)
    fit = tuple(option for option, key in zip(options, of_cells, strict=True) if key is None or key in SHARED)
    return cells, fit


def as_fit(question: Question, node: CreateOptimum) -> str:
    """Return the statement that keeps the law: a FIT of the cells, weighted."""
    clause = node.optimum
    columns, counted = columns_of(clause)
    swept = written(clause.swept.name)
    form = form_of(clause)
    if form is not None:
        law = f"{form}({', '.join(map(written, columns))})"
    else:
        factor, exponents = power_names(columns, clause.swept.name)
        ranges = [f"{name} IN [-{LARGEST_EXPONENT:g}, {LARGEST_EXPONENT:g}]" for name in exponents]
        law = f"{power_text(columns, factor, exponents)} PARAMETERS ({', '.join([f'{factor} > 0', *ranges])})"
    cells, fit = split_options(clause.options)
    said = [_option(question, option) for option in fit]
    if not {option.key.text.lower() for option in fit} & {"objective", "delta"}:
        said.insert(0, f"objective = '{OBJECTIVE}'")
    inner = question.text[clause.start : clause.source.end]
    if cells:
        inner += f" WITH ({', '.join(_option(question, option) for option in cells)})"
    if counted:
        inner = f"SELECT *, {', '.join(counted)} FROM ({inner})"
    head = "CREATE OR REPLACE LAW" if node.or_replace else "CREATE LAW"
    head += " IF NOT EXISTS" if node.if_not_exists else ""
    return (
        f"{head} {written(node.name.text)} AS FIT optimum AS {swept} ~ {law}\n"
        f"FROM ({inner})\nWHERE status = 'optimal' WEIGHT BY weight WITH ({', '.join(said)})"
    )


def _option(question: Question, option: Option) -> str:
    return f"{option.key.text} = {tidy(question, option.value)}"
