"""Typed formulas: what LET calls by a name is written in its place, and what cancels is no formula.

`E + A / n ^ alpha LET n = params / 1e6` is the law `E + A / (params / 1e6) ^ alpha` of the column `params`, which is
what is fitted, saved and asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isoflop.queries.language.question import Question
from isoflop.queries.language.syntax.nodes import Expression, FormulaForm, LawForm, Let
from isoflop.queries.language.syntax.tokens import tokenize
from isoflop.queries.laws import Formula, FormulaError
from isoflop.queries.laws.algebra.dependence import dependence
from isoflop.queries.laws.algebra.parser import match_name, parse_expression

WEAK = re.compile(r"\*\*[-+]")  # which DuckDB reads as an operator that binds weaker than + and -
LONGEST = 100_000  # characters of a formula that is written out: names in names grow by powers


@dataclass(frozen=True)
class NamedParts:
    """What LET calls by a name.

    Parameters
    ----------
    texts : each name, and its expression in parentheses without a name of LET in it
    """

    texts: dict[str, str]

    def before(self, let: Let) -> list[str]:
        """Return the names that stand before one, and that it may use."""
        names = list(self.texts)
        return names[: names.index(let.name.text)]

    def expanded(self, text: str) -> str:
        """Return a formula with expressions in the place of their names."""
        return expanded(text, self.texts)


def expanded(text: str, texts: dict[str, str]) -> str:
    """Return a formula with expressions in the place of their names.

    Example
    -------
    >>> expanded("E + A / n ^ a", {"n": "(params / 1e6)"})
    'E + A / (params / 1e6) ^ a'
    """
    if not texts:
        return text
    parts, position = [], 0
    tokens = tokenize(text)
    for index, token in enumerate(tokens):
        parts.append(text[position : token.start])
        is_call = index + 1 < len(tokens) and tokens[index + 1].text == "("
        name = match_name(token.name, texts) if token.is_name and not is_call else None
        parts.append(token.text if name is None else texts[name])
        position = token.end
    return "".join((*parts, text[position:]))


def named_parts(
    question: Question, form: LawForm | FormulaForm, declared: Sequence[str], text_of: Callable[[Expression], str]
) -> NamedParts:
    """Return what the LET of a formula calls by a name.

    Parameters
    ----------
    declared : names of the parameters
    text_of : gives an expression as it is kept

    Raises
    ------
    StatementError : for a name that stands twice, is a parameter or is not used, or an expression that is none
    """
    found: dict[str, str] = {}
    for let in form.lets:
        name = let.name.text
        if match_name(name, found) is not None:
            raise question.error("Binder", f"LET names '{name}' twice", let.name)
        if match_name(name, declared) is not None:
            raise question.error("Binder", f"'{name}' is a parameter, and LET names it again", let.name)
        _check_signs(question, let.expression)
        text = text_of(let.expression)
        try:
            parse_expression(text)
        except FormulaError as error:
            exact = text == let.expression.text
            if exact:
                raise error.within(question.text, let.expression.start) from None
            raise question.error(error.kind, error.reason, let.expression, error.hint) from None
        except RecursionError:
            raise question.error("Parser", "the expression is nested too deeply", let.expression) from None
        found[name] = f"({expanded(text, found)})"
        if len(found[name]) > LONGEST:
            raise question.error(
                "Parser", f"'{name}' written out is a formula of {len(found[name])} characters", let.name
            )
    _check_signs(question, form.expression)
    used = [form.expression, *(let.expression for let in form.lets)]
    for position, let in enumerate(form.lets):
        behind = [used[0], *used[position + 2 :]]
        names = [token.name for part in behind for token in question.tokens[part.first : part.last] if token.is_name]
        if not any(name.lower() == let.name.text.lower() for name in names):
            _check_order(question, form, position)
            hint = "remove it or write it into the formula"
            raise question.error("Binder", f"LET names '{let.name.text}', which is not used", let.name, hint)
    return NamedParts(found)


def _check_order(question: Question, form: LawForm | FormulaForm, position: int) -> None:
    """Check that the name of a LET, which is not used behind it, is not used before it either."""
    let = form.lets[position]
    for earlier in form.lets[:position]:
        words = question.tokens[earlier.expression.first : earlier.expression.last]
        if any(word.is_name and word.name.lower() == let.name.text.lower() for word in words):
            message = f"LET uses '{let.name.text}' in '{earlier.name.text}' before it is defined"
            hint = f"define it first: LET {let.name.text} = {let.expression.text}, {earlier.name.text} = …"
            raise question.error("Binder", message, let.name, hint)


def _check_signs(question: Question, expression: Expression) -> None:
    """Check that no sign touches `**`: DuckDB would read `2 * 3 ** -1` without its last blank as `(2 * 3) ** -1`."""
    found = WEAK.search(expression.text)
    if found is not None:
        place = Expression(
            expression.start + found.start(), expression.start + found.end(), expression.first, expression.last,
            found.group(),
        )  # fmt: skip
        message = f"'{found.group()}' would bind weaker than + and -, as DuckDB reads it"
        raise question.error("Parser", message, place, "put a space between, ** -a, or write ^ -a")


def check_dependence(question: Question, law: Formula, expression: Expression) -> None:
    """Check that a formula has values, and that each of its coefficients moves them; note a column that does not.

    Raises
    ------
    StatementError : for a formula without values, or a coefficient that cancels
    """
    domains = {
        coefficient.name: (coefficient.lower, coefficient.upper)
        if coefficient.fixed is None
        else (coefficient.fixed, coefficient.fixed)
        for coefficient in law.coefficients
    }
    found = dependence(law.expression, domains, [input_.name for input_ in law.inputs])
    if not found.is_defined:
        raise question.error("Binder", "the formula has no finite value, whatever its columns hold", expression)
    for name in found.without:
        if name in domains:
            hint = "remove it, or look at what it is multiplied by"
            raise question.error("Binder", f"coefficient '{name}' cancels out of the formula", expression, hint)
    for name in found.without:
        question.note(f"column '{name}' cancels out of the formula, which is the same at every {name}")
