"""How rows are split for a check: HOLDOUT, KFOLD and LEAVE ONE OUT."""

from __future__ import annotations

from isoflop.queries.language.syntax.nodes import Expression, Holdout
from isoflop.queries.language.syntax.parts import OPTIONS
from isoflop.queries.language.syntax.reader import TokenReader
from isoflop.queries.language.syntax.tokens import Kind

HOLDOUT_USAGE = "say how rows are split: HOLDOUT LARGEST 20 PERCENT BY params, KFOLD 5, or LEAVE ONE OUT"


def read_holdout(reader: TokenReader) -> Holdout:
    """Read how rows are split."""
    start = reader.current.start
    if reader.accept("HOLDOUT"):
        for kind in ("LARGEST", "SMALLEST", "LAST"):
            if reader.accept(kind):
                amount = _amount(reader, f"how many rows to hold out after {kind}")
                is_percent = reader.accept("PERCENT") or reader.accept("%")
                reader.expect("BY", "HOLDOUT LARGEST 20 PERCENT BY params", what="BY and what orders the rows")
                by = reader.expression("a column after BY", OPTIONS)
                return Holdout(start, reader.end, kind.lower(), amount, is_percent, by)
        raise reader.expected("LARGEST, SMALLEST or LAST", HOLDOUT_USAGE, words=("LARGEST", "SMALLEST", "LAST"))
    if reader.accept("KFOLD"):
        folds = _amount(reader, "a number of folds after KFOLD")
        together = reader.expression("a column after BY", OPTIONS) if reader.accept("BY") else None
        return Holdout(start, reader.end, "kfold", folds, False, together)
    if reader.accept("LEAVE"):
        reader.expect("ONE OUT", HOLDOUT_USAGE)
        together = reader.expression("a column after BY", OPTIONS) if reader.accept("BY") else None
        return Holdout(start, reader.end, "leave one out", None, False, together)
    raise reader.expected("HOLDOUT, KFOLD or LEAVE ONE OUT", HOLDOUT_USAGE)


def _amount(reader: TokenReader, what: str) -> Expression:
    if reader.at_end or reader.current.kind not in (Kind.NUMBER, Kind.PARAMETER):
        raise reader.expected(what, HOLDOUT_USAGE)
    reader.next()
    return reader.slice(reader.index - 1, reader.index)
