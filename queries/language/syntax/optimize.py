"""From tokens to OPTIMIZE: what is best, for which values. Ranges and conditions are those of DESIGN as well."""

from __future__ import annotations

from isoflop.queries.language.syntax.nodes import Expression, Name, Span
from isoflop.queries.language.syntax.parts import OPTIONS, read_law, read_options
from isoflop.queries.language.syntax.planning import ConditionClause, ForEach, Optimize, OverList, OverRange, OverValue
from isoflop.queries.language.syntax.reader import TokenReader
from isoflop.queries.language.syntax.tokens import matching

OPTIMIZE_USAGE = (
    "OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG "
    "SUBJECT TO 6 * params * tokens <= 1e21"
)
OVER_USAGE = "OVER params IN [1e7, 1e12] LOG"
VALUE_USAGE = "OVER params IN [1e7, 1e12] LOG, tokens = 20 * params"
TOTAL_USAGE = "SUBJECT TO SUM(6 * params * tokens) <= 1e21"
CONDITION_USAGE = "SUBJECT TO 6 * params * tokens <= 1e21"
EACH_USAGE = "FOR EACH budget IN [1e20, 1e21, 1e22]"
_RELATIONS = {"<=": "<=", ">=": ">=", "=": "=", "==": "="}
_QUERY_STARTS = ("SELECT", "FROM", "WITH", "VALUES")


def read_optimize(reader: TokenReader) -> Optimize:
    """Read `OPTIMIZE law [MINIMIZE expr | MAXIMIZE expr] OVER … SUBJECT TO … FOR EACH … WITH (…)`.

    Raises
    ------
    QuerySyntaxError : when it does not parse
    """
    start = reader.begin("OPTIMIZE")
    law = read_law(reader, OPTIMIZE_USAGE)
    words = ("MINIMIZE", "MAXIMIZE")
    objective, maximize = None, None
    if reader.at(*words):
        maximize = reader.next().upper == "MAXIMIZE"
        objective = reader.expression(
            "what to make small", "OVER", "SUBJECT TO", "FOR EACH", OPTIONS, hint=OPTIMIZE_USAGE
        )
    elif reader.at("SUBJECT TO", "FOR EACH", OPTIONS) or reader.at_end:
        raise reader.expected("OVER", OPTIMIZE_USAGE, words=("OVER",))
    elif not reader.at("OVER"):
        raise reader.expected("MINIMIZE or MAXIMIZE", OPTIMIZE_USAGE, words=words)
    over, values = read_over(reader, "SUBJECT TO", "FOR EACH")
    ranges = []
    for part in over:
        if isinstance(part, OverList):
            raise reader.error("OPTIMIZE chooses from a range", part.values, OVER_USAGE)
        ranges.append(part)
    conditions = read_conditions(reader, "FOR EACH")
    for condition in conditions:
        if condition.is_total:
            hint = f"leave it out: {condition.left.text} {condition.relation} {condition.right.text}"
            raise reader.error("SUM is over the runs of DESIGN, and OPTIMIZE chooses one point", condition, hint)
    each = _each(reader) if reader.accept("FOR EACH") else None
    taken = [over.name for over in ranges] + [value.name for value in values]
    if each is not None and each.name.text.lower() in {name.text.lower() for name in taken}:
        raise reader.error(f"'{each.name.text}' is given twice", each.name)
    options = read_options(reader)
    return Optimize(start, reader.end, law, objective, maximize, tuple(ranges), conditions, each, options, values)


def read_over(reader: TokenReader, *stops: str) -> tuple[tuple[OverRange | OverList, ...], tuple[OverValue, ...]]:
    """Read `OVER name IN [a, b] [LOG | INTEGER], name IN (value, …), name = value, …`, with at least one to choose.

    Parameters
    ----------
    stops : what may follow

    Raises
    ------
    QuerySyntaxError : when it does not parse, or a name is given twice
    """
    over = reader.expect("OVER", OVER_USAGE)
    seen: set[str] = set()
    ranges: list[OverRange | OverList] = []
    values: list[OverValue] = []
    while True:
        name = reader.name("the name of a number to choose", OVER_USAGE)
        if reader.accept("="):
            values.append(OverValue(name, reader.expression("a value", ",", *stops, OPTIONS, hint=VALUE_USAGE)))
        else:
            ranges.append(_range(reader, name))
        if name.text.lower() in seen:
            raise reader.error(f"'{name.text}' is given twice", name)
        seen.add(name.text.lower())
        if not reader.accept(","):
            break
    if not ranges:
        raise reader.error("OVER leaves nothing to choose", Span(over.start, reader.end), OVER_USAGE)
    return tuple(ranges), tuple(values)


