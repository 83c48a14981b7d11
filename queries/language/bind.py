"""From names to what they mean: forms to laws, arguments and formulas to columns.

Every error here has its caret under the name at fault and says the nearest one that exists.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from isoflop.lakehouse.errors import UnknownName, did_you_mean, nearest
from isoflop.lakehouse.units import UNITS
from isoflop.queries.language.mixtures import mixture_named
from isoflop.queries.language.named_parts import check_dependence, named_parts
from isoflop.queries.language.question import Own, Question
from isoflop.queries.language.syntax.nodes import (
    Candidate,
    Expression,
    FormulaForm,
    LawForm,
    Name,
    ParameterRange,
    Span,
)
from isoflop.queries.language.syntax.reader import FUNCTION_WORDS, RESERVED
from isoflop.queries.language.syntax.sizes import is_size
from isoflop.queries.language.syntax.tokens import Kind, quote_name, tokenize
from isoflop.queries.laws import Coefficient, FormulaError, Law, known_laws, parse_formula
from isoflop.queries.laws.algebra.parser import FUNCTIONS, match_name, parse_expression
from isoflop.queries.laws.auto import AUTO, auto_law
from isoflop.queries.laws.mixture import of_family

Column = Expression | Own


@dataclass(frozen=True)
class Bound:
    """A target and the law it is to follow.

    Parameters
    ----------
    law : with its inputs named after the columns they are read from, where these have names
    form : name of the built-in law, or the formula as typed
    is_built_in : which of the two it is
    columns : P slices that the inputs are read from, in the law's order; none where the inputs are computed
    target : the slice that is predicted
    target_name : what it is called
    span : where the form stands
    """

    law: Law
    form: str
    is_built_in: bool
    columns: tuple[Column, ...]
    target: Column
    target_name: str
    span: Span


def bind_candidate(question: Question, candidate: Candidate) -> Bound:
    """Return the law that a `target ~ form` names.

    Raises
    ------
    UnknownName : for a law or a parameter that does not exist
    StatementError : for a formula that cannot be read, or columns that do not fit the law
    """
    target = candidate.target
    name = candidate.alias.text if candidate.alias else target.column or "target"
    form = candidate.form
    law = _built_in(question, form) if isinstance(form, LawForm) else None
    if law is None or isinstance(form, FormulaForm):
        return _bind_formula(question, form, target, name)
    if form.lets:
        hint = f"write the expression where it stands: {law.name}({form.lets[0].expression.text}, …)"
        raise question.error("Binder", "LET belongs to a formula, and this is a law form", form.lets[0].name, hint)
    columns = _columns(question, law, form)
    names = [_name_of(question, column) or input_.name for input_, column in zip(law.inputs, columns, strict=True)]
    law = with_names(law, names, name)
    law = _with_parameters(question, law, form.parameters)
    return Bound(law, law.name, True, columns, target, name, form)


def _name_of(question: Question, column: Column) -> str | None:
    """Return what an input is called: as the column that it is read from, else as the expression is written."""
    if not isinstance(column, Expression):
        return None
    return column.column or tidy(question, column)


def _built_in(question: Question, form: LawForm) -> Law | None:
    """Return the built-in law a form names, or None when the form is a formula that looks like a call."""
    laws = known_laws()
    law = laws.get(form.name.text) or laws.get(form.name.text.lower()) or mixture_named(question, form)
    declared = {parameter.name.text for parameter in form.parameters}
    if law is not None:
        is_formula = form.name.text.lower() in FUNCTIONS and _uses(question, form.arguments or (), declared)
        return None if is_formula else law
    is_function = form.arguments is not None and form.name.text.lower() in FUNCTIONS
    is_constant = form.arguments is None and match_name(form.name.text, declared) is not None
    if is_function or is_constant:
        return None
    hint = did_you_mean(form.name.text, (*laws, AUTO), "SHOW LAW FORMS lists them; a formula needs PARAMETERS (…)")
    sized = of_family(form.name.text, len(form.arguments or ()))
    if sized is not None:
        hint = f"the name ends in the number of proportions: write {sized.name}"
    raise UnknownName(
        "Catalog",
        f"law form '{form.name.text}' does not exist",
        question.text,
        form.name.start,
        form.name.end,
        hint=hint,
    )


def _uses(question: Question, arguments: Sequence[Expression], names: Iterable[str]) -> bool:
    """Return whether one of some names stands in arguments: then `power(params, b)` is the function, not the law."""
    return any(
        token.is_name and token.name in names
        for argument in arguments
        for token in question.tokens[argument.first : argument.last]
    )


def _columns(question: Question, law: Law, form: LawForm) -> tuple[Column, ...]:
    """Return what a law's inputs are read from: the arguments, or columns of the same names."""
    if form.arguments is None:
        index = form.expression.first
        return tuple(Own(quote_name(input_.name), index) for input_ in law.inputs)
    if len(form.arguments) != len(law.inputs):
        other = of_family(law.name, len(form.arguments)) or law
        wanted = ", ".join(input_.name for input_ in other.inputs)
        count = len(law.inputs)
        message = f"law '{law.name}' takes {count} column{'s' * (count != 1)}, got {len(form.arguments)}"
        raise question.error("Binder", message, form.expression, f"write {other.name}({wanted})")
    return form.arguments


