"""Changing what a lake keeps of laws: one transaction that checks first that the laws still are what was read.

Between reading a law and writing, another process may drop, rename or refit it. The checks run inside the
transaction that writes, so whoever comes second changes nothing and gets one error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import StatementError
from isoflop.lakehouse.shared.outage import is_conflict
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord
from isoflop.queries.language.syntax.nodes import Span

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse.backends.backend import Statement

_FAILED = "isoflop check"  # what a failed check raises, with its number; no name in it that would read like a conflict
_CHECK = "SELECT CASE WHEN {condition} THEN error('{failed}') END FROM store.laws WHERE lower(name) = lower($name)"


class Overtaken(StatementError):
    """A law is not what it was when the statement read it."""


@dataclass(frozen=True)
class _Check:
    """What has to hold of the laws of one name, as the condition in SQL under which it does not."""

    condition: str
    parameters: Mapping[str, Any]
    message: str
    hint: str


class Change:
    """One transaction that changes laws.

    Parameters
    ----------
    question, place : the statement, and where in it an error is shown
    what : that is changed, in a sentence
    """

    def __init__(self, question: Question, place: Span, what: str) -> None:
        self._question, self._place, self._what = question, place, what
        self._checks: list[_Check] = []

    def needs(self, name: str) -> Change:
        """Have it fail where no law has this name any more."""
        message = f"law '{name}' was dropped or renamed meanwhile"
        self._checks.append(_Check("count(*) = 0", {"name": name}, message, "SHOW LAWS lists those there are"))
        return self

    def needs_as_read(self, record: LawRecord) -> Change:
        """Have it fail where the newest version of a law is another one than was read."""
        self.needs(str(record.name))
        condition = (
            "max(version) <> $version OR coalesce(max_by(data_hash, version), '') <> $data_hash "
            "OR coalesce(max_by(statement, version), '') <> $statement"
        )
        read = {"version": record.version, "data_hash": record.data_hash, "statement": record.statement}
        message = f"law '{record.name}' was fitted anew meanwhile"
        self._checks.append(_Check(condition, {"name": record.name, **read}, message, "ask again"))
        return self

    def needs_free(self, name: str, hint: str) -> Change:
        """Have it fail where a law has this name already."""
        self._checks.append(_Check("count(*) > 0", {"name": name}, f"law '{name}' exists", hint))
        return self

    def write(self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None) -> None:
        """Run statements as one transaction, after the checks.

        Raises
        ------
        Overtaken : when a check fails; then nothing is changed
        StatementError : when another session is at it; then neither
        """
        import duckdb

        checks = [
            (_CHECK.format(condition=check.condition, failed=f"{_FAILED} {number}"), check.parameters)
            for number, check in enumerate(self._checks)
        ]
        try:
            with conflicts_told(self._question, self._place, self._what):
                self._question.lake.write([*checks, *statements], relations)
        except duckdb.InvalidInputException as error:
            for number, check in enumerate(self._checks):
                if f"{_FAILED} {number}" in str(error):
                    start, end = self._place.start, self._place.end
                    raise Overtaken(
                        "Catalog", check.message, self._question.text, start, end, hint=check.hint
                    ) from error
            raise


@contextlib.contextmanager
def conflicts_told(question: Question, place: Span, what: str) -> Iterator[None]:
    """Say in a sentence that another session changes the same rows in a transaction that it has not ended.

    Parameters
    ----------
    place : where the error is shown
    what : that is changed, in a sentence
    """
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        if not (isinstance(error, duckdb.TransactionException) or is_conflict(error)):
            raise
        message = f"another session is changing {what}, or has changed it since this transaction began"
        hint = "nothing was changed; ask again once that has ended; a transaction of your own needs ROLLBACK first"
        raise question.error("Transaction", message, place, hint) from error
