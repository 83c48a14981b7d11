"""What a clause can be: every verb, and EXPLAIN, which stands before another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

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
    Span,
)


@dataclass(frozen=True)
class Explain(Span):
    """`EXPLAIN [ANALYZE] verb …`: what the verb would do, or what it did and how long that took."""

    verb: Verb
    is_analyzed: bool = False


Verb: TypeAlias = (
    Fit
    | Explain
    | CreateLaw
    | DropLaw
    | RefitLaw
    | RenameLaw
    | CommentLaw
    | CrossValidate
    | Compare
    | CompareApproaches
    | Extrapolate
    | ExtrapolateAverage
    | Forecast
    | Optimize
    | Design
    | Predict
    | Residuals
    | ShowLaws
    | ShowLawForms
    | ShowForecasts
    | DescribeLaw
)
