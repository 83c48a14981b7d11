"""COMPARE APPROACHES: the best size for a budget by envelope, isoFLOP profiles and law, side by side.

Runs of equal compute are cut into slices. On each the best size is that of the lowest run (`envelope`, approach 1),
the vertex of a parabola or the lowest point of an Akima spline (`isoflop_parabola`, `isoflop_akima`, approach 2), or
where the law fitted to all rows is lowest (`law`, approach 3). A power of compute through the sizes of all budgets
gives the exponent; every approach sees the same resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from isoflop.lakehouse.errors import EmptySelection, FitError, StatementError, UsageError
from isoflop.queries.language.bind import Bound, Column, bind_candidate
from isoflop.queries.language.clause_options import ApproachOptions
from isoflop.queries.language.describe import (
    bound_steps,
    interval_steps,
    numbers_on_one_line,
    row_steps,
    search_steps,
)
from isoflop.queries.language.fits import group_names
from isoflop.queries.language.mixtures import refuse_mixture
from isoflop.queries.language.numbers import numbers
from isoflop.queries.language.options import read_approach_options
from isoflop.queries.language.question import Own, Question
from isoflop.queries.language.records import known
from isoflop.queries.language.row_groups import group_rows
from isoflop.queries.language.rows import Rows, column_of, describe_dropped, faults_of, no_rows, read_rows
from isoflop.queries.language.scaled import scaled_column
from isoflop.queries.language.syntax.nodes import CompareApproaches, Span
from isoflop.queries.language.verb import Steps
from isoflop.queries.laws import CHINCHILLA, known_laws
from isoflop.queries.laws.law import input_names
from isoflop.queries.planning.comparison import Approach, ApproachComparison
from isoflop.queries.planning.isoflop import APPROACHES
from isoflop.queries.planning.isoflop import compare_approaches as compared

if TYPE_CHECKING:
    import pyarrow as pa

INPUTS = ("params", "tokens")
COLUMNS = (
    "approach", "params_exponent", "params_lower", "params_upper", "tokens_exponent", "tokens_lower", "tokens_upper",
    "params_coefficient", "tokens_coefficient", "bias", "budgets", "left_out", "rows", "level", "notes", "flops",
    "optimal_params", "optimal_params_lower", "optimal_params_upper", "optimal_params_bias", "optimal_tokens",
    "optimal_tokens_lower", "optimal_tokens_upper", "optimal_tokens_bias",
)  # fmt: skip
OPTIMA = COLUMNS[COLUMNS.index("flops") :]  # only with AT
_FLOPS, _CURVES = "flops", "curves"


class ApproachesPlan:
    """The law of approach 3, the rows that all approaches look at, and the budgets that are asked for.

    Raises
    ------
    StatementError : when the law is not one of params and tokens, or no row can be used
    """

    def __init__(self, question: Question, node: CompareApproaches) -> None:
        self._question, self._node = question, node
        self._bound = bound_approaches(question, node)
        self._options = read_approach_options(question, node.options, "COMPARE APPROACHES", self._bound.law)
        self._wanted = wanted_budgets(question, node)
        self._rows, self._groups = approach_rows(question, node, self._bound, self._options)

    def steps(self) -> Steps:
        """Return the law of approach 3, the rows that all approaches look at, and the budgets."""
        rows, options = self._rows, self._options
        steps = [*bound_steps(self._bound), *row_steps(self._node.source, rows)]
        steps += [("group by", group.text) for group in self._node.source.groups]
        if self._groups:
            keys = rows.extra.select([str(position) for position in range(len(self._groups))])
            steps.append(("comparisons", f"{len(group_rows(keys))}, one for each group"))
        steps += search_steps(self._bound, rows, options.fit)
        budgets = numbers_on_one_line(options.budgets) or "the budgets found"
        steps.append(("slices", f"of {budgets}, within {options.tolerance:.0%}"))
        if self._wanted is not None:
            steps.append(("best sizes at", numbers_on_one_line(self._wanted)))
        return steps + interval_steps(options.fit)

    def run(self) -> pa.Table:
        """Return a row for each approach, group and budget that is asked for.

        Raises
        ------
        StatementError : when the rows hold no slices of equal compute
        """
        question, node, bound, options = self._question, self._node, self._bound, self._options
        wanted, rows, groups = self._wanted, self._rows, self._groups
        note = describe_dropped(rows)
        if note is not None:
            question.note(note)
        keys = rows.extra.select([str(position) for position in range(len(groups))])
        chosen = group_rows(keys) if groups else [np.arange(rows.matched)]
        found: list[dict[str, Any]] = []
        parts: list[int] = []
        for indices in chosen:
            part = rows.take(indices) if groups else rows
            records = _compared(question, node, bound, part, options, wanted, is_alone=not groups)
            found += records
            parts += [int(indices[0])] * len(records)
        _note_units(question, is_at=wanted is not None)
        return _table(found, keys.take(parts).rename_columns(groups), is_at=wanted is not None)


def bound_approaches(question: Question, node: CompareApproaches) -> Bound:
    """Return loss and law: those of the clause, or `loss ~ chinchilla(params, tokens)`."""
    if node.candidate is None:
        at = next(index for index, token in enumerate(question.tokens) if token.start == node.name.start)
        columns = tuple(Own(name, at) for name in INPUTS)
        return Bound(CHINCHILLA, CHINCHILLA.name, True, columns, Own("loss", at), "loss", node.name)
    bound = bind_candidate(question, node.candidate)
    refuse_mixture(question, bound.law, node.name, "approach 3 takes one form")
    inputs = input_names(known_laws()[bound.form] if bound.is_built_in else bound.law)
    if inputs != INPUTS:
        message = f"approach 3 takes a law of params and tokens, and this one is of {', '.join(inputs)}"
        hint = "such as chinchilla(params, tokens); a formula names params first, then tokens"
        raise question.error("Binder", message, node.candidate.form, hint)
    return bound


def approach_rows(
    question: Question, node: CompareApproaches, bound: Bound, options: ApproachOptions
) -> tuple[Rows, list[str]]:
    """Return the rows with what the approaches need of each, and the names of the columns of GROUP BY.

    Raises
    ------
    StatementError : when no row can be used
    """
    groups = group_names(question, node.source.groups, COLUMNS, "COMPARE APPROACHES")
    extra: dict[str, Column] = {str(position): group for position, group in enumerate(groups.values())}
    flops = options.flops or column_of(question, node.source, _FLOPS)
    if flops is not None:
        extra[_FLOPS] = flops
    if options.curves is not None:
        extra[_CURVES] = options.curves
    rows = _as_counts(read_rows(question, bound, node.source, extra), question, bound)
    if flops is None:
        question.note("there is no column flops: compute is 6 params tokens")
    else:
        place = flops if options.flops is not None else node.source.relation
        rows = _with_flops(question, rows, place)
    if not len(rows.kept):
        raise no_rows(question, "COMPARE APPROACHES", node.source, rows)
    return rows, list(groups)


def _as_counts(rows: Rows, question: Question, bound: Bound) -> Rows:
    """Return the rows with params and tokens as counts, where the law takes columns of them in another unit.

    Raises
    ------
    StatementError : for a coefficient that is given in that unit
    """
    found = [scaled_column(column) for column in bound.columns]
    factors = [1.0 if each is None else each[1] for each in found]
    if all(factor == 1 for factor in factors):
        return rows
    if bound.law.coefficients != known_laws()[bound.form].coefficients:
        names = ", ".join("…" if each is None else each[0] for each in found)
        message = "approaches are compared in counts, and PARAMETERS are for inputs in another unit"
        raise question.error("Binder", message, bound.span, f"{bound.form}({names}) with PARAMETERS for counts")
    return replace(rows, law_inputs=rows.law_inputs / factors)


def wanted_budgets(question: Question, node: CompareApproaches) -> list[float] | None:
    """Return the budgets of AT, or None."""
    if node.budgets is None:
        return None
    value = question.constant(node.budgets)
    given = value if isinstance(value, list) else [value]
    found = [
        float(number) for number in given if isinstance(number, int | float | Decimal) and not isinstance(number, bool)
    ]
    if not found or len(found) < len(given) or not all(0 < number < math.inf for number in found):
        hint = "AT flops = [1e21, 1e22]"
        raise question.error("Binder", f"budgets are numbers above 0, got {node.budgets.text}", node.budgets, hint)
    return found


def _with_flops(question: Question, rows: Rows, place: Any) -> Rows:
    """Return the rows, those whose compute is no amount among the unusable; a missing one is 6 params tokens."""
    column = rows.extra.column(_FLOPS)
    found = numbers(question, column, _FLOPS, place)
    faults = np.where(column.is_null().to_numpy(), "", faults_of(found, column, needs_positive=True))
    named = np.array([f"{_FLOPS} is {fault}" if fault else "" for fault in faults], dtype=object)
    return replace(rows, faults=np.where(rows.faults == "", named, rows.faults))


def _compared(
    question: Question,
    node: CompareApproaches,
    bound: Bound,
    rows: Rows,
    options: ApproachOptions,
    wanted: list[float] | None,
    *,
    is_alone: bool,
) -> list[dict[str, Any]]:
    """Return the rows of one group; a group that cannot be compared has rows that say why."""
    flops = np.array(rows.column(_FLOPS), dtype=np.float64) if _FLOPS in rows.extra.column_names else None
    curves = [repr(label) for label in rows.column(_CURVES)] if options.curves is not None else None
    fit = options.fit
    try:
        if not len(rows.kept):
            raise EmptySelection(f"no usable rows: {', '.join(rows.reasons)}")
        found = compared(
            rows.inputs[:, 0], rows.inputs[:, 1], rows.target, flops, curves=curves, budgets=options.budgets,
            tolerance=options.tolerance, law=bound.law, objective=fit.objective, resamples=fit.resamples,
            seed=fit.seed, level=fit.level,
        )  # fmt: skip
    except (EmptySelection, FitError, UsageError) as error:
        if isinstance(error, StatementError):
            raise
        if is_alone:
            place: Span = node.source.relation
            hint = error.hint or "WITH (budgets = [1e19, 1e20], tolerance = 0.2)"
            raise question.error("Fit", error.message, place, hint) from error
        names = (*APPROACHES, "law")
        return [{"approach": name, "rows": len(rows.kept), "notes": [f"failed: {error.message}"]} for name in names]
    if is_alone:
        _say(question, found, wanted or ())
    return [
        {**record, **budget}
        for record, approach in zip(found.table.to_pylist(), found.approaches, strict=True)
        for budget in ([{}] if wanted is None else [_at(found, approach, flops) for flops in wanted])
    ]


def _say(question: Question, found: ApproachComparison, wanted: Sequence[float]) -> None:
    """Say what is to be known of the rows and of each approach, of its best sizes where they are most biased."""
    for note in found.notes:
        question.note(note)
    for approach in found.approaches:
        worst = max(wanted, key=lambda flops: abs(found.bias_at(approach, flops)[0]), default=None)
        of_size = [] if worst is None else found.notes_at(approach, worst)
        for note in (*approach.notes, *of_size):
            question.note(f"{approach.name}: {note}")


def _at(found: ApproachComparison, approach: Approach, flops: float) -> dict[str, Any]:
    """Return the best size and length of an approach for one budget, and the notes with what is said of it there."""
    params, tokens = approach.at(flops)
    lower, upper = approach.interval_at(flops, found.level)
    biases = found.bias_at(approach, flops)
    per_params = flops / approach.per_token
    values = (flops, params, lower, upper, biases[0], tokens, per_params / upper, per_params / lower, biases[1])
    notes = [*approach.notes, *found.notes_at(approach, flops), *found.notes]
    return {**dict(zip(OPTIMA, map(known, values), strict=True)), "notes": notes}


def _note_units(question: Question, *, is_at: bool) -> None:
    if is_at:
        counts = [name for name in OPTIMA if name != "flops" and not name.endswith("_bias")]
        question.units.update({"flops": "flop", **dict.fromkeys(counts, "count")})


def _table(rows: list[dict[str, Any]], keys: pa.Table, *, is_at: bool) -> pa.Table:
    """Return the rows as a table, the values of GROUP BY first."""
    import pyarrow as pa

    schema = ApproachComparison.schema()
    for name in OPTIMA if is_at else ():
        schema = schema.append(pa.field(name, pa.float64()))
    table = pa.Table.from_pylist(rows, schema=schema)
    for position, name in enumerate(keys.column_names):
        table = table.add_column(position, name, keys.column(name))
    return table
