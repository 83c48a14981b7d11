"""What judges laws and what they say: CROSS VALIDATE, COMPARE, COMPARE APPROACHES."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.queries.language.syntax.approaches import STARTS, read_approaches
from isoflop.queries.language.syntax.holdouts import read_holdout
from isoflop.queries.language.syntax.nodes import Compare, CompareApproaches, CrossValidate, Name
from isoflop.queries.language.syntax.parts import (
    HOLDOUTS,
    no_groups,
    read_options,
    read_source,
    read_subject,
    read_subjects,
)
from isoflop.queries.language.syntax.reader import TokenReader
from isoflop.queries.language.verb import Brief, Page, Plan, Verb

if TYPE_CHECKING:
    from isoflop.queries.language.question import Question

COMPARE_USAGE = "COMPARE chin, (loss ~ kaplan(params, tokens)) FROM runs"
FOLD_OPTIONS = ("objective", "delta", "resamples", "seed", "level", "cluster")
DEFAULTS = {"resamples": "`200`"}

_CROSS_VALIDATE_PAGE = Page(
    purpose=(
        "Fits a law to some rows and judges it on the others, once a fold. `HOLDOUT LARGEST 20 PERCENT BY flops` "
        "learns from the small runs and predicts the large ones, which is what a scaling law is for: per cent and "
        "numbers count the distinct values of the expression. `KFOLD` and `LEAVE ONE OUT` with `BY` keep rows with "
        "one value together. A saved law without `FROM` is judged on the rows it was fitted to."
    ),
    sample="CROSS VALIDATE chin FROM runs WHERE NOT outlier HOLDOUT LARGEST 20 PERCENT BY flops WITH (resamples = 20)",
    columns={
        "fold": "number of the fold, from 0",
        "n_train": "rows learned from",
        "n_test": "rows judged on",
        "train_max": "largest value of BY among the rows learned from; null without BY",
        "test_max": "largest among the rows judged on",
        "mape": "mean absolute error over the measured value [1]; over the mean size of the measured values where "
        "residuals are differences in the target's unit",
        "rmse_log": "root mean square of the log errors [1]; null where residuals are differences in the target's unit",
        "bias": "mean log of predicted over measured [1], or mean of predicted less measured in the target's unit",
        "coverage": "share of the rows that their intervals hold [1]; null without resamples",
        "status": "how the fit of the fold went",
        "coefficients": "struct, one field a coefficient",
    },
    options=FOLD_OPTIONS,
    defaults=DEFAULTS,
    examples=(
        "SELECT n_train, n_test, round(mape, 3) AS mape\n"
        "FROM (CROSS VALIDATE loss ~ chinchilla(params, tokens) FROM runs WHERE NOT outlier\n"
        "      HOLDOUT LARGEST 20 PERCENT BY flops WITH (resamples = 20))",
    ),
    mistakes=("CROSS VALIDATE chin FROM runs", "CROSS VALIDATE chin FROM runs HOLDOUT LARGEST 500 BY params"),
)


def _cross_validate(reader: TokenReader) -> CrossValidate:
    start = reader.begin("CROSS VALIDATE")
    subject = read_subject(reader, "FROM", *HOLDOUTS)
    is_own = isinstance(subject, Name) and not reader.at("FROM")
    source = None if is_own else read_source(reader, "CROSS VALIDATE", *HOLDOUTS, "HOLDOUT")
    if source is not None and source.groups:
        raise no_groups(reader, source, "CROSS VALIDATE")
    holdout = read_holdout(reader)
    options = read_options(reader)
    return CrossValidate(start, reader.end, subject, source, holdout, options)


def _cross_validate_plan(question: Question, node: CrossValidate) -> Plan:
    from isoflop.queries.language.plans.cross_validate import CrossValidatePlan

    return CrossValidatePlan(question, node)


CROSS_VALIDATE = Verb(
    words="CROSS VALIDATE",
    rule=(
        "CROSS VALIDATE ( saved_law [ source [ WEIGHT BY expression ] ] | candidate source [ WEIGHT BY expression ] ) "
        "holdout [ options ]"
    ),
    node=CrossValidate,
    parse=_cross_validate,
    plan=_cross_validate_plan,
    page=_CROSS_VALIDATE_PAGE,
    briefs=(
        Brief(
            "judge a law on rows it has not seen", "CROSS VALIDATE chin FROM runs HOLDOUT LARGEST 20 PERCENT BY params"
        ),
    ),
    clauses={
        "HOLDOUT LARGEST": "judge on the largest rows",
        "KFOLD": "judge on parts in turn",
        "LEAVE ONE OUT": "judge on each row in turn",
        "PERCENT": "a share of the rows",
    },
)


_COMPARE_PAGE = Page(
    purpose=(
        "Fits several laws to the same rows, those that all of them can use, and ranks them: by error on held-out rows "
        "with a split, by AICc without one; fits that did not converge come last. A saved law is fitted again, to "
        "these rows; without `FROM` they are those of the saved laws, which have to be the same ones. A theory stands "
        "among them by its name: it is asked about the run and step of each row (`run_id`, and `step` or a run's "
        "`steps`), has no free number and is not fitted. `weighing = 'resamples'` weighs laws as "
        "[EXTRAPOLATE AVERAGE](#extrapolate-average) does: by how often each predicts best what a resample leaves out."
    ),
    sample="COMPARE chin, (loss ~ power(flops)) FROM runs WHERE NOT outlier HOLDOUT LARGEST 20 PERCENT BY flops",
    columns={
        "rank": "1 for the best",
        "law": "the saved law or theory, or the candidate as typed",
        "k": "free coefficients; 0 for a theory",
        "aicc": "Akaike's criterion, corrected for few rows [1]; candidates of which some minimize logarithms and "
        "others values are refused, since theirs do not compare",
        "cv_mape": "mean absolute error over the measured value, on held-out rows [1]; null without a split",
        "cv_coverage": "share of the held-out rows that their intervals hold [1]",
        "delta_aicc": "AICc above the least [1]",
        "weight": "Akaike's weight: relative likelihood, the sum being 1 [1]; that of `weighing` where it is given",
        "status": "how the fit went; `computed` for a theory",
    },
    options=(*FOLD_OPTIONS, "weighing"),
    defaults={**DEFAULTS, "weighing": "Akaike's weights"},
    examples=(
        "SELECT rank, law, k, round(cv_mape, 3) AS cv_mape\n"
        "FROM (COMPARE chin, (loss ~ power(flops)) FROM runs WHERE NOT outlier\n"
        "      HOLDOUT LARGEST 20 PERCENT BY flops WITH (resamples = 0))",
    ),
    mistakes=("COMPARE chin, (flops ~ power(params)) FROM runs",),
)


def _compare(reader: TokenReader) -> Compare:
    start = reader.begin("COMPARE")
    subjects = read_subjects(reader, COMPARE_USAGE, "COMPARE")
    end = reader.end
    source = read_source(reader, "COMPARE", *HOLDOUTS, "HOLDOUT") if reader.at("FROM") else None
    if source is not None and source.groups:
        raise no_groups(reader, source, "COMPARE")
    holdout = read_holdout(reader) if reader.at(*HOLDOUTS, "HOLDOUT") else None
    options = read_options(reader)
    return Compare(start, reader.end, subjects, end, source, holdout, options)


def _compare_plan(question: Question, node: Compare) -> Plan:
    from isoflop.queries.language.plans.compare import ComparePlan

    return ComparePlan(question, node)


COMPARE = Verb(
    words="COMPARE",
    takes_list=True,
    rule=(
        'COMPARE ( contender | theory ) { "," ( contender | theory ) } [ source [ WEIGHT BY expression ] ] [ holdout ] '
        "[ options ]"
    ),
    node=Compare,
    parse=_compare,
    plan=_compare_plan,
    page=_COMPARE_PAGE,
    briefs=(
        Brief(
            "rank laws on the same rows",
            "COMPARE chin, (loss ~ power(params)) FROM runs HOLDOUT LARGEST 20 PERCENT BY params",
        ),
    ),
)


_COMPARE_APPROACHES_PAGE = Page(
    purpose=(
        "How the best size grows with compute, by the three approaches of Hoffmann et al. 2022: the lower envelope of "
        "all runs, the lowest point of each slice of equal compute (of a parabola, and of an Akima spline), a law of "
        "params and tokens. One row each, with the bias that the same approach shows on runs made from the law; the "
        "law is `loss ~ chinchilla(params, tokens)` unless parentheses name another. `AT flops` adds the best size "
        "there and its own bias, a row for each budget: a line of the right exponent may lie a quarter too low. "
        "Compute that a row lacks is 6 params tokens; a budget whose best size is the smallest or largest of its runs "
        "is named and left out ([notes](sweeps.md#equal-compute)). `GROUP BY` gives rows for each group."
    ),
    sample="COMPARE APPROACHES FROM runs WHERE NOT outlier AT FLOPS = [1e22] WITH (resamples = 10)",
    columns={
        "approach": "`envelope`, `isoflop_parabola`, `isoflop_akima` or `law`",
        "params_exponent": "exponent of the best params over compute [1]",
        "params_lower": "lower end of its interval",
        "params_upper": "upper end",
        "tokens_exponent": "exponent of the best tokens over compute [1]",
        "tokens_lower": "lower end of its interval",
        "tokens_upper": "upper end",
        "params_coefficient": "best params at 1 flop by that power [count]",
        "tokens_coefficient": "best tokens at 1 flop [count]",
        "bias": "exponent that the approach finds in runs made from the law, less the law's own [1]",
        "budgets": "slices of equal compute that it rests on",
        "left_out": "list of budgets whose best size is not between their own sizes, left out of the power [flop]",
        "rows": "rows that it rests on",
        "level": "share that the intervals cover [1]",
        "notes": "what is worth knowing",
        "flops": "a budget of `AT` [flop]; this and what follows only with it",
        "optimal_params": "best size there [count]",
        "optimal_params_lower": "lower end of its interval [count]",
        "optimal_params_upper": "upper end [count]",
        "optimal_params_bias": "share by which it is off there in runs made from the law [1]; 0.1 is a tenth too large",
        "optimal_tokens": "best length there [count]",
        "optimal_tokens_lower": "lower end of its interval [count]",
        "optimal_tokens_upper": "upper end [count]",
        "optimal_tokens_bias": "share by which it is off there in runs made from the law [1]",
    },
    options=("budgets", "tolerance", "curves", "flops", "objective", "delta", "resamples", "seed", "level"),
    defaults=DEFAULTS,
    examples=(
        "SELECT approach, round(params_exponent, 2) AS exponent, budgets, round(log10(optimal_params), 1) AS decades\n"
        "FROM (COMPARE APPROACHES FROM runs WHERE NOT outlier AT flops = 1e22\n"
        "      WITH (budgets = [1e19, 6e19, 3e20, 1e21], tolerance = 0.2, resamples = 20))",
    ),
    mistakes=(
        "COMPARE APPROACHES FROM runs AT params = [1e9]",
        "COMPARE APPROACHES (loss ~ power(flops)) FROM runs",
        "COMPARE APPROACHES FROM runs WITH (budgets = [1e25])",
    ),
)


def _compare_approaches_plan(question: Question, node: CompareApproaches) -> Plan:
    from isoflop.queries.language.plans.approaches import ApproachesPlan

    return ApproachesPlan(question, node)


COMPARE_APPROACHES = Verb(
    words="COMPARE APPROACHES",
    starts=STARTS,
    called="COMPARE",
    rule=(
        'COMPARE APPROACHES [ "(" candidate ")" ] source [ GROUP BY expression { "," expression } ] '
        '[ AT FLOPS "=" value ] [ options ]'
    ),
    node=CompareApproaches,
    parse=read_approaches,
    plan=_compare_approaches_plan,
    page=_COMPARE_APPROACHES_PAGE,
    briefs=(
        Brief("rank ways to find the best sizes for a budget", "COMPARE APPROACHES FROM runs AT flops = [1e21, 1e22]"),
    ),
    clauses={
        "AT flops": "the budgets to say the best sizes for",
    },
)
