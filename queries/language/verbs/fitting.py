"""What makes laws: FIT, CREATE LAW, REFIT LAW, and EXPLAIN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.queries.language.parse import Explain, read_explain
from isoflop.queries.language.syntax.nodes import CreateLaw, FitClause, RefitLaw
from isoflop.queries.language.syntax.parts import FIT_USAGE, read_fit, read_inner_fit
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
    "objective": "what is minimized, summed over rows, at the optimum [1]",
    "r2": "share of the variance of the log target that the law explains [1]",
    "rmse_log": "root mean square of the log residuals [1]; 0.01 is one per cent",
    "aicc": "Akaike's criterion, corrected for few rows [1]; smaller is better, over the same rows only",
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
        "or not positive are dropped and counted. `GROUP BY` fits one law a group, and a group that cannot be fitted "
        "is a row with a status. `WEIGHT BY` says how much each row counts.\n\n"
        "The form is a name that `SHOW LAW FORMS` lists, with the columns it takes in their order, or a formula. The "
        "free numbers of a formula are declared in `PARAMETERS`, where a built-in form's are narrowed or fixed. "
        "An input may be an expression, `chinchilla(params / 1e6, tokens / 1e9)`; the law is then one of its columns, "
        "and is asked by these.\n\n"
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
        "SELECT bootstrap, round(coefficients.alpha, 2) AS alpha, upper.alpha > lower.alpha AS is_wide\n"
        "FROM (FIT loss ~ power(flops) FROM runs WHERE NOT outlier\n"
        "      WITH (bootstrap = 'auto', resamples = 50, forward = false))",
    ),
    mistakes=(
        "FIT loss ~ chinchila(params, tokens) FROM runs",
        "FIT loss ~ E + A / params ^ a FROM runs",
        "FIT loss ~ power(params) FROM runs WHERE params < 0",
        "FIT loss ~ power(params) FROM runs WITH (bootstrap = 'clutser')",
    ),
)


def _fit_plan(question: Question, node: FitClause) -> Plan:
    from isoflop.queries.language.plans.fit import FitPlan

    return FitPlan(question, node)


FIT = Verb(
    words="FIT",
    rule='FIT candidate source [ GROUP BY expression { "," expression } ] [ WEIGHT BY expression ] [ options ]',
    node=FitClause,
    parse=read_fit,
    plan=_fit_plan,
    page=_FIT_PAGE,
    briefs=(Brief("fit a law, or a formula of your own, to rows", "FIT loss ~ chinchilla(params, tokens) FROM runs"),),
    clauses={
        "PARAMETERS": "declare the free numbers of a formula",
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
        "the name is taken. It is a statement of its own and one transaction."
    ),
    sample="CREATE OR REPLACE LAW brief AS FIT loss ~ power(flops) FROM runs WHERE NOT outlier WITH (resamples = 20)",
    columns=_FIT_PAGE.columns,
    options=FIT_OPTIONS,
    examples=(
        "CREATE LAW chin AS FIT loss ~ chinchilla(params, tokens) FROM runs WHERE NOT outlier WITH (resamples = 200);\n"
        "SELECT round(chin(7e10, 1.4e12), 3) AS loss",
    ),
    mistakes=(
        "CREATE LAW sqrt AS FIT loss ~ power(flops) FROM runs",
        "CREATE LAW several AS FIT loss ~ power(flops) FROM runs GROUP BY outlier",
    ),
)


def _create(reader: TokenReader) -> CreateLaw:
    start = reader.begin("CREATE")
    or_replace = reader.accept("OR REPLACE")
    reader.expect("LAW")
    if_not_exists = reader.accept("IF NOT EXISTS")
    name = reader.name("the name of the law", f"CREATE LAW chin AS {FIT_USAGE}")
    reader.expect("AS", f"CREATE LAW {name.text} AS {FIT_USAGE}")
    if or_replace and if_not_exists:
        raise reader.error("OR REPLACE and IF NOT EXISTS exclude each other", reader.tokens[reader.index - 3])
    part = reader.inside() if reader.at("(") else reader
    fit = read_inner_fit(part, f"CREATE LAW {name.text} AS {FIT_USAGE}")
    part.finish()
    return CreateLaw(start, reader.end, name, fit, or_replace, if_not_exists)


def _create_law_plan(question: Question, node: CreateLaw) -> Plan:
    from isoflop.queries.language.plans.create import CreatePlan

    return CreatePlan(question, node)


CREATE_LAW = Verb(
    words="CREATE LAW",
    starts=("CREATE LAW", "CREATE OR REPLACE LAW"),
    is_statement=True,
    changes=True,
    rule="CREATE ( LAW [ IF NOT EXISTS ] | OR REPLACE LAW ) name AS fit",
    node=CreateLaw,
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
        "makes a law. It adds what came out and how long that took. Options are those of the verb."
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
    starts=("EXPLAIN ANALYZE", "EXPLAIN"),
    is_prefix=True,
    rule="EXPLAIN [ ANALYZE ] explained",
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
