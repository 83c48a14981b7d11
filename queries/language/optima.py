"""Where a swept setting is best in every cell of some rows, and the power law through the optima."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import StatementError
from isoflop.queries.language.bind import Bound, Column
from isoflop.queries.language.describe import row_steps
from isoflop.queries.language.fits import group_names
from isoflop.queries.language.group_notes import MOST_NAMED
from isoflop.queries.language.optimum_law import power_names, power_text, written
from isoflop.queries.language.options import read_optimum_options
from isoflop.queries.language.question import Own, Question
from isoflop.queries.language.records import known
from isoflop.queries.language.row_groups import group_rows
from isoflop.queries.language.rows import describe_dropped, no_rows, read_rows
from isoflop.queries.language.syntax.optimum import Called, OptimumClause
from isoflop.queries.language.verb import Steps
from isoflop.queries.laws import Coefficient, find_objective, parse_formula
from isoflop.queries.planning.cells import (
    LOWER_EDGE,
    NO_MINIMUM,
    OPTIMAL,
    TOO_FEW,
    UNSURE,
    UPPER_EDGE,
    CellOptimum,
    cell_optimum,
    cell_weights,
    power_of,
)
from isoflop.queries.planning.parabola import FEWEST_SIZES, grouped

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]

IN_STEP = 0.02  # spread of the logarithm of their ratio over that of a column [1] up to which two columns go in step
OWN = ("optimum", "lower", "upper", "rows", "lowest", "largest", "weight", "status")
TODO = {
    LOWER_EDGE: "the minimum lies below all that was tried: try lower ones there",
    UPPER_EDGE: "the minimum lies above all that was tried: try larger ones there",
    NO_MINIMUM: "the parabola opens downwards or is flat",
    TOO_FEW: f"fewer than {FEWEST_SIZES} different values of what was swept",
    UNSURE: "the scatter leaves open whether there is a minimum",
}


@dataclass(frozen=True)
class Cell:
    """A cell of a group: what its rows share, what they say of the setting, and what that counts in the law.

    Parameters
    ----------
    first : position of one of its rows
    values : (P,) of BY
    found : where the setting is best
    weight : in the law of its group; nan where it has no part in it
    """

    first: int
    values: Array
    found: CellOptimum
    weight: float = np.nan


@dataclass(frozen=True)
class GroupLaw:
    """The power law of one group.

    Parameters
    ----------
    first : position of one of its rows
    cells : that it has, whether or not they have a part in it
    values : log of the factor, and the exponents; None where the cells do not tell them
    """

    first: int
    cells: tuple[Cell, ...]
    values: Array | None

    @property
    def num_used(self) -> int:
        """How many cells have a part in the law."""
        return sum(cell.found.status == OPTIMAL for cell in self.cells)


class PlannedOptimum:
    """What was swept, the cells, and the rows: what OPTIMUM OF answers, and CREATE LAW keeps the law of.

    Raises
    ------
    StatementError : when the clause names what does not exist, or no row can be used
    """

    def __init__(self, question: Question, node: OptimumClause) -> None:
        self._question, self._node = question, node
        self._options = read_optimum_options(question, node.options, "OPTIMUM")
        self._columns = _cell_names(question, node)
        self._bound = _bound(question, node, self._columns)
        taken = (*OWN, f"{self._bound.target_name}_at_optimum", *(name.lower() for name in self._columns))
        self._groups = group_names(question, node.source.groups, taken, "OPTIMUM")
        extra: dict[str, Column] = {str(position): group for position, group in enumerate(self._groups.values())}
        # What is to be small may have any sign, which a law's objective for logarithms would not take.
        try:
            self._rows = read_rows(question, self._bound, node.source, extra, find_objective("least_squares"))
        except StatementError as error:
            raise _of_groups(question, node, error) from error
        if not len(self._rows.kept):
            raise no_rows(question, "OPTIMUM", node.source, self._rows)

    def steps(self) -> Steps:
        """Return the law, the rows and how they fall into cells."""
        node, options = self._node, self._options
        factor, exponents = power_names(self._columns, node.swept.name)
        aim = "largest" if node.maximize else "lowest"
        steps = [
            ("law", f"{node.swept.name} ~ {power_text(self._columns, factor, exponents)}"),
            ("parabola", f"of {self._bound.target_name}, {aim}, in the log of {node.swept.name}"),
            *row_steps(node.source, self._rows),
            *(("group by", group.text) for group in self._groups.values()),
        ]
        found = [self._labels(part) for part in self._parts()]
        count = sum(len(np.unique(labels)) for labels in found)
        steps.append(
            (
                "cells",
                f"{count} by {', '.join(self._columns)}, rows within {options.tolerance:.1%} of the middle in one",
            )
        )
        if options.within is not None:
            steps.append(("left out", f"rows more than {options.within:.1%} from the best of their cell"))
        how = f"{options.level:g} from {options.resamples} draws of each parabola, seed {options.seed}"
        return [*steps, ("intervals", how if options.resamples else "none, without resamples")]

    def answer(self) -> pa.Table:
        """Return a row for each cell, and say which have no part in the law and what it is."""
        note = describe_dropped(self._rows)
        if note is not None:
            self._question.note(note)
        laws = self.laws()
        for law in laws[:MOST_NAMED]:
            self._note(law)
        if len(laws) > MOST_NAMED:
            self._question.note(f"{len(laws) - MOST_NAMED} more groups have laws of their own: WHERE chooses one")
        return self._table(laws)

    def laws(self) -> list[GroupLaw]:
        """Return the cells and the power law of every group."""
        return [self._law(part) for part in self._parts()]

    def _parts(self) -> list[NDArray[np.intp]]:
        """Return the positions of the usable rows of each group."""
        rows = self._rows
        if not self._groups:
            return [rows.kept]
        keys = rows.extra.select([str(position) for position in range(len(self._groups))])
        parts = [np.intersect1d(indices, rows.kept) for indices in group_rows(keys)]
        return [part for part in parts if len(part)]

    def _labels(self, part: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the cell of each row of a group: rows are of one where all that tells cells apart is as good as equal.

        A run stops at a whole batch, so that the tokens of one cell differ by parts in a thousand.
        """
        logs = np.log(self._rows.law_inputs[part, : len(self._columns)])
        width = 2 * float(np.log1p(self._options.tolerance))  # either way of the middle
        each = np.column_stack([grouped(column, width) for column in logs.T])
        return np.unique(each, axis=0, return_inverse=True)[1].reshape(-1)

    def _law(self, part: NDArray[np.intp]) -> GroupLaw:
        options, count = self._options, len(self._columns)
        inputs, sign = self._rows.law_inputs[part], -1.0 if self._node.maximize else 1.0
        generator = np.random.default_rng(options.seed)
        labels, cells = self._labels(part), []
        for label in range(int(labels.max()) + 1):
            own = np.flatnonzero(labels == label)
            found = cell_optimum(
                inputs[own, count], sign * self._rows.targets[part[own]], within=options.within,
                resamples=options.resamples, level=options.level, generator=generator,
            )  # fmt: skip
            cells.append(Cell(int(part[own[0]]), _shared(inputs[own, :count]), found))
        used = [cell for cell in cells if cell.found.status == OPTIMAL]
        columns = np.array([cell.values for cell in used]).reshape(-1, count)
        optima, spreads = (np.array([getattr(cell.found, name) for cell in used]) for name in ("optimum", "spread"))
        weights = cell_weights(columns, optima, spreads)
        each = iter(weights.tolist())
        counted = (next(each) if cell.found.status == OPTIMAL else np.nan for cell in cells)
        weighed = (
            Cell(cell.first, cell.values, cell.found, weight) for cell, weight in zip(cells, counted, strict=True)
        )
        return GroupLaw(int(part[0]), tuple(weighed), power_of(columns, optima, weights))

    def _note(self, law: GroupLaw) -> None:
        """Say which cells of a group have no part in its law, and what the law is."""
        question, swept, whose = self._question, self._node.swept.name, self._whose(law)
        for status, count in Counter(cell.found.status for cell in law.cells if cell.found.status != OPTIMAL).items():
            first = next(cell for cell in law.cells if cell.found.status == status)
            which = f"{count} of {len(law.cells)} cells {'are' if count > 1 else 'is'} {status}"
            more = "" if count == 1 else ", …"
            question.note(f"{whose}{which} ({self._place(first)}{more}) and not in the law: {TODO[status]}")
        off = [cell for cell in law.cells if cell.found.status == OPTIMAL and cell.found.is_off]
        if off:
            best = "highest" if self._node.maximize else "lowest"
            within = 0.05 if self._options.within is None else self._options.within / 2
            where = f"{self._place(off[0])}{', …' if len(off) > 1 else ''}"
            question.note(
                f"{whose}in {len(off)} of {law.num_used} cells ({where}) the {best} {self._bound.target_name} was "
                "measured beyond the values next to the optimum: the parabola does not follow them; "
                f"WITH (within = {within:g}) leaves out the rows that are far from the best"
            )
        through = f"{law.num_used} of {len(law.cells)} cells"
        if law.values is None:
            question.note(f"{whose}{self.why_no_law(law)}")
            return
        powers = zip(self._columns, law.values[1:].tolist(), strict=True)
        written_out = " * ".join(f"{written(name)} ^ {power:.4g}" for name, power in powers)
        question.note(f"{whose}{swept} = {np.exp(law.values[0]):.4g} * {written_out} through {through}")

    def why_no_law(self, law: GroupLaw) -> str:
        """Return what keeps cells from telling a power law."""
        said = f"{law.num_used} of {len(law.cells)} cells have an optimum, which do not tell a power of "
        said += f"{' and '.join(self._columns)}: it takes cells that differ in each, one more than there are columns"
        used = np.array([cell.values for cell in law.cells if cell.found.status == OPTIMAL]).reshape(
            -1, len(self._columns)
        )
        for second in range(1, len(self._columns)):
            for first in range(second):
                if (ratio := _ratio(used[:, first], used[:, second])) is not None:
                    one, other = self._columns[first], self._columns[second]
                    return f"{said}, and {other} is {ratio:.3g} {one} in all of them: BY {one} alone tells its power"
        return said

    def _place(self, cell: Cell) -> str:
        """Return where a cell lies, as a note says it."""
        return ", ".join(f"{name} {value:.4g}" for name, value in zip(self._columns, cell.values, strict=True))

    def _whose(self, law: GroupLaw) -> str:
        """Return the words that name a group; none without groups."""
        keys = [str(self._rows.extra.column(str(position))[law.first]) for position in range(len(self._groups))]
        return f"group '{', '.join(keys)}': " if keys else ""

    def _table(self, laws: Sequence[GroupLaw]) -> pa.Table:
        """Return the cells as rows, the values of GROUP BY and BY first."""
        import pyarrow as pa

        target, sign = f"{self._bound.target_name}_at_optimum", -1.0 if self._node.maximize else 1.0
        number = pa.float64()
        schema = {name: number for name in (*self._columns, "optimum", "lower", "upper", target)}
        schema |= {"rows": pa.int64(), **dict.fromkeys(("lowest", "largest", "weight"), number), "status": pa.string()}
        cells = [cell for law in laws for cell in law.cells]
        rows = [_row(self._columns, cell, target, sign) for cell in cells]
        table = pa.Table.from_pylist(rows, schema=pa.schema(schema))
        keys = self._rows.extra.take(np.array([cell.first for cell in cells], dtype=np.int64))
        for position, name in enumerate(self._groups):
            table = table.add_column(position, name, keys.column(str(position)))
        if self._rows.unit:
            self._question.units[target] = self._rows.unit
        return table


