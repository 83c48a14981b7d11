"""From the tokens of a verb clause to its node: one function for each verb."""

from __future__ import annotations

from isoflop.lakehouse.errors import QuerySyntaxError
from isoflop.queries.language.syntax.approaches import APPROACHES, read_approaches
from isoflop.queries.language.syntax.clauses import verb_at
from isoflop.queries.language.syntax.design import DESIGN_USAGE, read_design
from isoflop.queries.language.syntax.nodes import (
    Candidate,
    CommentLaw,
    Compare,
    CreateLaw,
    CrossValidate,
    DescribeLaw,
    DropLaw,
    Expression,
    Extrapolate,
    ExtrapolateAverage,
    Fit,
    Forecast,
    LawReference,
    Name,
    Predict,
    RefitLaw,
    RenameLaw,
    Residuals,
    ShowForecasts,
    ShowLawForms,
    ShowLaws,
    Span,
)
from isoflop.queries.language.syntax.optimize import OPTIMIZE_USAGE, read_optimize
from isoflop.queries.language.syntax.parts import (
    FIT_USAGE,
    HOLDOUTS,
    OPTIONS,
    no_groups,
    read_candidate,
    read_holdout,
    read_options,
    read_source,
    read_subject,
    read_targets,
    refuse_parts,
)
from isoflop.queries.language.syntax.reader import TokenReader
from isoflop.queries.language.syntax.tokens import Kind, Token
from isoflop.queries.language.syntax.verb import Explain, Verb

COMPARE_USAGE = "COMPARE chin, (loss ~ kaplan(params, tokens)) FROM runs"
AVERAGE = "AVERAGE OF"  # both words, so that a law may be called average
AVERAGE_USAGE = "EXTRAPOLATE AVERAGE OF chin, (loss ~ kaplan(params, tokens)) FROM runs TO params = 1e11, tokens = 2e12"
TO_USAGE = "EXTRAPOLATE law TO params = [1e11, 1e12], tokens = 20 * params"


def parse_clause(text: str, tokens: list[Token], first: int, last: int) -> Verb:
    """Return the node of the verb clause in tokens `first` up to, without, `last`.

    Raises
    ------
    QuerySyntaxError : when it does not parse, with a caret under the token that does not fit
    """
    reader = TokenReader(text, tokens, first, last)
    for token in tokens[first : last + 1]:
        if token.kind is Kind.UNFINISHED:
            raise unfinished(text, token)
    if tokens[last].text in (")", "]", "}") and (first == 0 or tokens[first - 1].text != "("):
        raise reader.error(f'syntax error at or near "{tokens[last].text}"', tokens[last])
    verb = verb_at(tokens, first)
    if verb is None:
        raise reader.error(f'syntax error at or near "{tokens[first].text}"')
    if not verb.startswith("EXPLAIN"):
        return _verb(reader, verb)
    is_analyzed = verb.startswith("EXPLAIN ANALYZE")
    reader.index += 1 + is_analyzed
    explained = _verb(reader, verb.removeprefix("EXPLAIN ").removeprefix("ANALYZE "))
    return Explain(tokens[first].start, explained.end, explained, is_analyzed)


def _verb(reader: TokenReader, verb: str) -> Verb:
    """Read a verb clause that begins at the next token."""
    tokens, first, last = reader.tokens, reader.index, reader.last
    reader.index += 0 if verb == "CREATE LAW" else len(verb.split(" "))
    match verb:
        case "FIT":
            node: Verb = _fit(reader)
        case "CREATE LAW":
            node = _create(reader)
        case "REFIT LAW":
            name = reader.name("the name of a law", "SHOW LAWS lists them")
            node = RefitLaw(tokens[first].start, reader.end, name)
        case "DROP LAW":
            node = _drop(reader)
        case "ALTER LAW":
            node = _rename(reader)
        case "COMMENT ON LAW":
            node = _comment(reader)
        case "CROSS VALIDATE":
            node = _cross_validate(reader)
        case "COMPARE":
            node = read_approaches(reader) if reader.at(*APPROACHES) else _compare(reader)
        case "EXTRAPOLATE":
            node = _average(reader) if reader.at(AVERAGE) else _extrapolate(reader, TO_USAGE)
        case "FORECAST":
            if reader.at(AVERAGE):
                hint = "EXTRAPOLATE AVERAGE OF … answers without keeping it"
                raise reader.error("FORECAST keeps what one law says", hint=hint)
            kept = _extrapolate(reader, TO_USAGE.replace("EXTRAPOLATE", "FORECAST"))
            node = Forecast(kept.start, kept.end, kept)
        case "OPTIMIZE":
            start, law = tokens[first].start, _law(reader, OPTIMIZE_USAGE)
            node = read_optimize(reader, start, law)
        case "DESIGN":
            node = read_design(reader, tokens[first].start, lambda: _law(reader, DESIGN_USAGE))
        case "PREDICT":
            node = _predict(reader)
        case "RESIDUALS":
            node = _residuals(reader)
        case "SHOW LAWS":
            node = ShowLaws(tokens[first].start, tokens[last - 1].end, _like(reader))
        case "SHOW LAW FORMS":
            node = ShowLawForms(tokens[first].start, tokens[last - 1].end, _like(reader))
        case "SHOW FORECASTS":
            node = ShowForecasts(tokens[first].start, tokens[last - 1].end, _like(reader))
        case "DESCRIBE LAW":
            node = _describe(reader)
        case _:
            raise AssertionError(f"no parser for {verb}")
    reader.finish(_after_clause(reader, verb))
    return node


