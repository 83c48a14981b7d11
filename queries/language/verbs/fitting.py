"""What makes laws: FIT, CREATE LAW, REFIT LAW, and EXPLAIN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.queries.language.parse import Explain, read_explain
from isoflop.queries.language.syntax.given import GIVEN_USAGE, CreateGiven, is_given, lacks_coefficients, read_given
from isoflop.queries.language.syntax.nodes import CreateLaw, FitClause, NewLaw, RefitLaw
from isoflop.queries.language.syntax.optimum import CreateOptimum, read_optimum
from isoflop.queries.language.syntax.parts import FIT_USAGE, at_published, read_fit, read_inner_fit, read_law_name
from isoflop.queries.language.syntax.reader import TokenReader
from isoflop.queries.language.verb import Brief, Page, Plan, Verb

if TYPE_CHECKING:
    from isoflop.queries.language.question import Question

FIT_OPTIONS = ("objective", "delta", "resamples", "seed", "level", "forward", "cluster", "bootstrap", "intervals")

GLANCE = {
    "law": "name of the saved law; null unless `CREATE LAW` made it",
    "form": "the law form, or the formula as typed",
    "rows": "rows that were fitted to",
    "dropped": "rows that could not be used; the notes say why",
    "objective": "what is minimized, summed over rows, at the optimum [1]; in the target's unit squared where "
    "residuals are plain",
    "r2": "share of the variance of the log target that the law explains [1]; of the target itself where residuals are "
    "differences in its unit",
    "rmse_log": "root mean square of the log residuals [1]; 0.01 is one per cent; null where residuals are differences "
    "in the target's unit",
    "aicc": "Akaike's criterion, corrected for few rows [1]; smaller is better, over the same rows and with the same "
    "objective only",
    "bic": "Schwarz's criterion [1]; likewise",
    "condition": "condition number of the scaled curvature at the optimum [1]; large means that rows do not tell "
    "coefficients apart",
    "status": "`converged`, `at_bound`, `not_converged`, `singular` or `too_few_rows`",
    "notes": "what is worth knowing before relying on it, each `kind: sentence`",
    "coefficients": "struct, one field a coefficient, in the law's units",
    "support": "struct, one field an input: lowest and largest value of the rows, in the input's unit",
}

# Only with bootstrap or intervals among the options.
ASKED = {
    "bootstrap, intervals": "with either option: which bootstrap redrew the rows, and what the intervals are",
    "std_error, lower, upper": "with either option: structs, one field a coefficient, in the law's units",
    "bias (jackknife)": "with `intervals = 'jackknife'`: struct, how far off the coefficients are expected to be",
}

_FIT_PAGE = Page(
    purpose=(
        "Fits a law to rows and answers with one row: coefficients and health. What it minimizes is a robust distance "
        "between logarithms, so a target and its predictions are positive, and rows that are missing, NaN, infinite "
        "or not positive are dropped and counted. The objectives `least_squares` and `huber_plain` compare values "
        "themselves and take a target of any sign: where it is zero or less in a row, and always with `huber_plain`, "
        "residuals, scatter and intervals are differences in its unit, which a note says. `GROUP BY` fits one law a "
        "group, and a group that cannot be fitted "
        "is a row with a status. `WEIGHT BY` says how much each row counts. A terminal and a notebook show each "
        "coefficient with its standard error and interval below the rows; csv, json and arrow hold the rows alone.\n\n"
        "The form is a name that `SHOW LAW FORMS` lists, with the columns it takes in their order, or a formula. The "
        "free numbers of a formula are declared in `PARAMETERS`, where a built-in form's are narrowed or fixed. "
        "`LET n = params / 1e6` gives a part of a formula a name; the law is one of the columns. "
        "An input may be an expression, `chinchilla(params / 1e6, tokens / 1e9)`; the law is then one of its columns, "
        "and is asked by these.\n\n"
        "`auto(x)` and `auto(params, tokens)` average the forms that the rows determine, for who does not know which "
        "is right ([how](fitting.md#no-form-in-mind)). Coefficients are called after their form, `power_alpha`, and "
        "`power_weight` is its weight; forms that are left out are null, and a note says why. There are 200 resamples "
        "unless `resamples` says otherwise.\n\n"
        "`SHARING` fits all groups at once, with the coefficients that it names common to all and the others each "
        "group's own: one search, one objective, and resamples that rows of every group are in, so that what follows "
        "from two groups has an interval. Each row has the joint criteria, and a note says if AICc speaks for "
        "sharing. There is no forward check, so intervals are not widened beyond the rows.\n\n"
        "`bootstrap` and `intervals` say how sure the coefficients are, and add columns: `bootstrap = 'auto'` chooses "
        "by the residuals, `profile` and `jackknife` are for the coefficients, not for predictions "
        "([which to take](intervals.md))."
    ),
    sample="FIT loss ~ chinchilla(params, tokens) FROM runs WHERE NOT outlier WITH (resamples = 0)",
    columns={"columns of GROUP BY": "the values that the rows of a group share; none without it", **GLANCE, **ASKED},
    options=FIT_OPTIONS,
    examples=(
        "SELECT status, rows, round(r2, 3) AS r2, round(coefficients.alpha, 3) AS alpha\n"
        "FROM (FIT loss ~ chinchilla(params, tokens) FROM runs WHERE NOT outlier WITH (resamples = 0))",
        "SELECT large, rows, round(coefficients.a, 3) AS a\n"
        "FROM (FIT loss ~ E + A / flops ^ a PARAMETERS (E IN [0, 3], A > 0, a IN [0, 1] INIT 0.2)\n"
        "      FROM (SELECT *, params > 1e9 AS large FROM runs WHERE NOT outlier) GROUP BY large WITH (resamples = 0))",
        "SELECT large, rows, round(coefficients.E, 2) AS E, round(coefficients.alpha, 3) AS alpha\n"
        "FROM (FIT loss ~ power(flops) FROM (SELECT *, params > 1e9 AS large FROM runs WHERE NOT outlier)\n"
        "      GROUP BY large SHARING (E, alpha) WITH (resamples = 0))",
        "SELECT bootstrap, round(coefficients.alpha, 2) AS alpha, upper.alpha > lower.alpha AS is_wide\n"
        "FROM (FIT loss ~ power(flops) FROM runs WHERE NOT outlier\n"
        "      WITH (bootstrap = 'auto', resamples = 50, forward = false))",
    ),
    mistakes=(
        "FIT loss ~ chinchila(params, tokens) FROM runs",
        "FIT loss ~ auto(params, tokens, flops) FROM runs",
        "FIT loss ~ E + A / params ^ a FROM runs",
        "FIT loss ~ power(params) FROM runs WHERE params < 0",
        "FIT loss ~ power(params) FROM runs GROUP BY family SHARING (E, alhpa)",
        "FIT loss ~ power(params) FROM runs WITH (bootstrap = 'clutser')",
    ),
)


def _fit_plan(question: Question, node: FitClause) -> Plan:
    from isoflop.queries.language.plans.fit import FitPlan

    return FitPlan(question, node)


FIT = Verb(
    words="FIT",
    rule=(
        'FIT candidate source [ GROUP BY expression { "," expression } [ SHARING "(" name { "," name } ")" ] ] '
        "[ WEIGHT BY expression ] [ options ]"
    ),
    node=FitClause,
    parse=read_fit,
    plan=_fit_plan,
    page=_FIT_PAGE,
    briefs=(Brief("fit a law, or a formula of your own, to rows", "FIT loss ~ chinchilla(params, tokens) FROM runs"),),
    clauses={
        "LET": "name a part of a formula",
        "PARAMETERS": "declare the free numbers of a formula",
        "SHARING": "coefficients that all groups have in common",
        "WEIGHT BY": "weight of each row",
        "INIT": "start a coefficient here",
        "FIXED": "keep a coefficient at a value",
    },
)


_CREATE_LAW_PAGE = Page(
    purpose=(
        "Keeps what `FIT` finds under a name, with the statement, the rows' hash and the resamples, as a row of "
        "`store.laws`. The law is also a macro of that name, with its numbers written in, that any DuckDB client "
        "computes. `OR REPLACE` makes the next version and keeps the ones before; `IF NOT EXISTS` fits nothing when "
        "the name is taken. It is a statement of its own and one transaction.\n\n"
        "`WITH COEFFICIENTS` makes a law of numbers that are known, with nothing to fit: a form or a formula and the "
        "value of each of its coefficients. Without `target ~` it predicts what the form usually does. How sure the "
        "numbers are is said by `STANDARD ERRORS`, which are drawn independently, or by `COVARIANCE`, a list of lists "
        "in the order of `COEFFICIENTS`; `residual_scale` is the scatter of a run about the law, of the logarithm of "
        "its value and so a share of it, or with `scatter = 'additive'` in the target's unit, without which there is "
        "no prediction interval; `resamples`, `seed` and `level` are of the draws. "
        "`OPTIMUM OF …` in the place of `FIT …` keeps [the power law through its cells](#optimum). "
        "`published:name` stands for the law of a paper ([which there are](atlas.md)). Such a law has no "
        "rows: how far beyond them a point lies is null, it is never stale, `RESIDUALS` needs `FROM`, and "
        "`COMPARE` scores it as it is, by differences of values of any sign where its scatter is additive."
    ),
    sample="CREATE OR REPLACE LAW brief AS FIT loss ~ power(flops) FROM runs WHERE NOT outlier WITH (resamples = 20)",
    columns=_FIT_PAGE.columns,
    options=FIT_OPTIONS,
    examples=(
        "CREATE LAW chin AS FIT loss ~ chinchilla(params, tokens) FROM runs WHERE NOT outlier WITH (resamples = 200);\n"
        "SELECT round(chin(7e10, 1.4e12), 3) AS loss",
        "CREATE OR REPLACE LAW paper AS chinchilla(params, tokens)\n"
        "WITH COEFFICIENTS (E = 1.69, A = 406.4, B = 410.7, alpha = 0.34, beta = 0.28);\n"
        "SELECT round(paper(7e10, 1.4e12), 3) AS loss",
        "CREATE OR REPLACE LAW paper AS published:besiroglu_2024; SELECT round(paper(7e10, 1.4e12), 3) AS loss",
    ),
    mistakes=(
        "CREATE LAW sqrt AS FIT loss ~ power(flops) FROM runs",
        "CREATE LAW several AS FIT loss ~ power(flops) FROM runs GROUP BY outlier",
        "CREATE LAW numbers AS power(flops) WITH COEFFICIENTS (E = 1.7, A = 30)",
    ),
)


def _create(reader: TokenReader) -> NewLaw:
    start = reader.begin("CREATE")
    or_replace = reader.accept("OR REPLACE")
    reader.expect("LAW")
    if_not_exists = reader.accept("IF NOT EXISTS")
    name = reader.name("the name of the law", f"CREATE LAW chin AS {FIT_USAGE}")
    usage = f"CREATE LAW {name.text} AS {FIT_USAGE}"
    reader.expect("AS", usage)
    if or_replace and if_not_exists:
        raise reader.error("OR REPLACE and IF NOT EXISTS exclude each other", reader.tokens[reader.index - 3])
    if at_published(reader):
        published = read_law_name(reader, "a law")
        return CreateGiven(start, reader.end, name, or_replace, if_not_exists, law=published)
    if not reader.at("FIT") and is_given(reader):
        given = read_given(reader)
        return CreateGiven(start, reader.end, name, or_replace, if_not_exists, law=given)
    if lacks_coefficients(reader):
        raise reader.expected("FIT, or WITH COEFFICIENTS behind a law", f"CREATE LAW {name.text} AS {GIVEN_USAGE}")
    part = reader.inside() if reader.at("(") else reader
    if part.at("OPTIMUM OF"):
        optimum = read_optimum(part)
        part.finish()
        return CreateOptimum(start, reader.end, name, or_replace, if_not_exists, optimum=optimum)
    fit = read_inner_fit(part, usage)
    part.finish()
    return CreateLaw(start, reader.end, name, or_replace, if_not_exists, fit=fit)


def _create_law_plan(question: Question, node: NewLaw) -> Plan:
    from isoflop.queries.language.plans.create import CreateGivenPlan, CreateOptimumPlan, CreatePlan

    if isinstance(node, CreateGiven):
        return CreateGivenPlan(question, node)
    if isinstance(node, CreateOptimum):
        return CreateOptimumPlan(question, node)
    assert isinstance(node, CreateLaw)
    return CreatePlan(question, node)


CREATE_LAW = Verb(
    words="CREATE LAW",
    starts=("CREATE LAW", "CREATE OR REPLACE LAW"),
    is_statement=True,
    changes=True,
    rule="CREATE ( LAW [ IF NOT EXISTS ] | OR REPLACE LAW ) name AS ( fit | optimum | given | published )",
    node=NewLaw,
    parse=_create,
    plan=_create_law_plan,
    page=_CREATE_LAW_PAGE,
    briefs=(
        Brief(
            "fit a law and keep it; it is an SQL function from then on",
            "CREATE LAW chin AS FIT loss ~ chinchilla(params, tokens) FROM runs",
        ),
        Brief(
            "keep a new version of a law",
            "CREATE OR REPLACE LAW chin AS FIT loss ~ chinchilla(params, tokens) FROM runs WHERE loss > 0",
            "CREATE OR REPLACE LAW",
        ),
    ),
    clauses={
        "WITH COEFFICIENTS": "the numbers of a law that is not fitted",
        "STANDARD ERRORS": "how sure each of them is",
        "COVARIANCE": "how sure they are together",
    },
)


_REFIT_LAW_PAGE = Page(
    purpose=(
        "Fits a saved law again, as its statement says, to its rows as they are now. What comes out otherwise than it "
        "was is the law's next version; what comes out bit for bit the same is not kept twice."
    ),
    sample="REFIT LAW brief",
    columns={
        **GLANCE,
        "version": "the law's newest version now",
        "rows_changed": "whether the rows are not what they were",
        "bit_equal": "whether coefficients, resamples and intervals are those of before to the last bit",
    },
    examples=("REFIT LAW brief; SELECT name, version FROM (SHOW LAWS LIKE 'brief')",),
    mistakes=("REFIT LAW nobody",),
)


def _refit(reader: TokenReader) -> RefitLaw:
    start = reader.begin("REFIT LAW")
    name = reader.name("the name of a law", "SHOW LAWS lists them")
    return RefitLaw(start, reader.end, name)


def _refit_law_plan(question: Question, node: RefitLaw) -> Plan:
    from isoflop.queries.language.plans.refit import RefitPlan

    return RefitPlan(question, node)


REFIT_LAW = Verb(
    words="REFIT LAW",
    is_statement=True,
    changes=True,
    rule="REFIT LAW saved_law",
    node=RefitLaw,
    parse=_refit,
    plan=_refit_law_plan,
    page=_REFIT_LAW_PAGE,
    briefs=(Brief("fit a law again to the runs there are now", "REFIT LAW chin"),),
)


_EXPLAIN_PAGE = Page(
    purpose=(
        "Says what a verb would do, without doing it: for a `FIT` the formula, what each input is read from, where "
        "each coefficient may lie, how many rows can be used and why others cannot, what is minimized, how intervals "
        "are made; for the others the law, the points or rows, the ranges. The SQL that DuckDB would get comes last. "
        "`EXPLAIN ANALYZE` does what the verb does, and what that changes stays changed: `EXPLAIN ANALYZE CREATE LAW` "
        "makes a law. It adds what came out and how long that took; `EXPLAIN (ANALYZE)` is the same. Options are those "
        "of the verb."
    ),
    sample="EXPLAIN FIT loss ~ power(flops) FROM runs WHERE NOT outlier",
    columns={"step": "what is described", "detail": "the description"},
    examples=(
        "EXPLAIN FIT loss ~ power(flops) PARAMETERS (E FIXED 1.7) FROM runs WHERE NOT outlier",
        "SELECT detail FROM (EXPLAIN ANALYZE FIT loss ~ power(flops) FROM runs WHERE NOT outlier "
        "WITH (resamples = 0))\n"
        "WHERE step IN ('rows', 'answer')",
    ),
    mistakes=("EXPLAIN FIT loss ~ power(flop) FROM runs",),
)


def _explain_plan(question: Question, node: Explain) -> Plan:
    from isoflop.queries.language.plans.explain import ExplainPlan

    return ExplainPlan(question, node)


EXPLAIN = Verb(
    words="EXPLAIN",
    starts=("EXPLAIN ANALYZE", "EXPLAIN ANALYSE", "EXPLAIN"),
    is_prefix=True,
    rule='EXPLAIN [ ANALYZE | "(" ANALYZE ")" ] explained',
    node=Explain,
    parse=read_explain,
    plan=_explain_plan,
    page=_EXPLAIN_PAGE,
    briefs=(
        Brief(
            "say how a fit would be made, without making it",
            "EXPLAIN FIT loss ~ chinchilla(params, tokens) FROM runs",
            "EXPLAIN FIT",
        ),
        Brief(
            "run a verb and say what it did and how long that took",
            "EXPLAIN ANALYZE EXTRAPOLATE chin TO params = 1e11, tokens = 20 * params",
            "EXPLAIN ANALYZE",
        ),
    ),
)
