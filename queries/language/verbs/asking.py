"""What a law says: EXTRAPOLATE, EXTRAPOLATE AVERAGE, PREDICT, RESIDUALS, FORECAST, SHOW FORECASTS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.queries.language.asked_columns import PREDICTION
from isoflop.queries.language.syntax.averages import read_average
from isoflop.queries.language.syntax.nodes import (
    Extrapolate,
    ExtrapolateAverage,
    ForecastClause,
    Predict,
    ResidualsClause,
    Show,
)
from isoflop.queries.language.syntax.parts import (
    OPTIONS,
    read_law,
    read_options,
    read_pattern,
    read_source,
    read_targets,
    read_through,
    refuse_parts,
)
from isoflop.queries.language.syntax.reader import TokenReader
from isoflop.queries.language.verb import Brief, Page, Plan, Verb

if TYPE_CHECKING:
    from isoflop.queries.language.question import Question

AVERAGE_USAGE = "EXTRAPOLATE AVERAGE OF chin, (loss ~ kaplan(params, tokens)) FROM runs TO params = 1e11, tokens = 2e12"
THROUGH_USAGE = "EXTRAPOLATE chin THROUGH task TO params = 7e10, tokens = 1.4e12"
TO_USAGE = "EXTRAPOLATE law TO params = [1e11, 1e12], tokens = 20 * params"
INTERVAL_OPTIONS = ("level", "interval")
OF_THE_LAW = {"level": "that of the law"}

_EXTRAPOLATE_PAGE = Page(
    purpose=(
        "Asks a law about points without a measurement. A list makes a row for each of its values, two lists make "
        "every pair, and a later value may be computed from earlier columns. `TO (query)` takes the points from a "
        "query. Beyond the rows the interval is widened by what forward checks of the fit found; notes say how far "
        "beyond a point lies. The law is a saved one, or a `FIT` in parentheses, which with `GROUP BY` gives rows for "
        "each group.\n\n"
        "`THROUGH` names the law that takes what the first one predicts, such as the error on tasks as a function of "
        "the loss; several, between commas, follow one another. One input of each is called as what the law before "
        "predicts, and `TO` gives the others. Draws of each law are paired with draws of the next, and a new run's "
        "scatter is handed on, so the last interval holds what all laws leave open."
    ),
    sample="EXTRAPOLATE chin TO params = [7e9, 7e10], tokens = 20 * params",
    columns={
        "columns of TO": "the points, in their own units",
        "predicted_<target> and <target>_lower, <target>_upper of a law before the last": "with `THROUGH`: what that "
        "law says, and its interval",
        **PREDICTION,
    },
    options=INTERVAL_OPTIONS,
    defaults=OF_THE_LAW,
    examples=(
        "SELECT params, tokens, round(predicted_loss, 3) AS loss, in_support\n"
        "FROM (EXTRAPOLATE chin TO params = [1e9, 1e10], tokens = 20 * params)",
        "SELECT flops, round(predicted_loss, 2) AS loss\n"
        "FROM (EXTRAPOLATE (FIT loss ~ power(flops) FROM runs WHERE NOT outlier WITH (resamples = 0))\n"
        "      TO (SELECT 10.0 ** k AS flops FROM range(21, 24) t(k)))",
        "SELECT params, round(predicted_loss, 2) AS loss, round(predicted_wrong, 2) AS wrong\n"
        "FROM (EXTRAPOLATE chin THROUGH (FIT wrong ~ task_error(loss)\n"
        "      FROM (SELECT *, 0.8 - 4 * exp(-1.5 * loss) AS wrong FROM runs WHERE NOT outlier)\n"
        "      WITH (resamples = 20))\n"
        "      TO params = [7e9, 7e10], tokens = 20 * params)",
    ),
    mistakes=(
        "EXTRAPOLATE chin TO params = 1e9",
        "EXTRAPOLATE chin THROUGH (FIT loss ~ power(flops) FROM runs) TO params = 7e10, tokens = 1.4e12",
        "EXTRAPOLATE chinchilla TO params = 1e9, tokens = 2e10",
        "SELECT * FROM runs r, LATERAL (EXTRAPOLATE chin TO params = r.params, tokens = 1e10)",
    ),
)


def _points(reader: TokenReader, words: str, usage: str, *, is_chain: bool = False) -> Extrapolate:
    start = reader.begin(words)
    law = read_law(reader, usage)
    if reader.at("THROUGH") and not is_chain:
        raise reader.error(
            f"{words} keeps what one law says", hint="EXTRAPOLATE … THROUGH … answers without keeping it"
        )
    through = read_through(reader, THROUGH_USAGE)
    target, assignments, query = read_targets(reader, usage, OPTIONS)
    options = read_options(reader)
    return Extrapolate(start, reader.end, law, target, assignments, query, options, through)


def _extrapolate(reader: TokenReader) -> Extrapolate:
    return _points(reader, "EXTRAPOLATE", TO_USAGE, is_chain=True)


def _extrapolate_plan(question: Question, node: Extrapolate) -> Plan:
    if node.through:
        from isoflop.queries.language.plans.through import ThroughPlan

        return ThroughPlan(question, node)
    from isoflop.queries.language.plans.extrapolate import ExtrapolatePlan

    return ExtrapolatePlan(question, node)


EXTRAPOLATE = Verb(
    words="EXTRAPOLATE",
    rule='EXTRAPOLATE law [ THROUGH law { "," law } ] targets [ options ]',
    node=Extrapolate,
    parse=_extrapolate,
    plan=_extrapolate_plan,
    page=_EXTRAPOLATE_PAGE,
    briefs=(
        Brief(
            "say what a law expects, with its interval",
            "EXTRAPOLATE chin TO params = [1e11, 1e12], tokens = 20 * params",
        ),
    ),
    clauses={"THROUGH": "the law that takes what the one before predicts"},
)


_EXTRAPOLATE_AVERAGE_PAGE = Page(
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


def _average(reader: TokenReader) -> ExtrapolateAverage:
    return read_average(reader, "AVERAGE", AVERAGE_USAGE, ExtrapolateAverage)


def _extrapolate_average_plan(question: Question, node: ExtrapolateAverage) -> Plan:
    from isoflop.queries.language.plans.average import AveragePlan

    return AveragePlan(question, node)


EXTRAPOLATE_AVERAGE = Verb(
    words="EXTRAPOLATE AVERAGE",
    starts=("EXTRAPOLATE AVERAGE OF",),  # both words, so that a law may be called average
    called="EXTRAPOLATE",
    rule=(
        'EXTRAPOLATE AVERAGE OF ( saved_law "," saved_law { "," saved_law } '
        '| contender "," contender { "," contender } source [ WEIGHT BY expression ] ) targets [ options ]'
    ),
    node=ExtrapolateAverage,
    parse=_average,
    plan=_extrapolate_average_plan,
    page=_EXTRAPOLATE_AVERAGE_PAGE,
    briefs=(
        Brief(
            "what several laws expect together",
            "EXTRAPOLATE AVERAGE OF chin, (loss ~ kaplan(params, tokens)) FROM runs TO params = 1e12, tokens = 2e13",
            "EXTRAPOLATE AVERAGE OF",
        ),
    ),
)


_PREDICT_PAGE = Page(
    purpose=(
        "Puts what a law says beside each row of a table or a query. The law's inputs are computed from the rows' "
        "columns as they were for the fit, so the rows need those columns. A row that cannot be predicted has nulls. "
        "Without `FROM`, the rows are those the law was fitted to, read again."
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


def _predict(reader: TokenReader) -> Predict:
    start = reader.begin("PREDICT")
    law = read_law(reader, "PREDICT chin FROM runs")
    if reader.at("TO"):
        raise reader.error("PREDICT reads rows", hint=f"{TO_USAGE.replace('law', 'chin')} asks for new points")
    source = read_source(reader, "PREDICT") if reader.at("FROM") else None
    if source is not None:
        refuse_parts(reader, source, "PREDICT")
    options = read_options(reader)
    return Predict(start, reader.end, law, source, options)


def _predict_plan(question: Question, node: Predict) -> Plan:
    from isoflop.queries.language.plans.predict import PredictPlan

    return PredictPlan(question, node)


PREDICT = Verb(
    words="PREDICT",
    rule="PREDICT law [ source ] [ options ]",
    node=Predict,
    parse=_predict,
    plan=_predict_plan,
    page=_PREDICT_PAGE,
    briefs=(Brief("put the law's value beside each row", "PREDICT chin FROM runs"),),
)


_RESIDUALS_PAGE = Page(
    purpose=(
        "What a law leaves unexplained of each row; without `FROM`, of the rows it was fitted to, which are read "
        "again. Unusable rows are left out and counted. Residuals have no interval: the options change nothing."
    ),
    sample="RESIDUALS chin",
    columns={
        "columns of the rows": "as they are",
        "predicted_<target>": "what the law says [unit of the target]",
        "residual": "log of measured over predicted [1]; 0.01 is one per cent above the law. Measured less predicted, "
        "in the target's unit, for a law whose residuals are that",
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


def _residuals(reader: TokenReader) -> ResidualsClause:
    start = reader.begin("RESIDUALS")
    law = read_law(reader, "RESIDUALS chin")
    source = read_source(reader, "RESIDUALS") if reader.at("FROM") else None
    if source is not None:
        refuse_parts(reader, source, "RESIDUALS")
    options = read_options(reader)
    return ResidualsClause(start, reader.end, law, source, options)


def _residuals_plan(question: Question, node: ResidualsClause) -> Plan:
    from isoflop.queries.language.plans.predict import ResidualsPlan

    return ResidualsPlan(question, node)


RESIDUALS = Verb(
    words="RESIDUALS",
    rule="RESIDUALS law [ source ] [ options ]",
    node=ResidualsClause,
    parse=_residuals,
    plan=_residuals_plan,
    page=_RESIDUALS_PAGE,
    briefs=(Brief("show what the law leaves unexplained", "RESIDUALS chin FROM runs"),),
)


_FORECAST_PAGE = Page(
    purpose=(
        "`EXTRAPOLATE`, written down before the runs exist. A forecast is never changed; its id is a hash of what it "
        "says, so that asking twice keeps one. Only a saved law forecasts, since it is kept with its version. A "
        "finished run answers it whose inputs differ by no more than `tolerance` of each: runs stop at whole batches."
    ),
    sample="FORECAST chin TO params = 7e10, tokens = 1.4e12",
    columns={
        "columns of TO": "the points, in their own units",
        **PREDICTION,
        "forecast_id": "what it is kept under; null for a point without a prediction",
    },
    options=(*INTERVAL_OPTIONS, "tolerance"),
    defaults={**OF_THE_LAW, "tolerance": "`0.001`"},
    examples=(
        "SELECT params, round(predicted_loss, 3) AS loss FROM (FORECAST chin TO params = 7e10, tokens = 1.4e12)",
    ),
    mistakes=("FORECAST (FIT loss ~ power(flops) FROM runs) TO flops = 1e24",),
)


def _forecast(reader: TokenReader) -> ForecastClause:
    if reader.tokens[reader.index + 1].upper == "AVERAGE" and reader.tokens[reader.index + 2].upper == "OF":
        reader.next()
        hint = "EXTRAPOLATE AVERAGE OF … answers without keeping it"
        raise reader.error("FORECAST keeps what one law says", hint=hint)
    kept = _points(reader, "FORECAST", TO_USAGE.replace("EXTRAPOLATE", "FORECAST"))
    return ForecastClause(kept.start, kept.end, kept)


def _forecast_plan(question: Question, node: ForecastClause) -> Plan:
    from isoflop.queries.language.plans.forecast import ForecastPlan

    return ForecastPlan(question, node)


FORECAST = Verb(
    words="FORECAST",
    changes=True,
    rule="FORECAST saved_law targets [ options ]",
    node=ForecastClause,
    parse=_forecast,
    plan=_forecast_plan,
    page=_FORECAST_PAGE,
    briefs=(
        Brief("the same, kept and scored when the runs land", "FORECAST chin TO params = 1e11, tokens = 20 * params"),
    ),
)


_SHOW_FORECASTS_PAGE = Page(
    purpose=(
        "Scores every forecast whose run has landed since, a finished run with the same inputs to the tolerance of the "
        "forecast, and lists them all. A score is written once; a note names a run that is near a forecast, within a "
        "tenth of each input, without answering it."
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
        "tolerance": "relative distance up to which a run's inputs are its own [1]",
        "made_at": "when, in UTC",
        "run_id": "the run that answers it; null until there is one",
        "observed": "what that run measured [unit of the target]",
        "inside": "whether the interval held it",
        "error": "log of observed over predicted [1]",
        "coverage": "share of the scored forecasts of this law and level that their intervals held [1]",
    },
    examples=("SELECT law, inputs, round(predicted, 3) AS predicted, observed FROM (SHOW FORECASTS LIKE 'chin')",),
)


def _show_forecasts_plan(question: Question, node: Show) -> Plan:
    from isoflop.queries.language.plans.forecast import ShowForecastsPlan

    return ShowForecastsPlan(question, node)


SHOW_FORECASTS = Verb(
    words="SHOW FORECASTS",
    rule="SHOW FORECASTS [ LIKE text ]",
    node=Show,
    parse=lambda reader: read_pattern(reader, "SHOW FORECASTS"),
    plan=_show_forecasts_plan,
    page=_SHOW_FORECASTS_PAGE,
    briefs=(Brief("list the forecasts and what came of them", "SHOW FORECASTS"),),
)
