"""From tokens to the parts that verbs share: target and form, source, split, options."""

from __future__ import annotations

from isoflop.lakehouse.errors import QuerySyntaxError
from isoflop.queries.language.syntax.nodes import (
    Assignment,
    Candidate,
    Expression,
    FitClause,
    Form,
    FormulaForm,
    Holdout,
    LawForm,
    LawReference,
    Name,
    Option,
    ParameterRange,
    Show,
    Source,
    Span,
)
from isoflop.queries.language.syntax.reader import TokenReader
from isoflop.queries.language.syntax.tokens import Kind, matching

FIT_USAGE = "FIT loss ~ chinchilla(params, tokens) FROM runs"
FORM_USAGE = (
    "name a law with its columns, or write a formula and declare its free numbers: "
    "FIT loss ~ E + A / params ^ a PARAMETERS (E > 0, A > 0, a > 0) FROM runs"
)
HOLDOUT_USAGE = "say how rows are split: HOLDOUT LARGEST 20 PERCENT BY params, KFOLD 5, or LEAVE ONE OUT"

OPTIONS = "WITH ("
HOLDOUTS = ("HOLDOUT LARGEST", "HOLDOUT SMALLEST", "HOLDOUT LAST", "KFOLD", "LEAVE ONE")
_SOURCE_PARTS = ("WHERE", "GROUP BY", "WEIGHT BY", OPTIONS)
_QUERY_PARTS = ("SELECT", "ORDER BY", "LIMIT", "HAVING", "QUALIFY", "UNION", "EXCEPT", "INTERSECT", "OFFSET")


def read_subject(reader: TokenReader, *stops: str) -> Name | Candidate:
    """Read the name of a law, or `target ~ form`."""
    is_law = reader.current.is_name and reader.tokens[reader.index + 1].upper in ("FROM", "")
    if is_law and (reader.index + 1 >= reader.last or reader.tokens[reader.index + 1].upper == "FROM"):
        return reader.name("a law")
    return read_candidate(reader, *stops)


def read_candidate(reader: TokenReader, *stops: str) -> Candidate:
    """Read `target [AS alias] ~ form [PARAMETERS (…)]`."""
    start = reader.current.start
    target = reader.expression("a target, then ~ and a law", "~", "AS", *stops, hint=FIT_USAGE)
    alias = reader.name("a name for the target") if reader.accept("AS") else None
    if not reader.at("~"):
        equals = [token for token in reader.tokens[target.first : target.last] if token.text in ("=", "==")]
        if equals:
            raise reader.error('"~" stands between a target and its form', equals[0], FIT_USAGE)
        _step_back_to_form(reader, target)
        raise reader.expected('"~" and a form after the target', FIT_USAGE)
    reader.next()
    form = _form(reader, *stops)
    return Candidate(start, reader.end, target, alias, form)


def _step_back_to_form(reader: TokenReader, target: Expression) -> None:
    """Go to where a form seems to begin inside a target: a name right behind another."""
    for index in range(target.first + 1, target.last):
        before, token = reader.tokens[index - 1], reader.tokens[index]
        if token.is_name and (before.is_name or before.text == ")"):
            reader.index = index
            return


def _form(reader: TokenReader, *stops: str) -> Form:
    first = reader.index
    call = reader.current.is_name and reader.tokens[reader.index + 1].text == "("
    behind = reader.tokens[min(matching(reader.tokens, first + 1) + 1, reader.last)] if call else None
    if behind is not None and behind.is_name and behind.upper not in ("PARAMETERS", "WITH", *stops):
        reader.index = reader.tokens.index(behind)
        if not reader.at_end:
            raise reader.expected("PARAMETERS or FROM after the form", FIT_USAGE, words=("PARAMETERS", "FROM"))
        reader.index = first
    expression = reader.expression("a law or a formula after ~", "PARAMETERS (", "WITH (", *stops, hint=FORM_USAGE)
    parameters = _parameters(reader) if reader.accept("PARAMETERS") else ()
    head = reader.tokens[first]
    start, end = expression.start, reader.end
    name = Name(head.start, head.end, head.name)
    if expression.last == first + 1 and head.is_name:
        return LawForm(start, end, name, expression, None, parameters)
    if call and matching(reader.tokens, first + 1) == expression.last - 1:
        inner = TokenReader(reader.text, reader.tokens, first + 2, expression.last - 1, reader.words)
        return LawForm(start, end, name, expression, _list(inner, "a column"), parameters)
    return FormulaForm(start, end, expression, parameters)


