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
    LawForm,
    LawName,
    LawReference,
    Let,
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

OPTIONS = "WITH ("
PUBLISHED = "published:"  # begins the names of what comes with isoflop: laws of papers, and their runs
HOLDOUTS = ("HOLDOUT LARGEST", "HOLDOUT SMALLEST", "HOLDOUT LAST", "KFOLD", "LEAVE ONE")
SHARING = "SHARING ("
SHARING_USAGE = "GROUP BY recipe SHARING (E, alpha, beta)"
_SOURCE_PARTS = ("WHERE", "GROUP BY", SHARING, "WEIGHT BY", OPTIONS)
_QUERY_PARTS = ("SELECT", "ORDER BY", "LIMIT", "HAVING", "QUALIFY", "UNION", "EXCEPT", "INTERSECT", "OFFSET")


def read_subject(reader: TokenReader, *stops: str) -> Name | Candidate:
    """Read the name of a law, or `target ~ form`."""
    if at_published(reader):
        return read_law_name(reader, "a law")
    behind = reader.index + 1
    words = {
        "WITH",
        *(stop.split(" ")[0] for stop in stops),
    }  # KFOLD, LEAVE and HOLDOUT as well, where FROM may be left out
    if reader.current.is_name and (behind >= reader.last or reader.tokens[behind].upper in words):
        return read_law_name(reader, "a law")
    return read_candidate(reader, *stops)


def read_candidate(reader: TokenReader, *stops: str) -> Candidate:
    """Read `target [AS alias] ~ form [LET …] [PARAMETERS (…)]`."""
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
    form = read_form(reader, *stops)
    return Candidate(start, reader.end, target, alias, form)


def _step_back_to_form(reader: TokenReader, target: Expression) -> None:
    """Go to where a form seems to begin inside a target: a name right behind another."""
    for index in range(target.first + 1, target.last):
        before, token = reader.tokens[index - 1], reader.tokens[index]
        if token.is_name and (before.is_name or before.text == ")"):
            reader.index = index
            return


def read_form(reader: TokenReader, *stops: str) -> Form:
    """Read `law(column, …)` or a formula, and its PARAMETERS."""
    first = reader.index
    call = reader.current.is_name and reader.tokens[reader.index + 1].text == "("
    behind = reader.tokens[min(matching(reader.tokens, first + 1) + 1, reader.last)] if call else None
    if behind is not None and behind.is_name and behind.upper not in ("LET", "PARAMETERS", "WITH", *stops):
        reader.index = reader.tokens.index(behind)
        if not reader.at_end:
            raise reader.expected("PARAMETERS or FROM after the form", FIT_USAGE, words=("PARAMETERS", "FROM"))
        reader.index = first
    whole = _until_let(reader)
    ends = ("PARAMETERS (", "WITH (", *stops)
    expression = whole.expression("a law or a formula after ~", *ends, hint=FORM_USAGE)
    reader.index = whole.index
    lets = _lets(reader, *ends)
    parameters = _parameters(reader) if reader.accept("PARAMETERS") else ()
    lets = lets or _lets(reader, *ends)
    head = reader.tokens[first]
    start, end = expression.start, reader.end
    name = Name(head.start, head.end, head.name)
    if expression.last == first + 1 and head.is_name:
        return LawForm(start, end, name, expression, None, parameters, lets)
    if call and matching(reader.tokens, first + 1) == expression.last - 1:
        inner = TokenReader(reader.text, reader.tokens, first + 2, expression.last - 1, reader.words)
        return LawForm(start, end, name, expression, _list(inner, "a column"), parameters, lets)
    return FormulaForm(start, end, expression, parameters, lets)


def _until_let(reader: TokenReader) -> TokenReader:
    """Return a reader of what stands before `LET name =`, which a column called let is not followed by."""
    index = reader.index
    while index < reader.last:
        if index > reader.index and _is_let(reader, index):
            return TokenReader(reader.text, reader.tokens, reader.index, index, reader.words)
        is_open = reader.tokens[index].kind is Kind.OPERATOR and reader.tokens[index].text in "([{"
        index = matching(reader.tokens, index) + 1 if is_open else index + 1
    return TokenReader(reader.text, reader.tokens, reader.index, reader.last, reader.words)


def _is_let(reader: TokenReader, index: int) -> bool:
    tokens = reader.tokens
    if tokens[index].upper != "LET" or index + 2 >= reader.last:
        return False
    return tokens[index + 1].is_name and tokens[index + 2].text == "="


