"""The word `auto` where a law form stands: the forms that its number of inputs has, averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isoflop.lakehouse.errors import UsageError
from isoflop.queries.language.defaults import RESAMPLES
from isoflop.queries.language.question import Question
from isoflop.queries.language.syntax.nodes import LawForm, Option, Span
from isoflop.queries.laws import Law, find_law
from isoflop.queries.laws.auto import AUTO, USAGES, auto_law
from isoflop.queries.laws.form_mixture import FormMixture

FORMS = "forms"  # the key under which a saved law keeps the names of its forms


def mixture_named(question: Question, form: LawForm) -> FormMixture | None:
    """Return the mixture that a form names, or None where it names none.

    Raises
    ------
    StatementError : for a number of inputs that there are no forms for, or for PARAMETERS
    """
    if form.name.text.lower() != AUTO:
        return None
    hint = f"write {' or '.join(USAGES)}"
    if form.arguments is None:
        raise question.error("Binder", "auto does not say what it reads", form.name, hint)
    try:
        law = auto_law(len(form.arguments))
    except UsageError as error:
        raise question.error("Binder", error.message, form.expression, error.hint) from None
    if form.parameters:
        message = "auto has the coefficients of several forms, each in its own domain"
        one = law.forms[0]
        named = f"FIT … ~ {one.name}({', '.join(given.name for given in one.inputs)}) PARAMETERS (…)"
        raise question.error("Binder", message, form.parameters[0].name, f"name one form: {named}")
    return law


def refuse_mixture(question: Question, law: Law, place: Span, what: str) -> None:
    """Check that a law is one form.

    Parameters
    ----------
    what : needs that, as the error says it

    Raises
    ------
    StatementError : for a mixture of several
    """
    if isinstance(law, FormMixture):
        names = ", ".join(form.name for form in law.forms)
        raise question.error("Binder", f"{what}, and {law.name} is several", place, f"choose one of {names}")


def usual_resamples(said: Sequence[Option], law: Law) -> dict[str, Any]:
    """Return the number of resamples of a mixture unless it is said: as many as an average has."""
    is_said = any(option.key.text.lower() == "resamples" for option in said)
    return {} if is_said or not isinstance(law, FormMixture) else {"resamples": RESAMPLES}


def forms_of(law: Law) -> dict[str, Any]:
    """Return what a saved law keeps of its forms; nothing where it is one."""
    return {FORMS: [form.name for form in law.forms]} if isinstance(law, FormMixture) else {}


def saved_form(name: str, options: Mapping[str, Any]) -> Law:
    """Return the law of a saved one's form, with the inputs that the form has.

    Raises
    ------
    UnknownName : when it is not installed here
    """
    names = options.get(FORMS)
    return find_law(name) if names is None else FormMixture(name, [find_law(each) for each in names])


def fewest_free(law: Law) -> int:
    """Return how many free coefficients a fit needs rows for: of a mixture those of its smallest form."""
    laws = law.forms if isinstance(law, FormMixture) else (law,)
    return min(sum(coefficient.fixed is None for coefficient in each.coefficients) for each in laws)


def with_every_form(law: Law) -> Law:
    """Return a mixture with the forms that its fit left out as well, to be fitted again."""
    if not isinstance(law, FormMixture) or law.name != AUTO:
        return law
    return auto_law(len(law.inputs)).renamed([given.name for given in law.inputs], law.target, law.unit, _as_it_is)


def _as_it_is(formula: str, new: Mapping[str, str]) -> str:
    return formula


def most_free(law: Law) -> int:
    """Return how many free coefficients a law has: of a mixture those of its largest form."""
    laws = law.forms if isinstance(law, FormMixture) else (law,)
    return max(sum(coefficient.fixed is None for coefficient in each.coefficients) for each in laws)
