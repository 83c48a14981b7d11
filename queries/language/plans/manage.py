"""DROP LAW, ALTER LAW and COMMENT ON LAW."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoflop.queries.language import catalogue
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import load_law
from isoflop.queries.language.syntax.nodes import CommentLaw, DropLaw, RenameLaw
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa


def drop_law(question: Question, node: DropLaw) -> pa.Table:
    """Forget a law with every version of it and its macro."""
    import pyarrow as pa

    if node.if_exists and not catalogue.law_exists(question.lake, node.name.text):
        question.note(f"law '{node.name.text}' does not exist; nothing was dropped")
        return pa.table({})
    record = load_law(question, node.name)
    catalogue.drop_law(question.lake, str(record.name))
    versions = f" with its {record.version} versions" if (record.version or 1) > 1 else ""
    question.note(f"law '{record.name}' dropped{versions}")
    return pa.table({})


def rename_law(question: Question, node: RenameLaw) -> pa.Table:
    """Give a law with every version of it another name."""
    import pyarrow as pa

    record = load_law(question, node.name)
    catalogue.check_name(question, node.new, str(record.name))
    is_same = node.new.text.lower() == str(record.name).lower()
    if not is_same and catalogue.law_exists(question.lake, node.new.text):
        raise question.error("Catalog", f"law '{node.new.text}' exists", node.new, f"DROP LAW {node.new.text} first")
    catalogue.rename_law(question.lake, record, node.new.text)
    question.note(f"law '{record.name}' is now '{node.new.text}'")
    return pa.table({})


def comment_law(question: Question, node: CommentLaw) -> pa.Table:
    """Set what SHOW LAWS says about a law."""
    import pyarrow as pa

    comment = None if node.comment is None else question.text_of(node.comment, "a comment")
    catalogue.comment_law(question.lake, load_law(question, node.name), comment)
    return pa.table({})


@dataclass(frozen=True)
class DropPlan:
    """What drop_law is to do."""

    question: Question
    node: DropLaw

    def steps(self) -> Steps:
        """Return what EXPLAIN shows."""
        from isoflop.queries.language.plans.explain import explained

        return explained(self.question, self.node)

    def run(self) -> pa.Table:
        """Do it."""
        return drop_law(self.question, self.node)


@dataclass(frozen=True)
class RenamePlan:
    """What rename_law is to do."""

    question: Question
    node: RenameLaw

    def steps(self) -> Steps:
        """Return what EXPLAIN shows."""
        from isoflop.queries.language.plans.explain import explained

        return explained(self.question, self.node)

    def run(self) -> pa.Table:
        """Do it."""
        return rename_law(self.question, self.node)


@dataclass(frozen=True)
class CommentPlan:
    """What comment_law is to do."""

    question: Question
    node: CommentLaw

    def steps(self) -> Steps:
        """Return what EXPLAIN shows."""
        from isoflop.queries.language.plans.explain import explained

        return explained(self.question, self.node)

    def run(self) -> pa.Table:
        """Do it."""
        return comment_law(self.question, self.node)
