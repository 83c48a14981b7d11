"""OPTIMUM OF: where a swept setting is best in every cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.queries.language.optima import PlannedOptimum
from isoflop.queries.language.question import Question
from isoflop.queries.language.syntax.optimum import OptimumClause
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa


class OptimumPlan:
    """What was swept, the cells, and the rows."""

    def __init__(self, question: Question, node: OptimumClause) -> None:
        self._optimum = PlannedOptimum(question, node)

    def steps(self) -> Steps:
        """Return the law, the rows and how they fall into cells."""
        return self._optimum.steps()

    def run(self) -> pa.Table:
        """Return a row for each cell."""
        return self._optimum.answer()
