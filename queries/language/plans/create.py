"""CREATE LAW: what FIT finds, the law through the optima of a sweep, or numbers that are given, kept under a name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from isoflop.queries.language.changing import Change, Overtaken
from isoflop.queries.language.describe import given_steps
from isoflop.queries.language.given import PlannedGiven
from isoflop.queries.language.glance import given_glance, glance
from isoflop.queries.language.optima import PlannedOptimum
from isoflop.queries.language.optimum_law import as_fit, split_options
from isoflop.queries.language.options import read_fit_options
from isoflop.queries.language.parse import parse_clause
from isoflop.queries.language.question import Question
from isoflop.queries.language.saved_laws import check_name, law_exists, save_law
from isoflop.queries.language.saving import PlannedLaw, keep_fit, note_saved, spelling_of
from isoflop.queries.language.syntax.given import CreateGiven
from isoflop.queries.language.syntax.nodes import CreateLaw, NewLaw
from isoflop.queries.language.syntax.optimum import CreateOptimum
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
        if not is_wanted(question, node):
            return
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
        try:
            keep_fit(change_of(question, node, name), question, node, fitted, name, self._law.checked)
        except Overtaken:
            if not node.if_not_exists:
                raise
            question.note(f"law '{name}' was made meanwhile; nothing is kept")
            return pa.table({})
        return glance(question, fitted, name)


class CreateGivenPlan:
    """A law of given coefficients that is to be kept under its name with its macro.

    Raises
    ------
    StatementError : when the name cannot be a law's or is taken, or the numbers are not those of the law
    """

    def __init__(self, question: Question, node: CreateGiven) -> None:
        self._question, self._node = question, node
        self._law = PlannedGiven.of(question, node.law) if is_wanted(question, node) else None

    def steps(self) -> Steps:
        """Return the law with its numbers, and what is kept."""
        name = self._node.name.text
        if self._law is None:
            return [("keep", f"nothing: law '{name}' exists")]
        keep = ("keep", f"as law '{name}', with its SQL functions, in one transaction; nothing is fitted")
        return [*given_steps(self._law.record), keep]

    def run(self) -> pa.Table:
        """Keep the law, and return it as FIT does: what only rows can say is null.

        Raises
        ------
        StatementError : when another process has taken the name
        """
        import pyarrow as pa

        question, node = self._question, self._node
        if self._law is None:
            question.note(f"law '{node.name.text}' exists; nothing was made")
            return pa.table({})
        name = spelling_of(question, node.name)
        record = replace(self._law.record, name=name, statement=question.text[node.start : node.end])
        about = self._law.about(question.values_in(node.start, node.end))
        try:
            save_law(change_of(question, node, name), record, about)
        except Overtaken:
            if not node.if_not_exists:
                raise
            question.note(f"law '{name}' was made meanwhile; nothing is kept")
            return pa.table({})
        note_saved(question, record)
        for note in record.notes:
            question.note(note.partition(": ")[2])
        return given_glance(record)


class CreateOptimumPlan:
    """The cells of a sweep, and the law through them that is to be kept.

    Raises
    ------
    StatementError : when the name cannot be a law's or is taken, or the clause names what does not exist
    """

    def __init__(self, question: Question, node: CreateOptimum) -> None:
        self._question, self._node = question, node
        self._optimum: PlannedOptimum | None = None
        if not is_wanted(question, node):
            return
        clause = node.optimum
        if clause.source.groups:
            message = "CREATE LAW keeps one law, and GROUP BY has one for each group"
            raise question.error("Binder", message, clause.source.groups[0], "choose one group with WHERE")
        cells, fit = split_options(clause.options)
        read_fit_options(question, fit, "OPTIMUM that is kept", leave_out=("cluster",))
        self._optimum = PlannedOptimum(question, replace(clause, options=cells))

    def steps(self) -> Steps:
        """Return the cells, and the fit of the law through them."""
        if self._optimum is None:
            return [("keep", f"nothing: law '{self._node.name.text}' exists")]
        return [*self._optimum.steps(), ("as", as_fit(self._question, self._node))]

    def run(self) -> pa.Table:
        """Fit the law through the cells, keep it, and return the fit.

        Raises
        ------
        StatementError : when the cells do not tell the exponents apart, or another process has taken the name
        """
        import pyarrow as pa

        question, node = self._question, self._node
        if self._optimum is None:
            question.note(f"law '{node.name.text}' exists; nothing was fitted")
            return pa.table({})
        self._check(self._optimum)
        asking = question.rewritten(as_fit(question, node), question.values_in(node.optimum.start, node.optimum.end))
        clause = parse_clause(asking.text, asking.tokens, 0, len(asking.tokens) - 1, asking.typed.words)
        assert isinstance(clause.node, CreateLaw)
        return CreatePlan(asking, clause.node).run()

    def _check(self, optimum: PlannedOptimum) -> None:
        """Check that the cells say what the law is, while errors can show the statement that was typed."""
        (law,) = optimum.laws()
        if law.values is not None:
            return
        message = f"there is no law to keep: {optimum.why_no_law(law)}"
        hint = "without CREATE LAW … AS, the statement answers with the cells and what is wrong with each"
        raise self._question.error("Fit", message, self._node.optimum, hint)


def is_wanted(question: Question, node: NewLaw) -> bool:
    """Return whether a law is to be made: False for one that exists and IF NOT EXISTS.

    Raises
    ------
    StatementError : when the name cannot be a law's or is taken
    """
    check_name(question, node.name)
    if law_exists(question.lake, node.name.text):
        if node.if_not_exists:
            return False
        if not node.or_replace:
            raise question.error("Catalog", f"law '{node.name.text}' exists", node.name, _hint(node))
    return True


def change_of(question: Question, node: NewLaw, name: str) -> Change:
    """Return the transaction that keeps a law, which fails where the name must be free and is not.

    Parameters
    ----------
    name : as it is spelled
    """
    change = Change(question, node.name, f"law '{name}'")
    return change if node.or_replace else change.needs_free(name, _hint(node))


def _hint(node: NewLaw) -> str:
    return f"CREATE OR REPLACE LAW {node.name.text} … makes a new version"