def _range(reader: TokenReader, name: Name) -> OverRange | OverList:
    """Read `IN [a, b] [LOG | INTEGER]` or `IN (value, …)` after a name."""
    reader.expect("IN", OVER_USAGE, what='IN and a range "[a, b]"')
    if reader.at("("):
        inner = reader.inside()
        if inner.at_end:
            raise inner.expected("values", OVER_USAGE)
        return OverList(name, reader.slice(inner.index, inner.last))
    if not reader.at("["):
        raise reader.expected('a range "[a, b]"', OVER_USAGE)
    inner = reader.inside()
    lower = inner.expression("the lower end", ",", hint=OVER_USAGE)
    inner.expect(",", OVER_USAGE, what='"," and the upper end')
    upper = inner.expression("the upper end", ",", hint=OVER_USAGE)
    inner.finish(OVER_USAGE)
    is_log = is_integer = False
    while reader.at("LOG", "INTEGER"):
        if reader.next().upper == "LOG":
            is_log = True
        else:
            is_integer = True
    return OverRange(name, lower, upper, is_log, is_integer)


def read_conditions(reader: TokenReader, *stops: str) -> tuple[ConditionClause, ...]:
    """Read `SUBJECT TO left <= right, …`, or nothing.

    Parameters
    ----------
    stops : what may follow

    Raises
    ------
    QuerySyntaxError : when it does not parse
    """
    found = []
    if reader.accept("SUBJECT TO"):
        found.append(_comparison(reader, *stops))
        while reader.accept(","):
            found.append(_comparison(reader, *stops))
    elif not reader.at_end and not reader.at(*stops, OPTIONS):
        raise reader.expected("SUBJECT TO and conditions", CONDITION_USAGE, words=("SUBJECT", "LOG", "INTEGER"))
    return tuple(found)


def _comparison(reader: TokenReader, *stops: str) -> ConditionClause:
    """Read `left <= right` or `SUM(left) <= right`."""
    whole = reader.expression("a condition", ",", *stops, OPTIONS, hint=CONDITION_USAGE)
    inner = TokenReader(reader.text, reader.tokens, whole.first, whole.last, reader.words)
    ends = (*_RELATIONS, "<", ">", "<>", "!=")
    left = inner.expression("the left side of a condition", *ends, hint=CONDITION_USAGE)
    total = _summed(reader, left)
    if inner.at_end:
        raise reader.error("expected a condition with <=, >= or =", whole, CONDITION_USAGE)
    relation = inner.next()
    if relation.text not in _RELATIONS:
        hint = f'write "{relation.text}="' if relation.text in "<>" else CONDITION_USAGE
        raise reader.error(f'"{relation.text}" is no condition of OPTIMIZE', relation, hint)
    right = inner.expression("the right side of a condition", *ends, hint=CONDITION_USAGE)
    inner.finish("one comparison a condition: 1e9 <= params, params <= 1e10")
    if total is not None and relation.text != "<=":
        raise reader.error("a sum over all runs is held below a budget", relation, TOTAL_USAGE)
    is_total = total is not None
    return ConditionClause(whole.start, whole.end, total or left, _RELATIONS[relation.text], right, is_total)


def _summed(reader: TokenReader, side: Expression) -> Expression | None:
    """Return what stands in `SUM(…)` when a side of a condition is that and nothing else."""
    first = side.first
    is_call = reader.tokens[first].upper == "SUM" and reader.tokens[first + 1].text == "("
    if not is_call or matching(reader.tokens, first + 1) != side.last - 1:
        return None
    if side.last - first == 3:
        raise reader.error("SUM is of something", side, TOTAL_USAGE)
    return reader.slice(first + 2, side.last - 1)


def _each(reader: TokenReader) -> ForEach:
    """Read `name IN [list] | (list) | (query) | expression` after FOR EACH."""
    name = reader.name("a name for each value", EACH_USAGE)
    reader.expect("IN", EACH_USAGE, what="IN and the values")
    if not reader.at("("):
        return ForEach(name, reader.expression("a list of values", OPTIONS, hint=EACH_USAGE))
    inner = reader.inside()
    if inner.at_end:
        raise inner.expected("values or a query", EACH_USAGE)
    is_query = inner.at(*_QUERY_STARTS) or inner.words.at(inner.tokens, inner.index) is not None
    return ForEach(name, reader.slice(inner.index, inner.last), is_query, not is_query)
