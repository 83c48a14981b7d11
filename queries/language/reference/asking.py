"""What a law says: EXTRAPOLATE, PREDICT, RESIDUALS, FORECAST, OPTIMIZE, DESIGN."""

from __future__ import annotations

from isoflop.queries.language.options import OPTIMUM_RESAMPLES
from isoflop.queries.language.reference.page import Page

INTERVAL_OPTIONS = ("level", "interval")
OF_THE_LAW = {"level": "that of the law"}
OVER = "OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG"

INTERVAL = {
    "predicted_<target>": "what the law says [unit of the target]",
    "lower": "lower end of the interval [unit of the target]; null for a law without resamples",
    "upper": "upper end [unit of the target]",
}
PREDICTION = {
    **INTERVAL,
    "level": "share of new runs that the interval is to hold [1]",
    "interval": "`prediction`, for a new run, or `confidence`, for the law's curve",
    "ratio": "struct, one field an input: value over the largest value of the law's rows [1]; 10 is one decade beyond",
    "in_support": "whether every input lies within the range of the law's rows",
}

EXTRAPOLATE = Page(
    verb="extrapolate",
    purpose=(
        "Asks a law about points that nobody has measured. A list makes a row for each of its values, two lists make "
        "every pair, and a later value may be computed from earlier columns. `TO (query)` takes the points from a "
        "query. Beyond the rows the interval is widened by what forward checks of the fit found; notes say how far "
        "beyond a point lies. The law is a saved one, or a `FIT` in parentheses, which with `GROUP BY` gives rows for "
        "each group."
    ),
    sample="EXTRAPOLATE chin TO params = [7e9, 7e10], tokens = 20 * params",
    columns={"columns of TO": "the points, in their own units", **PREDICTION},
    options=INTERVAL_OPTIONS,
    defaults=OF_THE_LAW,
    examples=(
        "SELECT params, tokens, round(predicted_loss, 3) AS loss, in_support\n"
        "FROM (EXTRAPOLATE chin TO params = [1e9, 1e10], tokens = 20 * params)",
        "SELECT flops, round(predicted_loss, 2) AS loss\n"
        "FROM (EXTRAPOLATE (FIT loss ~ power(flops) FROM runs WHERE NOT outlier WITH (resamples = 0))\n"
        "      TO (SELECT 10.0 ** k AS flops FROM range(21, 24) t(k)))",
    ),
    mistakes=(
        "EXTRAPOLATE chin TO params = 1e9",
        "EXTRAPOLATE chinchilla TO params = 1e9, tokens = 2e10",
        "SELECT * FROM runs r, LATERAL (EXTRAPOLATE chin TO params = r.params, tokens = 1e10)",
    ),
)

PREDICT = Page(
    verb="predict",
    purpose=(
        "Puts what a law says beside each row of a table or a query. The law's inputs are computed from the rows' "
        "columns as they were for the fit, so the rows need those columns. A row that cannot be predicted has nulls."
    ),
    sample="PREDICT chin FROM runs WHERE params > 1e10",
    columns={"columns of the rows": "as they are", **PREDICTION},
    options=INTERVAL_OPTIONS,
    defaults=OF_THE_LAW,
    examples=(
        "SELECT count(*) AS runs, round(avg(ln(loss / predicted_loss)), 4) AS bias\n"
        "FROM (PREDICT chin FROM runs WHERE NOT outlier)",
    ),
    mistakes=("PREDICT chin FROM (SELECT params FROM runs)", "PREDICT chin TO params = 1e9"),
)

RESIDUALS = Page(
    verb="residuals",
    purpose=(
        "What a law leaves unexplained of each row; without `FROM`, of the rows it was fitted to, which are read "
        "again. Unusable rows are left out and counted. Residuals have no interval: the options change nothing."
    ),
    sample="RESIDUALS chin",
    columns={
        "columns of the rows": "as they are",
        "predicted_<target>": "what the law says [unit of the target]",
        "residual": "log of measured over predicted [1]; 0.01 is one per cent above the law",
        "std_residual": "residual over its standard deviation, leverage allowed for [1]",
        "leverage": "how much the row pulls the law to itself [1], from 0 to 1",
    },
    options=INTERVAL_OPTIONS,
    defaults=OF_THE_LAW,
    examples=(
        "SELECT round(corr(ln(params), residual), 3) AS trend, max(abs(std_residual)) > 3 AS has_outliers\n"
        "FROM (RESIDUALS chin)",
    ),
    mistakes=("RESIDUALS chin FROM runs WHERE params < 0",),
)

