"""From tokens to the parts of OPTIMIZE: what is best, over which ranges, under which conditions, for which values."""

from __future__ import annotations

from isoflop.queries.language.syntax.clauses import verb_at
from isoflop.queries.language.syntax.nodes import Comparison, ForEach, LawReference, Optimize, OverRange
from isoflop.queries.language.syntax.parts import OPTIONS, read_options
from isoflop.queries.language.syntax.reader import TokenReader

OPTIMIZE_USAGE = (
    "OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG "
    "SUBJECT TO 6 * params * tokens <= 1e21"
)
OVER_USAGE = "OVER params IN [1e7, 1e12] LOG"
CONDITION_USAGE = "SUBJECT TO 6 * params * tokens <= 1e21"
EACH_USAGE = "FOR EACH budget IN [1e20, 1e21, 1e22]"
_RELATIONS = {"<=": "<=", ">=": ">=", "=": "=", "==": "="}
_QUERY_STARTS = ("SELECT", "FROM", "WITH", "VALUES")


def read_optimize(reader: TokenReader, start: int, law: LawReference) -> Optimize:
    """Read what follows the law in `OPTIMIZE law MINIMIZE expr OVER … SUBJECT TO … FOR EACH … WITH (…)`.

    Raises
    ------
    QuerySyntaxError : when it does not parse
    """
    words = ("MINIMIZE", "MAXIMIZE")
    if not reader.at(*words):
        raise reader.expected("MINIMIZE or MAXIMIZE", OPTIMIZE_USAGE, words=words)
    maximize = reader.next().upper == "MAXIMIZE"
    objective = reader.expression("what to make small", "OVER", "SUBJECT TO", "FOR EACH", OPTIONS, hint=OPTIMIZE_USAGE)
    reader.expect("OVER", OVER_USAGE)
    ranges: dict[str, OverRange] = {}
    while True:
        one = _range(reader)
        if one.name.text.lower() in ranges:
            raise reader.error(f"'{one.name.text}' is given twice", one.name)
        ranges[one.name.text.lower()] = one
        if not reader.accept(","):
            break
    conditions = []
    if reader.accept("SUBJECT TO"):
        conditions.append(_comparison(reader))
        while reader.accept(","):
            conditions.append(_comparison(reader))
    elif not reader.at_end and not reader.at("FOR EACH", OPTIONS):
        raise reader.expected("SUBJECT TO and conditions", CONDITION_USAGE, words=("SUBJECT", "LOG", "INTEGER"))
    each = _each(reader) if reader.accept("FOR EACH") else None
    if each is not None and each.name.text.lower() in ranges:
        raise reader.error(f"'{each.name.text}' is given twice", each.name)
    options = read_options(reader)
    return Optimize(
        start, reader.end, law, objective, maximize, tuple(ranges.values()), tuple(conditions), each, options
    )


def _range(reader: TokenReader) -> OverRange:
    """Read `name IN [a, b] [LOG | INTEGER]`."""
    name = reader.name("the name of a number to choose", OVER_USAGE)
    reader.expect("IN", OVER_USAGE, what='IN and a range "[a, b]"')
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


def _comparison(reader: TokenReader) -> Comparison:
    """Read `left <= right`."""
    whole = reader.expression("a condition", ",", "FOR EACH", OPTIONS, hint=CONDITION_USAGE)
    inner = TokenReader(reader.text, reader.tokens, whole.first, whole.last)
    stops = (*_RELATIONS, "<", ">", "<>", "!=")
    left = inner.expression("the left side of a condition", *stops, hint=CONDITION_USAGE)
    if inner.at_end:
        raise reader.error("expected a condition with <=, >= or =", whole, CONDITION_USAGE)
    relation = inner.next()
    if relation.text not in _RELATIONS:
        hint = f'write "{relation.text}="' if relation.text in "<>" else CONDITION_USAGE
        raise reader.error(f'"{relation.text}" is no condition of OPTIMIZE', relation, hint)
    right = inner.expression("the right side of a condition", *stops, hint=CONDITION_USAGE)
    inner.finish("one comparison a condition: 1e9 <= params, params <= 1e10")
    return Comparison(whole.start, whole.end, left, _RELATIONS[relation.text], right)


def _each(reader: TokenReader) -> ForEach:
    """Read `name IN [list] | (list) | (query) | expression` after FOR EACH."""
    name = reader.name("a name for each value", EACH_USAGE)
    reader.expect("IN", EACH_USAGE, what="IN and the values")
    if not reader.at("("):
        return ForEach(name, reader.expression("a list of values", OPTIONS, hint=EACH_USAGE))
    inner = reader.inside()
    if inner.at_end:
        raise inner.expected("values or a query", EACH_USAGE)
    is_query = inner.at(*_QUERY_STARTS) or verb_at(reader.tokens, inner.index) is not None
    return ForEach(name, reader.slice(inner.index, inner.last), is_query, not is_query)