def _bind_formula(question: Question, form: LawForm | FormulaForm, target: Expression, target_name: str) -> Bound:
    """Return the law of a formula: every name in it that is no declared parameter is a column."""
    expression = form.expression
    declared = [parameter.name.text for parameter in form.parameters]
    lets = named_parts(question, form, declared, lambda part: tidy(question, part))
    columns = names_in(question, expression, [*declared, *lets.texts])
    for let in form.lets:
        for column, place in names_in(question, let.expression, [*declared, *lets.before(let)]).items():
            columns.setdefault(column, place)
    _check_declared(question, form, columns)
    coefficients = [
        _coefficient(question, Coefficient(parameter.name.text), parameter) for parameter in form.parameters
    ]
    try:
        if lets.texts:
            parse_expression(_with_numbers(question, expression), [*declared, *lets.texts, *columns])
        else:
            parse_formula(_with_numbers(question, expression), coefficients, columns)
    except FormulaError as error:
        raise error.within(question.text, expression.start) from None
    except RecursionError:
        raise question.error("Parser", "the formula is nested too deeply", expression) from None
    text, unit = lets.expanded(tidy(question, expression)), UNITS.get(target_name, "")
    try:
        law = parse_formula(text, coefficients, columns, target=target_name, unit=unit)
    except FormulaError as error:
        if lets.texts:
            raise question.error(error.kind, error.reason, expression, error.hint) from None
        raise error.within(question.text, expression.start) from None
    except RecursionError:
        raise question.error("Parser", "the formula is nested too deeply", expression) from None
    check_dependence(question, law, expression)
    slices = tuple(columns[input_.name] for input_ in law.inputs)
    return Bound(law, law.formula, False, slices, target, target_name, form)


def _check_declared(question: Question, form: LawForm | FormulaForm, columns: Mapping[str, Expression]) -> None:
    """Check that every declared parameter stands in the formula; one that does not was probably misspelled there."""
    parts = [form.expression, *(let.expression for let in form.lets)]
    tokens = [token for part in parts for token in question.tokens[part.first : part.last]]
    written = {token.name.lower() for token in tokens if token.is_name}
    for parameter in form.parameters:
        name = parameter.name.text
        if name.lower() in written:
            continue
        typo = nearest(name, columns)
        if typo is not None:
            place = columns[typo]
            message = f"'{typo}' is not declared, and the declared '{name}' is not used"
            raise UnknownName("Binder", message, question.text, place.start, place.end, hint=f"did you mean '{name}'?")
        hint = "remove it or write it into the formula"
        raise question.error("Binder", f"parameter '{name}' is declared but not used", parameter.name, hint)


def names_in(question: Question, expression: Expression, declared: Sequence[str]) -> dict[str, Expression]:
    """Return the first slice of every column in a formula, by the column's name."""
    tokens = question.tokens
    found: dict[str, Expression] = {}
    index = expression.first
    while index < expression.last:
        last = index + 1
        if tokens[index].is_name:
            while last + 1 < expression.last and tokens[last].text == "." and tokens[last + 1].is_name:
                last += 2
            name = tokens[last - 1].name
            is_call = last < len(tokens) and tokens[last].text == "("
            is_parameter = last == index + 1 and match_name(name, declared) is not None
            if not is_call and not is_parameter:
                start, end = tokens[index].start, tokens[last - 1].end
                slice_ = Expression(start, end, index, last, question.text[start:end], name)
                earlier = found.setdefault(name, slice_)
                if earlier.text != slice_.text:
                    raise question.error(
                        "Binder", f"'{slice_.text}' and '{earlier.text}' are both called {name}", slice_
                    )
        index = last
    return found


def tidy(question: Question, expression: Expression) -> str:
    """Return an expression as it is kept: on one line, without comments and table names, its parameters as values."""
    parts: list[str] = []
    tokens = question.tokens[expression.first : expression.last]
    for position, token in enumerate(tokens):
        if position and token.start > tokens[position - 1].end:
            parts.append(" ")
        if token.text == "." and parts and position + 1 < len(tokens) and tokens[position + 1].is_name:
            parts.pop()
            continue
        parts.append(question.literal(expression.first + position) if token.kind is Kind.PARAMETER else token.text)
    return "".join(parts)