FORECAST = Page(
    verb="forecast",
    purpose=(
        "`EXTRAPOLATE`, written down before the runs exist. A forecast is never changed; its id is a hash of what it "
        "says, so that asking twice keeps one. Only a saved law forecasts, since it is kept with its version."
    ),
    sample="FORECAST chin TO params = 7e10, tokens = 1.4e12",
    columns={
        "columns of TO": "the points, in their own units",
        **PREDICTION,
        "forecast_id": "what it is kept under; null for a point without a prediction",
    },
    options=INTERVAL_OPTIONS,
    defaults=OF_THE_LAW,
    examples=(
        "SELECT params, round(predicted_loss, 3) AS loss FROM (FORECAST chin TO params = 7e10, tokens = 1.4e12)",
    ),
    mistakes=("FORECAST (FIT loss ~ power(flops) FROM runs) TO flops = 1e24",),
)

SHOW_FORECASTS = Page(
    verb="show_forecasts",
    purpose=(
        "Scores every forecast whose run has landed since, a finished run with the same inputs, and lists them all. "
        "A score is written once."
    ),
    sample="SHOW FORECASTS",
    columns={
        "forecast_id": "what it is kept under",
        "law": "name of the law",
        "version": "its version",
        "inputs": "JSON object, one number an input",
        "predicted": "what was said [unit of the target]",
        "lower": "lower end of the interval [unit of the target]",
        "upper": "upper end [unit of the target]",
        "level": "share of new runs that the interval is to hold [1]",
        "made_at": "when, in UTC",
        "run_id": "the run that answers it; null until there is one",
        "observed": "what that run measured [unit of the target]",
        "inside": "whether the interval held it",
        "error": "log of observed over predicted [1]",
        "coverage": "share of the scored forecasts of this law and level that their intervals held [1]",
    },
    examples=("SELECT law, inputs, round(predicted, 3) AS predicted, observed FROM (SHOW FORECASTS LIKE 'chin')",),
)

EXTRAPOLATE_AVERAGE = Page(
    verb="extrapolate_average",
    purpose=(
        "Asks several laws at once and answers with their weighted mean, whose interval knows that the laws differ. "
        "All are fitted to the same rows and resamples: those of `FROM`, or those of the saved laws without it. A note "
        "says the weights."
    ),
    sample="EXTRAPOLATE AVERAGE OF chin, (loss ~ kaplan(params, tokens)) FROM runs WHERE NOT outlier\n"
    "TO params = 7e10, tokens = 1.4e12 WITH (resamples = 20)",
    columns={"columns of TO": "the points, in their own units", **PREDICTION},
    options=("objective", "delta", "resamples", "seed", "level", "forward", "cluster", "weighing", "interval"),
    defaults={"resamples": "`200`"},
    examples=(
        "SELECT params, round(predicted_loss, 2) AS loss\n"
        "FROM (EXTRAPOLATE AVERAGE OF chin, (loss ~ kaplan(params, tokens)) FROM runs WHERE NOT outlier\n"
        "      TO params = 7e10, tokens = 1.4e12 WITH (weighing = 'aicc', resamples = 20))",
    ),
    mistakes=(
        "EXTRAPOLATE AVERAGE OF chin TO params = 7e10, tokens = 1.4e12",
        "EXTRAPOLATE AVERAGE OF chin, (loss ~ power(params)) TO params = 7e10, tokens = 1.4e12",
        "EXTRAPOLATE AVERAGE OF chin, (flops ~ power(params)) FROM runs TO params = 7e10, tokens = 1.4e12",
    ),
)

