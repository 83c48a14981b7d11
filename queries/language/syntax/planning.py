"""What OPTIMIZE and DESIGN are read into."""

from __future__ import annotations

from dataclasses import dataclass

from isoflop.queries.language.syntax.nodes import Expression, Extrapolate, LawReference, Name, Option, Span


@dataclass(frozen=True)
class OverRange:
    """One `name IN [a, b] [LOG | INTEGER]` of OVER."""

    name: Name
    lower: Expression
    upper: Expression
    is_log: bool = False
    is_integer: bool = False


@dataclass(frozen=True)
class OverList:
    """One `name IN (value, …)` of OVER, without the parentheses."""

    name: Name
    values: Expression


@dataclass(frozen=True)
class OverValue:
    """One `name = value` of OVER: a number, or what follows from the others."""

    name: Name
    value: Expression


@dataclass(frozen=True)
class ConditionClause(Span):
    """One `left <= right` of SUBJECT TO; the relation is <=, >= or =.

    With `is_total` the left side is what stands in `SUM(…)`: it holds for all runs of a DESIGN together.
    """

    left: Expression
    relation: str
    right: Expression
    is_total: bool = False


@dataclass(frozen=True)
class ForEach:
    """`FOR EACH name IN [list] | (query) | (value, …)`; the last two without their parentheses."""

    name: Name
    values: Expression
    is_query: bool = False
    is_bare: bool = False


@dataclass(frozen=True)
class Optimize(Span):
    """`OPTIMIZE law [MINIMIZE expr] OVER … SUBJECT TO … FOR EACH …`; without an objective what the law predicts."""

    law: LawReference
    objective: Expression | None
    maximize: bool | None
    ranges: tuple[OverRange, ...]
    conditions: tuple[ConditionClause, ...] = ()
    each: ForEach | None = None
    options: tuple[Option, ...] = ()
    values: tuple[OverValue, ...] = ()


@dataclass(frozen=True)
class Design(Span):
    """`DESIGN n RUNS FOR law TO … OVER … SUBJECT TO …`; the target is kept as an extrapolation of the law."""

    count: Expression
    target: Extrapolate
    ranges: tuple[OverRange | OverList, ...]
    values: tuple[OverValue, ...] = ()
    conditions: tuple[ConditionClause, ...] = ()
    options: tuple[Option, ...] = ()