def _parameters(reader: TokenReader) -> tuple[ParameterRange, ...]:
    """Read `(p > 0, q IN [a, b] INIT v, r FIXED v, s)`."""
    usage = "PARAMETERS (A > 0, alpha IN [0, 1] INIT 0.35, E FIXED 1.69)"
    inner = reader.inside()
    found: dict[str, ParameterRange] = {}
    while True:
        name = inner.name("the name of a parameter", usage)
        if name.text in found:
            raise QuerySyntaxError(
                "Parser", f"parameter '{name.text}' is declared twice", reader.text, name.start, name.end
            )
        lower = upper = init = fixed = None
        if inner.accept(">") or inner.accept(">="):
            lower = inner.expression("a number", ",", "INIT", "FIXED", hint=usage)
        elif inner.accept("<") or inner.accept("<="):
            upper = inner.expression("a number", ",", "INIT", "FIXED", hint=usage)
        elif inner.accept("IN"):
            if not inner.at("["):
                raise inner.expected('"[" and two numbers', usage)
            edges = inner.inside()
            lower = edges.expression("a number", ",", hint=usage)
            edges.expect(",", usage, what='"," and a second number')
            upper = edges.expression("a number", ",", hint=usage)
            edges.finish(usage)
        if inner.accept("INIT"):
            init = inner.expression("a number", ",", "FIXED", hint=usage)
        elif inner.accept("FIXED"):
            fixed = inner.expression("a number", ",", hint=usage)
        found[name.text] = ParameterRange(name, lower, upper, init, fixed)
        if not inner.accept(","):
            break
    inner.finish(usage)
    return tuple(found.values())


def read_source(reader: TokenReader, verb: str, *stops: str) -> Source:
    """Read `FROM … [WHERE …] [GROUP BY …] [WEIGHT BY …]`."""
    parts = (*_SOURCE_PARTS, *_QUERY_PARTS, *stops)
    start = reader.current.start
    reader.expect("FROM", f"{verb} … FROM runs")
    relation = reader.expression("a table, a file, a join or a query in parentheses after FROM", *parts)
    where = reader.expression("a condition after WHERE", *parts) if reader.accept("WHERE") else None
    groups: tuple[Expression, ...] = ()
    if reader.accept("GROUP BY"):
        groups = _list(reader, "a column after GROUP BY", *parts)
    weight = reader.expression("a weight after WEIGHT BY", *parts) if reader.accept("WEIGHT BY") else None
    if reader.at(*_QUERY_PARTS):
        word = next(part for part in _QUERY_PARTS if reader.at(part))
        hint = f"of the rows it reads: FROM (SELECT … FROM runs {word} …); of its answer: FROM ({verb} …) {word} …"
        if word == "SELECT":
            hint = "put the query in parentheses: FROM (SELECT … FROM runs …)"
        raise reader.error(f"{verb} does not take {word}", hint=hint)
    if reader.at("WHERE", "GROUP BY", "WEIGHT BY"):
        raise reader.error(
            f'syntax error at or near "{reader.current.text}"',
            hint="the order is FROM, WHERE, GROUP BY, WEIGHT BY, WITH",
        )
    return Source(start, reader.end, relation, where, groups, weight)


def refuse_parts(reader: TokenReader, source: Source, verb: str) -> None:
    """Check that a source only says which rows are read."""
    if source.groups:
        raise no_groups(reader, source, verb)
    if source.weight is not None:
        raise reader.error(f"{verb} has no weights", source.weight)


def no_groups(reader: TokenReader, source: Source, verb: str) -> QuerySyntaxError:
    """Return the error for a GROUP BY on a verb that answers for one law."""
    return reader.error(f"{verb} does not take GROUP BY", source.groups[0], "choose one group with WHERE")