def unfinished(text: str, token: Token) -> QuerySyntaxError:
    """Return the error for a string, name or comment that nothing closes."""
    what = {'"': "quoted name", "/": "comment"}.get(token.text[0], "string")
    return QuerySyntaxError("Parser", f"unterminated {what}", text, token.start, token.start + 1)


def _after_clause(reader: TokenReader, verb: str) -> str | None:
    """Return a hint for what people write behind a clause that does not take it."""
    if reader.at("ORDER BY", "LIMIT", "SELECT", "WHERE", "GROUP BY", "UNION", "HAVING"):
        return f"the verb is a relation: FROM ({verb} …) {reader.current.upper} …"
    if reader.at(*HOLDOUTS) and verb == "COMPARE":
        return (
            "the approaches are compared on all rows; COMPARE law, law FROM runs HOLDOUT … judges laws on held-out ones"
        )
    if reader.at(*HOLDOUTS):
        return "CROSS VALIDATE splits rows: CROSS VALIDATE loss ~ chinchilla(params, tokens) FROM runs HOLDOUT …"
    return None


# Verbs


def _fit(reader: TokenReader) -> Fit:
    start = reader.tokens[reader.index - 1].start
    candidate = read_candidate(reader, "FROM")
    source = read_source(reader, "FIT")
    options = read_options(reader)
    return Fit(start, reader.end, candidate, source, options)


def _create(reader: TokenReader) -> CreateLaw:
    start = reader.next().start
    or_replace = reader.accept("OR REPLACE")
    reader.expect("LAW")
    if_not_exists = reader.accept("IF NOT EXISTS")
    name = reader.name("the name of the law", f"CREATE LAW chin AS {FIT_USAGE}")
    reader.expect("AS", f"CREATE LAW {name.text} AS {FIT_USAGE}")
    if or_replace and if_not_exists:
        raise reader.error("OR REPLACE and IF NOT EXISTS exclude each other", reader.tokens[reader.index - 3])
    part = reader.inside() if reader.at("(") else reader
    part.expect("FIT", f"CREATE LAW {name.text} AS {FIT_USAGE}")
    fit = _fit(part)
    part.finish()
    return CreateLaw(start, reader.end, name, fit, or_replace, if_not_exists)


def _drop(reader: TokenReader) -> DropLaw:
    start = reader.tokens[reader.index - 2].start
    if_exists = reader.accept("IF EXISTS")
    name = reader.name("the name of a law", "SHOW LAWS lists them")
    return DropLaw(start, reader.end, name, if_exists)


def _rename(reader: TokenReader) -> RenameLaw:
    start = reader.tokens[reader.index - 2].start
    name = reader.name("the name of a law", "SHOW LAWS lists them")
    reader.expect("RENAME TO", f"ALTER LAW {name.text} RENAME TO …")
    return RenameLaw(start, reader.end, name, reader.name("the new name"))


def _comment(reader: TokenReader) -> CommentLaw:
    start = reader.tokens[reader.index - 3].start
    name = reader.name("the name of a law", "SHOW LAWS lists them")
    reader.expect("IS", f"COMMENT ON LAW {name.text} IS 'text'")
    comment = None if reader.accept("NULL") else reader.value(Kind.STRING, "a text in quotes, or NULL")
    return CommentLaw(start, reader.end, name, comment)


