"""FORECAST and SHOW FORECASTS: predictions that are kept before the runs exist, and what came of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoflop.queries.language.forecasts import Forecast as Kept
from isoflop.queries.language.forecasts import keep_forecasts
from isoflop.queries.language.plans.extrapolate import extrapolated, inputs_among
from isoflop.queries.language.plans.prediction import beside, laws_of
from isoflop.queries.language.plans.show import pattern_of
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord
from isoflop.queries.language.rows import numbers
from isoflop.queries.language.syntax.nodes import Fit, Forecast, Show
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa

_FORECASTS = """
SELECT forecast_id, law, version, inputs, predicted, lower, upper, level, made_at, run_id, observed,
       inside, error, coverage
FROM forecasts
WHERE $pattern IS NULL OR law ILIKE $pattern
ORDER BY made_at, law, forecast_id
"""


def forecast(question: Question, node: Forecast) -> pa.Table:
    """Return what EXTRAPOLATE returns, kept under the ids in a further column `forecast_id`.

    Points without a prediction are not kept and have no id.

    Raises
    ------
    StatementError : when the law is not a saved one, or for what EXTRAPOLATE raises

    Example
    -------
    `FORECAST chin TO params = 7e9, tokens = 20 * params` answers, `ratio` left out,

        params  tokens   predicted_loss  lower    upper    level  interval    in_support  forecast_id
        7e+09   1.4e+11  2.19268         2.18415  2.20052  0.95   prediction  true        nmt4so64vda2
    """
    import pyarrow as pa

    inner = node.extrapolate
    if isinstance(inner.law, Fit):
        hint = "CREATE LAW chin AS FIT …; FORECAST chin TO …"
        raise question.error("Binder", "a forecast is made with a saved law, which is kept with it", inner.law, hint)
    keys, records = laws_of(question, inner.law)
    table = extrapolated(question, inner, keys, records, "FORECAST")
    kept = _forecasts(question, node, records[0], table)
    if question.keeps_forecasts:
        keep_forecasts(question.lake, [one for one in kept if one is not None])
        question.note("kept; SHOW FORECASTS scores each once a run with its inputs has finished")
    ids = pa.table({"forecast_id": pa.array([one and one.forecast_id for one in kept], pa.string())})
    return beside(question, table, ids, inner.target, "FORECAST")


def _forecasts(question: Question, node: Forecast, record: LawRecord, table: pa.Table) -> list[Kept | None]:
    """Return what is to be kept of each row; None for a row without a prediction."""
    inner = node.extrapolate
    given = inputs_among(question, inner, record, table)
    columns = [
        numbers(question, column, one.name, inner.target).tolist()
        for one, column in zip(record.law.inputs, given, strict=True)
    ]
    found: list[Kept | None] = []
    for position, row in enumerate(table.select([f"predicted_{record.target}", "lower", "upper", "level"]).to_pylist()):
        inputs = {name: column[position] for name, column in zip(record.inputs, columns, strict=True)}
        predicted = row[f"predicted_{record.target}"]
        if predicted is None or not all(math.isfinite(value) for value in inputs.values()):
            found.append(None)
            continue
        version = record.version or 1
        found.append(Kept(str(record.name), version, inputs, predicted, row["lower"], row["upper"], row["level"]))
    return found


def show_forecasts(question: Question, node: Show) -> pa.Table:
    """Return all forecasts; those whose runs have landed were scored before.

    `inside` says whether the interval held the run, `error` how far the run was from the prediction, as the logarithm
    of observed over predicted, and `coverage` which share of the scored forecasts of this law and level held.
    """
    if question.lake.is_read_only:
        question.note("the lake is open for reading only: runs that landed since are not scored now")
    return question.lake.query(_FORECASTS, {"pattern": pattern_of(question, node)})


@dataclass(frozen=True)
class ForecastPlan:
    """What forecast is to do."""

    question: Question
    node: Forecast

    def steps(self) -> Steps:
        """Return what EXPLAIN shows."""
        from isoflop.queries.language.plans.explain import explained

        return explained(self.question, self.node)

    def run(self) -> pa.Table:
        """Do it."""
        return forecast(self.question, self.node)


@dataclass(frozen=True)
class ShowForecastsPlan:
    """What show_forecasts is to do."""

    question: Question
    node: Show

    def steps(self) -> Steps:
        """Return what EXPLAIN shows."""
        from isoflop.queries.language.plans.explain import explained

        return explained(self.question, self.node)

    def run(self) -> pa.Table:
        """Do it."""
        return show_forecasts(self.question, self.node)
