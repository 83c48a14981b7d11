"""FIT: a law fitted to the rows of a source, once for each group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.queries.language.fits import PlannedFit
from isoflop.queries.language.glance import glance
from isoflop.queries.language.question import Question
from isoflop.queries.language.syntax.nodes import FitClause
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa


class FitPlan:
    """A law and the rows it is to be fitted to."""

    def __init__(self, question: Question, node: FitClause) -> None:
        self._question, self._fit = question, PlannedFit.of(question, node)

    def steps(self) -> Steps:
        """Return the law, the rows and the options."""
        return self._fit.steps()

    def run(self) -> pa.Table:
        """Return one row for each fit: its health and its coefficients."""
        return glance(self._question, self._fit.fit(), None)
