"""What a verb clause says, as records that know where each part stood in the text.

Names are not resolved here: a law that does not exist parses. Expressions stay slices of the
statement, because DuckDB reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end` of the statement."""

    start: int
    end: int


@dataclass(frozen=True)
class Name(Span):
    """A name, without its quotes."""

    text: str


@dataclass(frozen=True)
class LawName(Name):
    """The name of a law: of a saved one, or `published:` and that of a paper's."""


@dataclass(frozen=True)
class Expression(Span):
    """A slice that DuckDB evaluates.

    Parameters
    ----------
    first, last : its tokens, without `last`
    text : as typed
    column : the column's name when the slice is nothing but a column, else None
    """

    first: int
    last: int
    text: str
    column: str | None = None


@dataclass(frozen=True)
class ParameterRange:
    """One `name > 0`, `name IN [a, b] INIT v` or `name FIXED v` of PARAMETERS; what is not said is None."""

    name: Name
    lower: Expression | None = None
    upper: Expression | None = None
    init: Expression | None = None
    fixed: Expression | None = None


@dataclass(frozen=True)
class Let:
    """One `name = expression` of LET."""

    name: Name
    expression: Expression


@dataclass(frozen=True)
class LawForm(Span):
    """`name(column, …)` or a bare `name`, which may turn out to be a formula; bare, `arguments` is None."""

    name: Name
    expression: Expression
    arguments: tuple[Expression, ...] | None
    parameters: tuple[ParameterRange, ...] = ()
    lets: tuple[Let, ...] = ()


@dataclass(frozen=True)
class FormulaForm(Span):
    """A typed formula over columns and declared parameters."""

    expression: Expression
    parameters: tuple[ParameterRange, ...] = ()
    lets: tuple[Let, ...] = ()


Form: TypeAlias = LawForm | FormulaForm


@dataclass(frozen=True)
class Candidate(Span):
    """A target and the form it follows: `target [AS alias] ~ form [LET …] [PARAMETERS (…)]`."""

    target: Expression
    alias: Name | None
    form: Form


@dataclass(frozen=True)
class Source(Span):
    """`FROM … [WHERE …] [GROUP BY … [SHARING (…)]] [WEIGHT BY …]`."""

    relation: Expression
    where: Expression | None = None
    groups: tuple[Expression, ...] = ()
    weight: Expression | None = None
    sharing: tuple[Name, ...] = ()


@dataclass(frozen=True)
class Option:
    """One `key = value` of a WITH list."""

    key: Name
    value: Expression


@dataclass(frozen=True)
class Holdout(Span):
    """How rows are split.

    Parameters
    ----------
    kind : `largest`, `smallest`, `last`, `kfold` or `leave one out`
    amount : how many rows, groups or folds; None for leave one out
    is_percent : whether `amount` counts per cent of the distinct values
    by : the value that orders rows, or that rows stay together by
    """

    kind: str
    amount: Expression | None = None
    is_percent: bool = False
    by: Expression | None = None


@dataclass(frozen=True)
class FitClause(Span):
    """`FIT target ~ form FROM …`."""

    candidate: Candidate
    source: Source
    options: tuple[Option, ...] = ()


LawReference: TypeAlias = Name | FitClause


@dataclass(frozen=True)
class NewLaw(Span):
    """`CREATE [OR REPLACE] LAW [IF NOT EXISTS] name AS …`, whatever the law is made of."""

    name: Name
    or_replace: bool = False
    if_not_exists: bool = False


@dataclass(frozen=True, kw_only=True)
class CreateLaw(NewLaw):
    """`CREATE LAW name AS FIT …`."""

    fit: FitClause


@dataclass(frozen=True)
class DropLaw(Span):
    """`DROP LAW [IF EXISTS] name`."""

    name: Name
    if_exists: bool = False


@dataclass(frozen=True)
class RefitLaw(Span):
    """`REFIT LAW name`: fit it again as it was fitted, to its rows as they are now."""

    name: Name


@dataclass(frozen=True)
class RenameLaw(Span):
    """`ALTER LAW name RENAME TO new`."""

    name: Name
    new: Name