def _row(columns: Sequence[str], cell: Cell, target: str, sign: float) -> dict[str, Any]:
    """Return the columns of one cell."""
    found = cell.found
    row: dict[str, Any] = dict(zip(columns, cell.values.tolist(), strict=True))
    row |= {name: known(getattr(found, name)) for name in ("optimum", "lower", "upper", "lowest", "largest")}
    row |= {target: known(sign * found.value), "weight": known(cell.weight)}
    return {**row, "rows": found.rows, "status": found.status}


def _shared(inputs: Array) -> Array:
    """Return what the rows (n, P) of a cell share: the value itself, or the geometric mean of nearly equal ones."""
    means = np.exp(np.log(inputs).mean(axis=0))
    return np.asarray(np.where((inputs == inputs[0]).all(axis=0), inputs[0], means))


def _cell_names(question: Question, node: OptimumClause) -> list[str]:
    """Return what the columns of BY are called.

    Raises
    ------
    StatementError : for a name that stands twice, that is swept, or that the answer has itself
    """
    found: list[str] = []
    for cell in node.cells:
        place = cell.alias or cell.expression
        if cell.name.lower() in {name.lower() for name in found}:
            raise question.error("Binder", f"BY names '{cell.name}' twice", place)
        if cell.name.lower() == node.swept.name.lower() or cell.expression.text == node.swept.expression.text:
            message = f"'{cell.name}' is swept: it differs within a cell, so it cannot tell cells apart"
            raise question.error("Binder", message, place, "BY names what the rows of a cell have in common")
        if cell.name.lower() in OWN:
            hint = f"give it another name: BY ({cell.expression.text} AS …)"
            raise question.error("Binder", f"OPTIMUM answers with a column '{cell.name}' of its own", place, hint)
        found.append(cell.name)
    return found