def _list(reader: TokenReader, what: str, *stops: str) -> tuple[Expression, ...]:
    found = [reader.expression(what, ",", *stops)]
    while reader.accept(","):
        found.append(reader.expression(what, ",", *stops))
    return tuple(found)


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


def read_targets(
    reader: TokenReader, usage: str, *stops: str
) -> tuple[Span, tuple[Assignment, ...], Expression | None]:
    """Read `TO column = value, …` or `TO (query)`; returns where it stands, and the one of the two that is given.

    Parameters
    ----------
    usage : the verb's clause as it should be
    stops : what may follow
    """
    to = reader.expect("TO", usage)
    query, assignments = None, []
    if reader.at("("):
        inner = reader.inside()
        query = inner.expression("a query", hint=f"{usage.partition(' TO ')[0]} TO (FROM runs WHERE …)")
    else:
        while True:
            column = reader.name("column = value", usage)
            reader.expect("=", usage, what='"="')
            assignments.append(Assignment(column, reader.expression("a value", ",", *stops, hint=usage)))
            if not reader.accept(","):
                break
    return Span(to.start, reader.end), tuple(assignments), query


def read_options(reader: TokenReader) -> tuple[Option, ...]:
    """Read `WITH (key = value, …)`, or nothing."""
    if not reader.at(OPTIONS):
        return ()
    reader.accept("WITH")
    usage = "WITH (delta = 1e-3, resamples = 1000, seed = 0)"
    inner = reader.inside()
    found: dict[str, Option] = {}
    while True:
        key = inner.name("the name of an option", usage)
        inner.expect("=", usage, what='"=" and a value')
        if key.text.lower() in found:
            raise inner.error(f"option '{key.text}' is given twice", key)
        found[key.text.lower()] = Option(key, inner.expression("a value", ",", hint=usage))
        if not inner.accept(","):
            break
    inner.finish(usage)
    return tuple(found.values())


def read_fit(reader: TokenReader) -> FitClause:
    """Read `FIT target ~ form FROM … [WITH (…)]`."""
    start = reader.begin("FIT")
    candidate = read_candidate(reader, "FROM")
    source = read_source(reader, "FIT")
    options = read_options(reader)
    return FitClause(start, reader.end, candidate, source, options)


def read_law(reader: TokenReader, usage: str) -> LawReference:
    """Read the name of a law, or a FIT in parentheses."""
    if not reader.at("("):
        return reader.name("the name of a law", usage)
    inner = reader.inside()
    fit = read_inner_fit(inner, f"({FIT_USAGE})")
    inner.finish()
    return fit


def read_inner_fit(reader: TokenReader, usage: str) -> FitClause:
    """Read a FIT that stands inside another clause."""
    if not reader.at("FIT"):
        raise reader.expected("FIT", usage, words=("FIT",))
    return read_fit(reader)


def read_pattern(reader: TokenReader, words: str) -> Show:
    """Read `SHOW … [LIKE 'pattern']`.

    Parameters
    ----------
    words : the verb
    """
    start = reader.begin(words)
    pattern = reader.value(Kind.STRING, "a pattern in quotes, like 'a%'") if reader.accept("LIKE") else None
    return Show(start, reader.tokens[reader.last - 1].end, pattern)


def read_subjects(reader: TokenReader, usage: str, verb: str) -> tuple[Name | Candidate, ...]:
    """Read names of laws and `(target ~ form)`, between commas."""
    subjects: list[Name | Candidate] = []
    while True:
        if reader.at("("):
            inner = reader.inside()
            subject: Name | Candidate = read_candidate(inner, "FROM")
            if inner.at("FROM"):
                raise inner.error(
                    f"the candidates of {verb} share one FROM", hint=f"{verb} (loss ~ …), (loss ~ …) FROM runs"
                )
            inner.finish()
        else:
            subject = reader.name("a law, or (target ~ form)", usage)
        subjects.append(subject)
        if not reader.accept(","):
            return tuple(subjects)
