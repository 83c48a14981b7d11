"""EXTRAPOLATE: what a law says about points without a measurement, and how far from the rows they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.queries.language.points import Extrapolation
from isoflop.queries.language.prediction import ChosenLaws
from isoflop.queries.language.question import Question
from isoflop.queries.language.syntax.nodes import Extrapolate
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa


class ExtrapolatePlan:
    """A law, and the points it is asked about."""

    def __init__(self, question: Question, node: Extrapolate) -> None:
        self._laws = ChosenLaws(question, node.law)
        self._points = Extrapolation(question, node, self._laws, "EXTRAPOLATE")

    def steps(self) -> Steps:
        """Return the law and the points."""
        return self._points.steps()

    def run(self) -> pa.Table:
        """Return the target points with the prediction for each."""
        return self._points.predict(*self._laws.read())
