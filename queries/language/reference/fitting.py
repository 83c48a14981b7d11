"""FIT and what belongs to it: EXPLAIN, CREATE LAW, REFIT LAW."""

from __future__ import annotations

from isoflop.queries.language.reference.page import Page

FIT_OPTIONS = ("objective", "delta", "resamples", "seed", "level", "forward", "cluster", "bootstrap", "intervals")

GLANCE = {
    "law": "name of the saved law; null unless `CREATE LAW` made it",
    "form": "the law form, or the formula as typed",
    "rows": "rows that were fitted to",
    "dropped": "rows that could not be used; the notes say why",
    "objective": "what is minimised, summed over rows, at the optimum [1]",
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

FIT = Page(
    verb="fit",
    purpose=(
        "Fits a law to rows and answers with one row: coefficients and health. What it minimises is a robust distance "
        "between logarithms, so a target and its predictions are positive, and rows that are missing, NaN, infinite "
        "or not positive are dropped and counted. `GROUP BY` fits one law a group, and a group that cannot be fitted "
        "is a row with a status. `WEIGHT BY` says how much each row counts.\n\n"
        "The form is a name that `SHOW LAW FORMS` lists, with the columns it takes in their order, or a formula. The "
        "free numbers of a formula are declared in `PARAMETERS`, where a built-in form's are narrowed or fixed.\n\n"
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

EXPLAIN = Page(
    verb="explain",
    purpose=(
        "Says what a verb would do, without doing it: for a `FIT` the formula, what each input is read from, where "
        "each coefficient may lie, how many rows can be used and why others cannot, what is minimised, how intervals "
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

CREATE_LAW = Page(
    verb="create_law",
    purpose=(
        "Keeps what `FIT` finds under a name, with the statement, the rows' hash and the resamples, as a row of "
        "`store.laws`. The law is also a macro of that name, with its numbers written in, that any DuckDB client "
        "computes. `OR REPLACE` makes the next version and keeps the ones before; `IF NOT EXISTS` fits nothing when "
        "the name is taken. It is a statement of its own and one transaction."
    ),
    sample="CREATE OR REPLACE LAW brief AS FIT loss ~ power(flops) FROM runs WHERE NOT outlier WITH (resamples = 20)",
    columns=FIT.columns,
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

REFIT_LAW = Page(
    verb="refit_law",
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
