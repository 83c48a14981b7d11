"""CREATE LAW: what FIT finds, kept under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import StatementError
from isoflop.queries.language.fits import glance
from isoflop.queries.language.question import Question
from isoflop.queries.language.saved_laws import check_name, law_exists
from isoflop.queries.language.saving import PlannedLaw, keep_fit, spelling_of
from isoflop.queries.language.syntax.nodes import CreateLaw
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa


class CreatePlan:
    """A law that is to be fitted and kept under its name with its macro.

    Raises
    ------
    StatementError : when the name cannot be a law's or is taken
    """

    def __init__(self, question: Question, node: CreateLaw) -> None:
        self._question, self._node = question, node
        self._law: PlannedLaw | None = None
        check_name(question, node.name)
        if law_exists(question.lake, node.name.text):
            if node.if_not_exists:
                return
            if not node.or_replace:
                raise self._taken()
        if node.fit.source.groups:
            message = "CREATE LAW keeps one law, and GROUP BY fits several"
            raise question.error("Binder", message, node.fit.source.groups[0], "choose one group with WHERE")
        self._law = PlannedLaw.of(question, node)

    def steps(self) -> Steps:
        """Return the fit, and what is kept of it."""
        name = self._node.name.text
        if self._law is None:
            return [("keep", f"nothing: law '{name}' exists")]
        return [*self._law.fit.steps(), ("keep", f"as law '{name}', with its SQL functions, in one transaction")]

    def run(self) -> pa.Table:
        """Fit the law, keep it, and return the fit.

        Raises
        ------
        StatementError : when the fit has no numbers to keep, or another process has taken the name
        """
        import pyarrow as pa

        question, node = self._question, self._node
        if self._law is None:
            question.note(f"law '{node.name.text}' exists; nothing was fitted")
            return pa.table({})
        fitted = self._law.find()
        name = spelling_of(question, node.name)
        if not keep_fit(question, node, fitted, name, self._law.checked, is_new=not node.or_replace):
            raise self._taken()
        return glance(question, fitted, name)

    def _taken(self) -> StatementError:
        name = self._node.name
        hint = f"CREATE OR REPLACE LAW {name.text} … makes a new version"
        return self._question.error("Catalog", f"law '{name.text}' exists", name, hint)