def _of_groups(question: Question, node: OptimumClause, error: StatementError) -> StatementError:
    """Return the error of reading rows; for a column of BY that holds no numbers with what it is for."""
    cell = next((cell for cell in node.cells if cell.expression.start == error.start), None)
    if cell is None or "takes numbers" not in error.message:
        return error
    text = cell.expression.text
    message = f"'{text}' holds no numbers, and the law is a power of what BY names"
    return question.error("Binder", message, cell.expression, f"GROUP BY {text} has cells and a law for each")


def _bound(question: Question, node: OptimumClause, columns: Sequence[str]) -> Bound:
    """Return what is read of each row: the columns of BY, what was swept, and the target."""
    names = [*columns, node.swept.name]
    at = next(index for index, token in enumerate(question.tokens) if token.start == node.name.start)
    target: Column = node.target or Own("loss", at)
    name = "loss" if node.target is None else node.target.column or "target"
    factor, exponents = power_names(names, name)
    coefficients = [Coefficient(each) for each in (factor, *exponents)]
    text = power_text(names, factor, exponents)
    read = parse_formula(text, coefficients, names, target=name)
    order = [given.name for given in read.inputs]
    called: dict[str, Called] = {each.name: each for each in (*node.cells, node.swept)}
    assert order == names
    return Bound(read, text, True, tuple(called[each].expression for each in order), target, name, node.name)


def _ratio(first: Array, second: Array) -> float | None:
    """Return the second over the first where it is one number, about, and both vary; None where it is not."""
    if len(first) < 2 or not np.ptp(first) > 0:
        return None
    logs = np.log(second / first)
    return float(np.exp(np.mean(logs))) if np.ptp(logs) < IN_STEP * np.ptp(np.log(first)) else None
