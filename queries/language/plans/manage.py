"""DROP LAW, ALTER LAW and COMMENT ON LAW."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.queries.language import saved_laws
from isoflop.queries.language.changing import Change, Overtaken
from isoflop.queries.language.describe import law_steps
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord, load_law
from isoflop.queries.language.syntax.nodes import CommentLaw, DropLaw, RenameLaw
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa


class DropPlan:
    """A law that is to be forgotten with every version of it and its macro."""

    def __init__(self, question: Question, node: DropLaw) -> None:
        self._question, self._name, self._place = question, node.name.text, node.name
        self._may_be_gone = node.if_exists
        self._record: LawRecord | None = None
        if not node.if_exists or saved_laws.law_exists(question.lake, node.name.text):
            self._record = load_law(question, node.name)

    def steps(self) -> Steps:
        """Return the law, and what is forgotten."""
        if self._record is None:
            return [("drop", f"nothing: law '{self._name}' does not exist")]
        what = f"law '{self._record.name}', every version of it, and its SQL functions, in one transaction"
        return [*law_steps(self._question, self._record), ("drop", what)]

    def run(self) -> pa.Table:
        """Forget the law."""
        import pyarrow as pa

        question, record = self._question, self._record
        if record is None:
            question.note(f"law '{self._name}' does not exist; nothing was dropped")
            return pa.table({})
        try:
            saved_laws.drop_law(Change(question, self._place, f"law '{record.name}'"), str(record.name))
        except Overtaken:
            if not self._may_be_gone:
                raise
            question.note(f"law '{record.name}' was dropped or renamed meanwhile; nothing was dropped")
            return pa.table({})
        versions = f" with its {record.version} versions" if (record.version or 1) > 1 else ""
        question.note(f"law '{record.name}' dropped{versions}")
        return pa.table({})


class RenamePlan:
    """A law that is to have another name, with every version of it."""

    def __init__(self, question: Question, node: RenameLaw) -> None:
        self._question, self._node, self._new = question, node, node.new.text
        self._record = record = load_law(question, node.name)
        saved_laws.check_name(question, node.new, str(record.name))
        is_same = node.new.text.lower() == str(record.name).lower()
        if not is_same and saved_laws.law_exists(question.lake, node.new.text):
            hint = f"DROP LAW {node.new.text} first"
            raise question.error("Catalog", f"law '{node.new.text}' exists", node.new, hint)

    def steps(self) -> Steps:
        """Return the law, and what it is called then."""
        what = f"to '{self._new}', every version of it, its forecasts and its SQL functions, in one transaction"
        return [*law_steps(self._question, self._record), ("rename", what)]

    def run(self) -> pa.Table:
        """Give the law its name."""
        import pyarrow as pa

        change = Change(self._question, self._node, f"law '{self._record.name}' or '{self._new}'")
        saved_laws.rename_law(change, self._record, self._new)
        self._question.note(f"law '{self._record.name}' is now '{self._new}'")
        return pa.table({})


class CommentPlan:
    """What SHOW LAWS is to say about a law."""

    def __init__(self, question: Question, node: CommentLaw) -> None:
        self._question = question
        self._comment = None if node.comment is None else question.text_of(node.comment, "a comment")
        self._place = node.name
        self._record = load_law(question, node.name)

    def steps(self) -> Steps:
        """Return the law, and the comment."""
        return [*law_steps(self._question, self._record), ("comment", self._comment or "none")]

    def run(self) -> pa.Table:
        """Set the comment."""
        import pyarrow as pa

        change = Change(self._question, self._place, f"law '{self._record.name}'")
        saved_laws.comment_law(change, self._record, self._comment)
        return pa.table({})