def _lets(reader: TokenReader, *stops: str) -> tuple[Let, ...]:
    """Read `LET n = params / 1e6, d = tokens / 1e9`, or nothing."""
    if not reader.at("LET") or not _is_let(reader, reader.index):
        return ()
    reader.accept("LET")
    usage = "LET n = params / 1e6, d = tokens / 1e9"
    found: list[Let] = []
    while True:
        name = reader.name("a name for an expression", usage)
        reader.expect("=", usage, what='"=" and an expression')
        found.append(Let(name, reader.expression("an expression", ",", *stops, hint=usage)))
        if not reader.accept(","):
            return tuple(found)


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
    """Read `FROM … [WHERE …] [GROUP BY … [SHARING (…)]] [WEIGHT BY …]`."""
    parts = (*_SOURCE_PARTS, *_QUERY_PARTS, *stops)
    start = reader.current.start
    reader.expect("FROM", f"{verb} … FROM runs")
    relation = reader.expression("a table, a file, a join or a query in parentheses after FROM", *parts)
    where = reader.expression("a condition after WHERE", *parts) if reader.accept("WHERE") else None
    groups: tuple[Expression, ...] = ()
    if reader.accept("GROUP BY"):
        groups = _list(reader, "a column after GROUP BY", *parts)
    if reader.at(SHARING) and not groups:
        raise reader.error("SHARING belongs to GROUP BY", hint=SHARING_USAGE)
    sharing = _sharing(reader)
    weight = reader.expression("a weight after WEIGHT BY", *parts) if reader.accept("WEIGHT BY") else None
    if reader.at(*_QUERY_PARTS):
        word = next(part for part in _QUERY_PARTS if reader.at(part))
        hint = f"of the rows it reads: FROM (SELECT … FROM runs {word} …); of its answer: FROM ({verb} …) {word} …"
        if word == "SELECT":
            hint = "put the query in parentheses: FROM (SELECT … FROM runs …)"
        raise reader.error(f"{verb} does not take {word}", hint=hint)
    if reader.at("WHERE", "GROUP BY", "WEIGHT BY", SHARING):
        raise reader.error(
            f'syntax error at or near "{reader.current.text}"',
            hint="the order is FROM, WHERE, GROUP BY, WEIGHT BY, WITH",
        )
    return Source(start, reader.end, relation, where, groups, weight, sharing)


def _sharing(reader: TokenReader) -> tuple[Name, ...]:
    """Read `SHARING (coefficient, …)`, or nothing."""
    if not reader.at(SHARING):
        return ()
    reader.next()
    inner = reader.inside()
    found = [inner.name("the name of a coefficient", SHARING_USAGE)]
    while inner.accept(","):
        found.append(inner.name("the name of a coefficient", SHARING_USAGE))
    inner.finish(SHARING_USAGE)
    return tuple(found)


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
    query: Expression | None = None
    assignments: tuple[Assignment, ...] = ()
    if reader.at("("):
        inner = reader.inside()
        query = inner.expression("a query", hint=f"{usage.partition(' TO ')[0]} TO (FROM runs WHERE …)")
    else:
        assignments = read_assignments(reader, usage, *stops)
    return Span(to.start, reader.end), assignments, query


def read_assignments(reader: TokenReader, usage: str, *stops: str) -> tuple[Assignment, ...]:
    """Read `column = value, …`.

    Parameters
    ----------
    usage : the verb's clause as it should be
    stops : what may follow
    """
    found = []
    while True:
        column = reader.name("column = value", usage)
        reader.expect("=", usage, what='"="')
        found.append(Assignment(column, reader.expression("a value", ",", *stops, hint=usage)))
        if not reader.accept(","):
            return tuple(found)


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


def at_published(reader: TokenReader) -> bool:
    """Return whether `published:name` comes next."""
    return reader.at("PUBLISHED :")


def read_law_name(reader: TokenReader, what: str, usage: str | None = None) -> LawName:
    """Read the name of a saved law, or `published:name`, which is the name of a law of a paper."""
    if not at_published(reader):
        name = reader.name(what, usage)
        return LawName(name.start, name.end, name.text)
    start = reader.begin("PUBLISHED :")
    name = reader.name("the name of a published law", "SHOW PUBLISHED LAWS lists them")
    return LawName(start, name.end, PUBLISHED + name.text)


def read_law(reader: TokenReader, usage: str) -> LawReference:
    """Read the name of a law, or a FIT in parentheses."""
    if not reader.at("("):
        return read_law_name(reader, "the name of a law", usage)
    inner = reader.inside()
    fit = read_inner_fit(inner, f"({FIT_USAGE})")
    inner.finish()
    return fit


def read_through(reader: TokenReader, usage: str) -> tuple[LawReference, ...]:
    """Read `THROUGH law, …`, or nothing."""
    if not reader.accept("THROUGH"):
        return ()
    laws = [read_law(reader, usage)]
    while reader.accept(","):
        laws.append(read_law(reader, usage))
    return tuple(laws)


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
            subject = read_law_name(reader, "a law, or (target ~ form)", usage)
        subjects.append(subject)
        if not reader.accept(","):
            return tuple(subjects)
