"""Where whole numbers of an expression are cast before they are multiplied, and missing FLOPs told from counts.

DuckDB multiplies whole numbers as whole numbers, and 6 * params * tokens of a usual run is more than 64 bits hold. A
law takes DOUBLEs in any case, so whole factors are cast first. FLOPs that are NULL beside known params and tokens are
taken as 6 params tokens. What is stored stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from isoflop.queries.language.syntax.tokens import Kind, Token, quote_name, tokenize

if TYPE_CHECKING:
    import pyarrow as pa

FLOPS, COUNTS = "flops", ("params", "tokens")
ARITHMETIC = ("*", "+", "-")
# What means something else over DOUBLEs, or has names of its own; an expression with one of these is sent as typed.
OTHERWISE = frozenset(
    ("//", "%", "<<", ">>", "&", "|", "~", "::", "->", "SELECT", "FROM", "CAST", "TRY_CAST", "INTERVAL", "LAMBDA")
)


@dataclass(frozen=True)
class Edit:
    """Text of our own before and after the tokens `first` up to, without, `last`."""

    first: int
    last: int
    before: str
    after: str


@dataclass(frozen=True)
class SourceColumns:
    """The columns of a source by name in lower case, with their Arrow types; none where they are not known."""

    types: Mapping[str, pa.DataType]

    @classmethod
    def of_table(cls, table: pa.Table) -> SourceColumns:
        """Return the columns of a table."""
        return cls({field.name.lower(): field.type for field in table.schema})

    def __contains__(self, name: object) -> bool:
        return name in self.types

    def is_whole(self, name: str) -> bool:
        """Whether a column holds whole numbers or decimal ones, which DuckDB multiplies exactly or not at all."""
        import pyarrow as pa

        kind = self.types.get(name)
        return kind is not None and (pa.types.is_integer(kind) or pa.types.is_decimal(kind))

    def is_number(self, name: str) -> bool:
        """Whether a column holds numbers, or nothing."""
        import pyarrow as pa

        kind = self.types.get(name)
        return kind is not None and (
            pa.types.is_integer(kind)
            or pa.types.is_floating(kind)
            or pa.types.is_decimal(kind)
            or pa.types.is_null(kind)
        )

    def is_plain(self, name: str) -> bool:
        """Whether a column holds numbers, texts or truth values: what has a smallest value that tells something."""
        import pyarrow as pa

        kind = self.types.get(name)
        return kind is not None and (self.is_number(name) or pa.types.is_string(kind) or pa.types.is_boolean(kind))

    @property
    def without_flops(self) -> SourceColumns:
        """The columns for what is to be explained: FLOPs that are missing there are not made up."""
        return SourceColumns({name: kind for name, kind in self.types.items() if name != FLOPS})

    @property
    def have_flops(self) -> bool:
        """Whether missing FLOPs can be told from other columns; not where two joined tables have one of them."""
        needed = (FLOPS, *COUNTS)
        return all(self.is_number(name) and f"{name}_1" not in self.types for name in needed)


def edits(tokens: Sequence[Token], first: int, last: int, known: SourceColumns) -> list[Edit]:
    """Return what is put around tokens `first` up to, without, `last` so that they are read as a law takes them."""
    chosen = tokens[first:last]
    if any((token.upper or token.text) in OTHERWISE for token in chosen):
        return []
    if any(token.is_name and after.kind is Kind.STRING for token, after in pairwise(chosen)):  # DATE '2026-01-01'
        return []
    columns = [(start, end) for start, end in _chains(tokens, first, last) if tokens[end - 1].name.lower() in known]
    is_of_numbers = all(known.is_number(tokens[end - 1].name.lower()) for _, end in columns)
    computes = is_of_numbers and any(_is_arithmetic(tokens, index, first) for index in range(first, last))
    found = []
    for start, end in columns:
        name = tokens[end - 1].name.lower()
        if name == FLOPS and known.have_flops:
            table = "".join(token.text for token in tokens[start : end - 1])
            counts = " * ".join(f"CAST({table}{quote_name(count)} AS DOUBLE)" for count in COUNTS)
            found.append(Edit(start, end, "coalesce(", f", 6 * {counts})"))
        elif computes and known.is_whole(name):
            found.append(Edit(start, end, "", "::DOUBLE"))
    for index in range(first, last) if computes else ():
        is_whole = tokens[index].kind is Kind.NUMBER and tokens[index].text.replace("_", "").isdigit()
        beside = [place for place in (index - 1, index + 1) if first <= place < last]
        if is_whole and any(_is_arithmetic(tokens, place, first) for place in beside):
            found.append(Edit(index, index + 1, "", "::DOUBLE"))
    return sorted(found, key=lambda edit: edit.first)


def _chains(tokens: Sequence[Token], first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield the tokens of every name that is no function, `runs.params` as one."""
    index = first
    while index < last:
        end = index + 1
        if tokens[index].is_name:
            while end + 1 < last and tokens[end].text == "." and tokens[end + 1].is_name:
                end += 2
            if end >= last or tokens[end].text != "(":
                yield index, end
        index = end


def _is_arithmetic(tokens: Sequence[Token], index: int, first: int) -> bool:
    """Whether a token adds, subtracts or multiplies what stands on its two sides: no sign, and no star for all."""
    if tokens[index].text not in ARITHMETIC or index == first:
        return False
    before = tokens[index - 1]
    return before.kind in (Kind.WORD, Kind.QUOTED, Kind.NUMBER, Kind.PARAMETER) or before.text in (")", "]")


def cut(first: int, last: int, found: Sequence[Edit]) -> Iterator[tuple[int, int, str]]:
    """Yield the slices of tokens `first` up to, without, `last`, each with the text of our own that follows it."""
    marks: list[tuple[int, str]] = []  # (token before which a text stands, the text)
    for edit in found:
        marks += [(edit.first, edit.before)] if edit.before else []
        marks.append((edit.last, edit.after))
    at = first
    for index, text in marks:
        yield at, index, text
        at = index
    yield at, last, ""


def with_edits(text: str, known: SourceColumns) -> str:
    """Return an expression of our own words with its edits in it."""
    tokens = tokenize(text)
    parts, at = [], 0
    for edit in edits(tokens, 0, len(tokens) - 1, known):
        start, end = tokens[edit.first].start, tokens[edit.last - 1].end
        parts += [text[at:start], edit.before, text[start:end], edit.after]
        at = end
    return "".join((*parts, text[at:]))