DESIGN = Page(
    verb="design",
    purpose=(
        "Chooses the runs to train: those that most narrow what a law says about the points of `TO`, the most useful "
        "first ([how, and whether that helps](design.md)). `OVER` gives each name a range, a list to choose from or a "
        "value that follows from others. Conditions hold for each run, and `SUM(…)` of an expression over all of them "
        "is held below a budget. Without a budget or `per` runs are chosen whatever they cost."
    ),
    sample=f"DESIGN 2 RUNS FOR chin TO params = 7e10, tokens = 1.4e12 {OVER}\n"
    "SUBJECT TO SUM(6 * params * tokens) <= 1e22",
    columns={
        "run": "1 for the most useful",
        "names of OVER": "what to train, in their own units",
        "predicted_<target>": "what the law says of the run [unit of the target]",
        "flops": "training compute [flop]: 6 params tokens, or counted where `OVER` gives a shape",
        "seconds": "what `time_law` says [s]; null without one",
        "cost": "what `SUM(…)` or `per` counts, in its own unit",
        "width_before": "expected width of the forecast's interval without this run [unit of the target]",
        "width_after": "with it and those above it",
        "ratio": "how many times narrower the forecast is by then than before all of them [1]",
        "level": "share of new runs that the interval is to hold [1]",
        "interval": "`prediction` or `confidence`",
    },
    options=(*INTERVAL_OPTIONS, "seed", "time_law", "per"),
    defaults={**OF_THE_LAW, "interval": "`'confidence'`"},
    examples=(
        "SELECT run, params, tokens, round(ratio, 2) AS ratio\n"
        "FROM (DESIGN 3 RUNS FOR chin TO params = 7e10, tokens = 1.4e12\n"
        "      OVER params IN (1e8, 3e8, 1e9, 3e9), tokens IN (1e10, 3e10, 1e11, 3e11)\n"
        "      SUBJECT TO SUM(flops) <= 1e22, tokens <= 200 * params)",
    ),
    mistakes=(
        f"DESIGN RUNS FOR chin TO params = 7e10, tokens = 1.4e12 {OVER}",
        "DESIGN 2 RUNS FOR chin TO params = 7e10, tokens = 1.4e12 OVER params IN [1e8, 1e10] LOG",
        "DESIGN 2 RUNS FOR chin TO params = 7e10, tokens = 1.4e12 OVER params IN [1e8, 1e10], tokens = 1e10\n"
        "SUBJECT TO SUM(flops) <= 1e15",
    ),
)

OPTIMIZE = Page(
    verb="optimize",
    purpose=(
        "Chooses the inputs of a law: the least or the most of a formula within ranges and under conditions, once for "
        "each value of `FOR EACH`. Formulas may hold what `OVER` and `FOR EACH` give, and the law's target, which is "
        "its prediction. `LOG` searches a range by logarithms, `INTEGER` keeps whole numbers. A name of `OVER` may "
        "follow from others (`tokens = 20 * params`); `flops` follows from params and tokens, `seconds` from "
        "`time_law`, and any other saved law can be called like a function."
    ),
    sample=f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO 6 * params * tokens <= 1e21",
    columns={
        "name of FOR EACH": "its value",
        "names of OVER": "the point that is best, in their own units",
        **INTERVAL,
        "slack": "struct, one field a condition: room that is left, in the condition's unit; null without conditions",
        "binding": "the conditions without room",
        "multiplier": "struct, one field a condition: change of what is optimised per unit that the condition yields",
        "status": "`optimal`, `infeasible` or `not_converged`",
        "optimum": "the best value of what is optimised, in its own unit",
        "optimum_lower": "lower end of its interval, from the optima of the law's resamples",
        "optimum_upper": "upper end",
        "names of OVER, _lower and _upper": "the interval of each, likewise",
    },
    options=(*INTERVAL_OPTIONS, "resamples", "time_law"),
    defaults={**OF_THE_LAW, "resamples": f"`{OPTIMUM_RESAMPLES}`, at most those of the law"},
    examples=(
        "SELECT budget, params, tokens, round(predicted_loss, 3) AS loss, status\n"
        f"FROM (OPTIMIZE chin MINIMIZE loss {OVER}\n"
        "      SUBJECT TO 6 * params * tokens <= budget FOR EACH budget IN [1e21, 1e23])",
        "SELECT round(log10(6 * params * tokens), 2) AS decades\n"
        f"FROM (OPTIMIZE chin MINIMIZE 6 * params * tokens {OVER}\n"
        "      SUBJECT TO loss <= 2.1)",
        "SELECT params, round(optimum, 3) AS loss, optimum_upper > optimum_lower AS is_wide\n"
        "FROM (OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens = 20 * params\n"
        "      SUBJECT TO flops <= 1e23, brief(flops) >= 2)",
    ),
    mistakes=(
        "OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG SUBJECT TO params <= 1e9",
        f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO 6 * params * token <= 1e21",
        f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO params < 1e9",
        "OPTIMIZE chin MINIMIZE loss OVER params = 1e9, tokens = 2e10",
    ),
)