def _cross_validate(reader: TokenReader) -> CrossValidate:
    start = reader.tokens[reader.index - 2].start
    subject = read_subject(reader, "FROM")
    source = read_source(reader, "CROSS VALIDATE", *HOLDOUTS, "HOLDOUT")
    if source.groups:
        raise no_groups(reader, source, "CROSS VALIDATE")
    holdout = read_holdout(reader)
    options = read_options(reader)
    return CrossValidate(start, reader.end, subject, source, holdout, options)


def _compare(reader: TokenReader) -> Compare:
    start = reader.tokens[reader.index - 1].start
    subjects = _subjects(reader, COMPARE_USAGE, "COMPARE")
    source = read_source(reader, "COMPARE", *HOLDOUTS, "HOLDOUT")
    if source.groups:
        raise no_groups(reader, source, "COMPARE")
    holdout = read_holdout(reader) if reader.at(*HOLDOUTS, "HOLDOUT") else None
    options = read_options(reader)
    return Compare(start, reader.end, subjects, source, holdout, options)


def _subjects(reader: TokenReader, usage: str, verb: str) -> tuple[Name | Candidate, ...]:
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


def _average(reader: TokenReader) -> ExtrapolateAverage:
    start, word = reader.tokens[reader.index - 1].start, reader.current
    reader.accept(AVERAGE)
    subjects = _subjects(reader, AVERAGE_USAGE, "AVERAGE OF")
    if len(subjects) < 2:
        raise reader.error("an average takes two laws or more", Span(word.start, reader.end), AVERAGE_USAGE)
    source = read_source(reader, "EXTRAPOLATE AVERAGE", "TO") if reader.at("FROM") else None
    if source is not None and source.groups:
        raise no_groups(reader, source, "EXTRAPOLATE AVERAGE")
    if source is None and (typed := [one for one in subjects if isinstance(one, Candidate)]):
        hint = "say which, for all laws: EXTRAPOLATE AVERAGE OF … FROM runs TO …"
        raise reader.error("a law that is not saved needs rows to be fitted to", typed[0], hint)
    target, assignments, query = read_targets(reader, AVERAGE_USAGE, OPTIONS)
    options = read_options(reader)
    return ExtrapolateAverage(start, reader.end, subjects, source, target, assignments, query, options)


def _extrapolate(reader: TokenReader, usage: str) -> Extrapolate:
    start = reader.tokens[reader.index - 1].start
    law = _law(reader, usage)
    target, assignments, query = read_targets(reader, usage, OPTIONS)
    options = read_options(reader)
    return Extrapolate(start, reader.end, law, target, assignments, query, options)


def _predict(reader: TokenReader) -> Predict:
    start = reader.tokens[reader.index - 1].start
    law = _law(reader, "PREDICT chin FROM runs")
    if reader.at("TO"):
        raise reader.error("PREDICT reads rows", hint=f"{TO_USAGE.replace('law', 'chin')} asks for new points")
    source = read_source(reader, "PREDICT")
    refuse_parts(reader, source, "PREDICT")
    options = read_options(reader)
    return Predict(start, reader.end, law, source, options)


def _residuals(reader: TokenReader) -> Residuals:
    start = reader.tokens[reader.index - 1].start
    law = _law(reader, "RESIDUALS chin")
    source = read_source(reader, "RESIDUALS") if reader.at("FROM") else None
    if source is not None:
        refuse_parts(reader, source, "RESIDUALS")
    options = read_options(reader)
    return Residuals(start, reader.end, law, source, options)


def _like(reader: TokenReader) -> Expression | None:
    return reader.value(Kind.STRING, "a pattern in quotes, like 'chin%'") if reader.accept("LIKE") else None


def _describe(reader: TokenReader) -> DescribeLaw:
    start = reader.tokens[reader.index - 2].start
    name = reader.name("the name of a law", "SHOW LAWS lists them")
    version = reader.value(Kind.NUMBER, "a version number") if reader.accept("VERSION") else None
    return DescribeLaw(start, reader.end, name, version)


def _law(reader: TokenReader, usage: str) -> LawReference:
    """Read the name of a law, or a FIT in parentheses."""
    if not reader.at("("):
        return reader.name("the name of a law", usage)
    inner = reader.inside()
    inner.expect("FIT", f"({FIT_USAGE})")
    fit = _fit(inner)
    inner.finish()
    return fit
