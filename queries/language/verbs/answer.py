"""Which function answers which verb."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.queries.language.question import Question
from isoflop.queries.language.syntax.nodes import (
    CommentLaw,
    Compare,
    CompareApproaches,
    CreateLaw,
    CrossValidate,
    DescribeLaw,
    Design,
    DropLaw,
    Extrapolate,
    ExtrapolateAverage,
    Fit,
    Forecast,
    Optimize,
    Predict,
    RefitLaw,
    RenameLaw,
    Residuals,
    ShowForecasts,
    ShowLawForms,
    ShowLaws,
)
from isoflop.queries.language.syntax.verb import Explain, Verb
from isoflop.queries.language.verbs.approaches import compare_approaches
from isoflop.queries.language.verbs.average import extrapolate_average
from isoflop.queries.language.verbs.create import create_law
from isoflop.queries.language.verbs.design import design
from isoflop.queries.language.verbs.explain import explain
from isoflop.queries.language.verbs.extrapolate import extrapolate
from isoflop.queries.language.verbs.fit import fit
from isoflop.queries.language.verbs.forecast import forecast, show_forecasts
from isoflop.queries.language.verbs.manage import comment_law, drop_law, rename_law
from isoflop.queries.language.verbs.optimize import optimize
from isoflop.queries.language.verbs.predict import predict_rows, residuals
from isoflop.queries.language.verbs.refit import refit_law
from isoflop.queries.language.verbs.show import describe_law, show_law_forms, show_laws
from isoflop.queries.language.verbs.validate import compare, cross_validation

if TYPE_CHECKING:
    import pyarrow as pa


def answer_verb(question: Question, node: Verb) -> pa.Table:
    """Return the rows that answer a verb clause; clauses that change laws answer with what they kept.

    Raises
    ------
    StatementError : with a caret under the part at fault
    """
    match node:
        case Fit():
            return fit(question, node)
        case Explain():
            return explain(question, node, answer_verb)
        case CreateLaw():
            return create_law(question, node)
        case RefitLaw():
            return refit_law(question, node)
        case DropLaw():
            return drop_law(question, node)
        case RenameLaw():
            return rename_law(question, node)
        case CommentLaw():
            return comment_law(question, node)
        case CrossValidate():
            return cross_validation(question, node)
        case Compare():
            return compare(question, node)
        case CompareApproaches():
            return compare_approaches(question, node)
        case Extrapolate():
            return extrapolate(question, node)
        case ExtrapolateAverage():
            return extrapolate_average(question, node)
        case Forecast():
            return forecast(question, node)
        case Optimize():
            return optimize(question, node)
        case Design():
            return design(question, node)
        case Predict():
            return predict_rows(question, node)
        case Residuals():
            return residuals(question, node)
        case ShowLaws():
            return show_laws(question, node)
        case ShowLawForms():
            return show_law_forms(question, node)
        case ShowForecasts():
            return show_forecasts(question, node)
        case DescribeLaw():
            return describe_law(question, node)
