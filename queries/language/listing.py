"""Lists of things with names: what the SHOW verbs share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from isoflop.queries.language.question import Question
from isoflop.queries.language.syntax.nodes import Show
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa


class Listing:
    """A query that lists things, those alone that are called like a pattern where there is one.

    Parameters
    ----------
    question, node : the statement, and the clause in it
    what : what is listed, for EXPLAIN
    sql : the query, in which `$pattern` is the pattern or NULL
    relations : tables that it names
    """

    def __init__(
        self,
        question: Question,
        node: Show,
        what: str,
        sql: str,
        relations: Mapping[str, pa.Table] | None = None,
    ) -> None:
        self._question, self._what, self._sql, self._relations = question, what, sql, relations
        self._pattern = None if node.pattern is None else question.text_of(node.pattern, "a pattern")

    def steps(self) -> Steps:
        """Return what is listed, and the query that lists it."""
        steps = [("list", self._what)]
        if self._pattern is not None:
            steps.append(("like", self._pattern))
        return [*steps, ("sql", " ".join(self._sql.split()))]

    def run(self) -> pa.Table:
        """Return the list."""
        return self._question.lake.query(self._sql, {"pattern": self._pattern}, self._relations)
