"""EXPLAIN and EXPLAIN ANALYZE: what a verb would do, without doing it; or what it did, and how long that took.

Both show the plan of the verb. Making it reads the rows that the verb reads, because only they say how many can be
used; nothing is fitted, predicted or written before the plan runs.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from isoflop.lakehouse.units import format_seconds
from isoflop.queries.language.parse import Explain
from isoflop.queries.language.question import Question
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa


class ExplainPlan:
    """The plan of the verb behind EXPLAIN."""

    def __init__(self, question: Question, node: Explain) -> None:
        self._question, self._is_analyzed = question, node.is_analyzed
        self._before, self._began = len(question.services.sent), time.perf_counter()
        self._plan = node.clause.verb.plan(question, node.clause.node)

    def steps(self) -> Steps:
        """Return the steps of the verb."""
        return self._plan.steps()

    def run(self) -> pa.Table:
        """Return steps and the detail of each, among them the SQL that DuckDB gets.

        EXPLAIN ANALYZE runs the plan, and what that changes stays changed.

        Raises
        ------
        StatementError : for what the verb itself cannot be asked
        """
        import pyarrow as pa

        table = self._plan.run() if self._is_analyzed else None
        seconds = time.perf_counter() - self._began
        sent = self._question.services.sent[self._before :]
        steps = self.steps()
        if table is not None:
            asked = sum(query.seconds for query in sent)
            steps.append(("answer", f"{table.num_rows} rows of {', '.join(table.column_names)}"))
            steps.append(("time in DuckDB", f"{format_seconds(asked)} for {len(sent)} queries"))
            steps.append(("time for the rest", format_seconds(max(seconds - asked, 0.0))))
            steps.append(("time in all", format_seconds(seconds)))
        steps += [("sql", text) for text in dict.fromkeys(query.sql for query in sent)]
        return pa.table({"step": [step for step, _ in steps], "detail": [detail for _, detail in steps]})