@dataclass(frozen=True)
class CommentLaw(Span):
    """`COMMENT ON LAW name IS 'text'`; None is `IS NULL`."""

    name: Name
    comment: Expression | None


@dataclass(frozen=True)
class CrossValidate(Span):
    """`CROSS VALIDATE law [FROM …] | target ~ form FROM … HOLDOUT … | KFOLD … | LEAVE ONE OUT`."""

    subject: Name | Candidate
    source: Source | None
    holdout: Holdout
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class Compare(Span):
    """`COMPARE law, (target ~ form), … [FROM …] [HOLDOUT …]`; without a source, on the rows of the saved laws.

    Parameters
    ----------
    end_of_subjects : where in the text FROM stands, or would
    """

    subjects: tuple[Name | Candidate, ...]
    end_of_subjects: int
    source: Source | None
    holdout: Holdout | None = None
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class CompareApproaches(Span):
    """`COMPARE APPROACHES [(target ~ form)] FROM … [GROUP BY …] [AT flops = [list]]`.

    Parameters
    ----------
    name : the word APPROACHES
    candidate : loss and the law of approach 3; `loss ~ chinchilla(params, tokens)` when None
    budgets : compute at which the best sizes are wanted
    """

    name: Span
    candidate: Candidate | None
    source: Source
    budgets: Expression | None = None
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class Assignment:
    """One `column = value` of EXTRAPOLATE … TO."""

    column: Name
    value: Expression


@dataclass(frozen=True)
class Extrapolate(Span):
    """`EXTRAPOLATE law [THROUGH law, …] TO column = value, … | TO (query)`; one of the two is given."""

    law: LawReference
    target: Span
    assignments: tuple[Assignment, ...] = ()
    query: Expression | None = None
    options: tuple[Option, ...] = ()
    through: tuple[LawReference, ...] = ()


@dataclass(frozen=True)
class ExtrapolateAverage(Span):
    """`EXTRAPOLATE AVERAGE OF law, (target ~ form), … [FROM …] TO …`.

    The average stands where a law stands, because it is used as one; its laws are written as those of COMPARE, because
    they too share their rows. Without FROM the rows are those that all the saved laws were fitted to.
    """

    verb: ClassVar[str] = "EXTRAPOLATE AVERAGE"
    subjects: tuple[Name | Candidate, ...]
    source: Source | None
    target: Span
    assignments: tuple[Assignment, ...] = ()
    query: Expression | None = None
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class ExtrapolateBest(ExtrapolateAverage):
    """`EXTRAPOLATE BEST OF law, (target ~ form), … [FROM …] TO …`: the average of those that the rows determine."""

    verb: ClassVar[str] = "EXTRAPOLATE BEST"


@dataclass(frozen=True)
class CompareGain(Span):
    """`COMPARE GAIN OF law OVER law [AT column = value, …]`, or of two groups `IN (FIT … GROUP BY …)`.

    Parameters
    ----------
    law, over : the law whose gain it is, and the one that has to catch up; values of GROUP BY where `fit` is given
    at : where the budgets stand; the word OVER without them
    assignments : what AT gives
    fit : whose groups are compared, or None
    """

    law: LawReference | Expression
    over: LawReference | Expression
    at: Span
    assignments: tuple[Assignment, ...] = ()
    options: tuple[Option, ...] = ()
    fit: FitClause | None = None


@dataclass(frozen=True)
class ForecastClause(Span):
    """`FORECAST law TO …`: an extrapolation that is kept."""

    extrapolate: Extrapolate


@dataclass(frozen=True)
class Predict(Span):
    """`PREDICT law [FROM …]`; without a source, of the rows the law was fitted to."""

    law: LawReference
    source: Source | None
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class ResidualsClause(Span):
    """`RESIDUALS law [FROM …]`; without a source, of the rows the law was fitted to."""

    law: LawReference
    source: Source | None = None
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class Show(Span):
    """`SHOW … [LIKE 'pattern']`: a list of things with names."""

    pattern: Expression | None = None


@dataclass(frozen=True)
class DescribeLaw(Span):
    """`DESCRIBE LAW name [VERSION n]`."""

    name: Name
    version: Expression | None = None
