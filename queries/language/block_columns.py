"""Columns of a source by which rows may belong together: whole numbers, texts and truth values that are no results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isoflop.lakehouse.schema.views import ATTEMPT_COLUMNS
from isoflop.queries.language.question import Question
from isoflop.queries.language.syntax.nodes import Source
from isoflop.queries.language.syntax.tokens import Token
from isoflop.queries.language.whole_numbers import SourceColumns

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = "block "  # what the names of these columns among the further ones begin with
MOST_COLUMNS = 64  # that are looked at, the first ones of a source
# How a run went, and what it was made of as a whole: two runs alike in these are not alike by it.
NO_BLOCK = frozenset((*ATTEMPT_COLUMNS, "status", "config", "tags", "submitted_at", "last_step", "point_attempt"))


def block_columns(question: Question, source: Source, known: SourceColumns) -> dict[str, str]:
    """Return the columns by which rows of a source may belong together, by the name they get; none of joined tables.

    Parameters
    ----------
    known : columns of the source
    """
    if _is_joined(question.tokens[source.relation.first : source.relation.last]):
        return {}  # a name that two tables have cannot be asked for
    names = [name for name, kind in known.types.items() if name not in NO_BLOCK and _is_label(kind)]
    return {f"{BLOCK}{name}": name for name in names[:MOST_COLUMNS]}


def _is_joined(tokens: Sequence[Token]) -> bool:
    """Return whether a relation is of several tables, by its tokens."""
    depth = 0
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and (token.text == "," or token.upper == "JOIN"):
            return True
    return False


def _is_label(kind: pa.DataType) -> bool:
    """Return whether values of a type name things: numbers with fractions are measured."""
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_boolean(kind))