def _with_numbers(question: Question, expression: Expression) -> str:
    """Return an expression with a number as long for each parameter and size, to see whether it is a formula."""
    text = expression.text
    for token in question.tokens[expression.first : expression.last]:
        if token.kind is Kind.PARAMETER or is_size(token):
            start, end = token.start - expression.start, token.end - expression.start
            text = text[:start] + "1" * (end - start) + text[end:]
    return text


def with_names(law: Law, inputs: Sequence[str], target: str) -> Law:
    """Return a law in the words of a table: its inputs and its target called as their columns are.

    Parameters
    ----------
    inputs : P names; kept as the law has them where the formula could no longer be read
    target : name of what it predicts
    """
    return law.renamed(inputs, target, UNITS.get(target, ""), renamed)


def renamed(formula: str, new: Mapping[str, str]) -> str:
    """Return a formula with its names exchanged."""
    parts, position = [], 0
    for token in tokenize(formula):
        parts.append(formula[position : token.start])
        name = new.get(token.name) if token.is_name else None
        parts.append(token.text if name is None else name if is_plain(name) else quote_name(name))
        position = token.end
    return "".join(parts)


def is_plain(name: str) -> bool:
    """Return whether a name of a law or a column needs no quotes."""
    return name.isascii() and name.isidentifier() and name.upper() not in RESERVED | FUNCTION_WORDS


def _with_parameters(question: Question, law: Law, parameters: Sequence[ParameterRange]) -> Law:
    """Return a built-in law with the domains that PARAMETERS gives its coefficients."""
    if not parameters:
        return law
    known = {coefficient.name: coefficient for coefficient in law.coefficients}
    for parameter in parameters:
        name = match_name(parameter.name.text, known)
        if name is None:
            hint = did_you_mean(parameter.name.text, known, f"its coefficients are {', '.join(known)}")
            raise UnknownName(
                "Binder", f"law '{law.name}' has no coefficient '{parameter.name.text}'", question.text,
                parameter.name.start, parameter.name.end, hint=hint,
            )  # fmt: skip
        known[name] = _coefficient(question, known[name], parameter)
    changed = law.with_coefficients(tuple(known.values()))
    if changed is None:
        first = parameters[0].name
        raise question.error("Binder", f"law '{law.name}' is computed; its coefficients have fixed domains", first)
    return changed


def _coefficient(question: Question, known: Coefficient, parameter: ParameterRange) -> Coefficient:
    """Return a coefficient with what a declaration says about it."""
    name = parameter.name.text

    def value(expression: Expression | None, otherwise: float | None) -> float | None:
        return otherwise if expression is None else question.number(expression, f"a bound of '{name}'")

    bounded = parameter.lower is not None or parameter.upper is not None
    lower = value(parameter.lower, known.lower if not bounded else -float("inf"))
    upper = value(parameter.upper, known.upper if not bounded else float("inf"))
    init, fixed = value(parameter.init, known.init), value(parameter.fixed, known.fixed)
    assert lower is not None and upper is not None
    if not lower < upper:
        at = parameter.upper or parameter.lower or parameter.name
        raise question.error("Binder", f"'{name}' has no values between {lower:g} and {upper:g}", at)
    for what, given, place in (("INIT", init, parameter.init), ("FIXED", fixed, parameter.fixed)):
        if given is not None and place is not None and not math.isfinite(given):
            raise question.error("Binder", f"{what} takes a finite number, got {place.text}", place)
        if given is not None and place is not None and not lower <= given <= upper:
            raise question.error("Binder", f"{what} {given:g} lies outside [{lower:g}, {upper:g}]", place)
    return replace(known, lower=lower, upper=upper, init=init, fixed=fixed)


def unknown_law(question: Question, name: Name, known: Iterable[str]) -> UnknownName:
    """Return the error for a law that is not saved."""
    names = list(known)
    best = nearest(name.text, names)
    forms = {**known_laws(), AUTO: auto_law(1)}
    form = nearest(name.text, forms)
    hint: str | None
    from isoflop.queries.theory import known_theories

    theory = next((theory for theory in known_theories() if theory.lower() == name.text.lower()), None)
    if theory is not None:
        hint = f"'{theory}' is a theory, which has no coefficients: PREDICT RUNS BY {theory} FROM runs, or COMPARE"
    elif best is None and form is not None:
        law = forms[form]
        create = (
            f"CREATE LAW … AS FIT {law.target} ~ {form}({', '.join(input_.name for input_ in law.inputs)}) FROM runs"
        )
        hint = f"'{form}' is a form, which has no numbers before it is fitted: {create}"
    elif names:
        hint = did_you_mean(name.text, names, "SHOW LAWS lists them")
    else:
        hint = "there are no laws yet: CREATE LAW … AS FIT loss ~ chinchilla(params, tokens) FROM runs"
    return UnknownName("Catalog", f"law '{name.text}' does not exist", question.text, name.start, name.end, hint=hint)
