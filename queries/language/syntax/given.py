"""Laws whose numbers are said, not fitted: `form WITH COEFFICIENTS (…)`, and `published:name`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from isoflop.queries.language.syntax.nodes import (
    Assignment,
    Candidate,
    Expression,
    Form,
    Name,
    NewLaw,
    Option,
    Span,
)
from isoflop.queries.language.syntax.parts import OPTIONS, read_candidate, read_form, read_options
from isoflop.queries.language.syntax.reader import TokenReader

GIVEN_USAGE = "chinchilla(params, tokens) WITH COEFFICIENTS (E = 1.69, A = 406.4, B = 410.7, alpha = 0.34, beta = 0.28)"
_COEFFICIENTS = "WITH COEFFICIENTS"


@dataclass(frozen=True)
class GivenLaw(Span):
    """`[target [AS alias] ~] form WITH COEFFICIENTS (…) [STANDARD ERRORS (…) | COVARIANCE …] [WITH (…)]`.

    Parameters
    ----------
    target, alias : None for what the form usually predicts
    form : a built-in law, or a formula
    numbers, listed : the values of the coefficients, and where they stand
    errors : standard errors of some of them
    covariance : of all of them, in the order of `numbers`; a list of lists
    options : of the WITH list
    """

    target: Expression | None
    alias: Name | None
    form: Form
    numbers: tuple[Assignment, ...]
    listed: Span
    errors: tuple[Assignment, ...] = ()
    covariance: Expression | None = None
    options: tuple[Option, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CreateGiven(NewLaw):
    """`CREATE LAW name AS` a law of given coefficients, or the name of a published one."""

    law: GivenLaw | Name


def is_given(reader: TokenReader) -> bool:
    """Return whether a law of given coefficients comes next: none but it says COEFFICIENTS behind a WITH."""
    rest = reader.tokens[reader.index : reader.last]
    return any(first.upper == "WITH" and second.upper == "COEFFICIENTS" for first, second in pairwise(rest))


def lacks_coefficients(reader: TokenReader) -> bool:
    """Return whether numbers seem to be given without the word COEFFICIENTS: a WITH list, and neither FIT nor FROM."""
    words = {token.upper for token in reader.tokens[reader.index : reader.last]}
    return "WITH" in words and not words & {"FIT", "FROM", "SELECT"}


def read_given(reader: TokenReader) -> GivenLaw:
    """Read a law of given coefficients.

    Raises
    ------
    QuerySyntaxError : for a coefficient that is given twice, and for what does not parse
    """
    start = reader.current.start
    target, alias, form = _subject(reader)
    reader.expect(_COEFFICIENTS, GIVEN_USAGE)
    opened = reader.current.start
    numbers = _numbers(reader, "coefficient", GIVEN_USAGE)
    listed = Span(opened, reader.end)
    errors: tuple[Assignment, ...] = ()
    covariance = None
    if reader.accept("STANDARD ERRORS"):
        errors = _numbers(reader, "standard error", "STANDARD ERRORS (E = 0.03, alpha = 0.02)")
    elif reader.accept("COVARIANCE"):
        usage = "COVARIANCE [[4e-4, 1e-5], [1e-5, 1e-4]], in the order of COEFFICIENTS"
        covariance = reader.expression("a list of lists", OPTIONS, "STANDARD ERRORS", hint=usage)
    if reader.at("STANDARD ERRORS", "COVARIANCE"):
        raise reader.error("STANDARD ERRORS and COVARIANCE exclude each other")
    return GivenLaw(start, reader.end, target, alias, form, numbers, listed, errors, covariance, read_options(reader))


def _subject(reader: TokenReader) -> tuple[Expression | None, Name | None, Form]:
    """Read `target [AS alias] ~ form`, or a form alone."""
    first = reader.index
    reader.expression("a law, or a target, ~ and a law", "~", _COEFFICIENTS, hint=GIVEN_USAGE)
    has_target = reader.at("~")
    reader.index = first
    if not has_target:
        return None, None, read_form(reader, _COEFFICIENTS)
    candidate: Candidate = read_candidate(reader, _COEFFICIENTS)
    return candidate.target, candidate.alias, candidate.form


def _numbers(reader: TokenReader, what: str, usage: str) -> tuple[Assignment, ...]:
    """Read `(name = value, …)`."""
    if not reader.at("("):
        raise reader.expected(f'"(" and each {what}', usage)
    inner = reader.inside()
    found: dict[str, Assignment] = {}
    while True:
        name = inner.name("the name of a coefficient", usage)
        if name.text in found:
            raise inner.error(f"the {what} of '{name.text}' is given twice", name)
        inner.expect("=", usage, what='"=" and a number')
        found[name.text] = Assignment(name, inner.expression("a number", ",", hint=usage))
        if not inner.accept(","):
            break
    inner.finish(usage)
    return tuple(found.values())
