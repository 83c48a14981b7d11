"""FORECAST and SHOW FORECASTS: predictions that are kept before the runs exist, and what came of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from isoflop.queries.language.changing import Change
from isoflop.queries.language.forecasts import Forecast as Kept
from isoflop.queries.language.forecasts import keep_forecasts, near_misses, said_near, said_untimed
from isoflop.queries.language.listing import Listing
from isoflop.queries.language.numbers import numbers
from isoflop.queries.language.options import read_forecast_options
from isoflop.queries.language.points import Extrapolation
from isoflop.queries.language.prediction import ChosenLaws, beside
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord
from isoflop.queries.language.syntax.nodes import FitClause, ForecastClause, Name, Show, Span
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa

_FORECASTS = """
SELECT forecast_id, law, version, inputs, predicted, lower, upper, level, tolerance, made_at, run_id, observed,
       inside, error, coverage
FROM forecasts
WHERE $pattern IS NULL OR law ILIKE $pattern
ORDER BY made_at, law, forecast_id
"""


class ForecastPlan:
    """A saved law, and the points whose predictions are kept.

    Raises
    ------
    StatementError : when the law is not a saved one, or for what EXTRAPOLATE raises

    Example
    -------
    `FORECAST chin TO params = 7e9, tokens = 20 * params` answers, `ratio` left out,

        params  tokens   predicted_loss  lower    upper    level  interval    in_support  forecast_id
        7e+09   1.4e+11  2.19268         2.18415  2.20052  0.95   prediction  true        nmt4so64vda2
    """

    def __init__(self, question: Question, node: ForecastClause) -> None:
        self._question, self._node = question, node.extrapolate
        law = node.extrapolate.law
        if isinstance(law, FitClause):
            hint = "CREATE LAW chin AS FIT …; FORECAST chin TO …"
            raise question.error("Binder", "a forecast is made with a saved law, which is kept with it", law, hint)
        self._laws = ChosenLaws(question, law)
        if self._laws.saved is not None and self._laws.saved.is_published:
            hint = f"CREATE LAW paper AS {law.text}; FORECAST paper TO …"
            raise question.error(
                "Binder", "a forecast is made with a law of the lake, which is kept with it", law, hint
            )
        self._options = read_forecast_options(question, node.extrapolate.options, "FORECAST")
        self._points = Extrapolation(question, node.extrapolate, self._laws, "FORECAST", self._options)

    def steps(self) -> Steps:
        """Return the law, the points, and what is kept."""
        keep = ("keep", f"each point in forecasts, {self._when}")
        return [*self._points.steps(), keep]

    @property
    def _when(self) -> str:
        return f"scored once a run with its inputs has finished, to {self._options.tolerance:g} of each"

    def run(self) -> pa.Table:
        """Return what EXTRAPOLATE returns, kept under the ids in a further column `forecast_id`.

        Points without a prediction are not kept and have no id.
        """
        import pyarrow as pa

        question, place = self._question, self._node.target
        keys, records = self._laws.read()
        table = self._points.predict(keys, records)
        kept = _forecasts(question, self._points.columns, records[0], table, place, self._options.tolerance)
        if question.services.keeps_forecasts:
            law = self._node.law
            assert isinstance(law, Name)
            change = Change(question, law, f"law '{records[0].name}'").needs_as_read(records[0])
            keep_forecasts(change, [forecast for forecast in kept if forecast is not None])
            question.note(f"kept; each is {self._when}, when SHOW FORECASTS is asked")
        ids = pa.table({"forecast_id": pa.array([forecast and forecast.forecast_id for forecast in kept], pa.string())})
        return beside(question, table, ids, place, "FORECAST")


def _forecasts(
    question: Question,
    given: Sequence[pa.ChunkedArray],
    record: LawRecord,
    table: pa.Table,
    place: Span,
    tolerance: float,
) -> list[Kept | None]:
    """Return what is to be kept of each row; None for a row without a prediction."""
    columns = [
        numbers(question, column, input_.name, place).tolist()
        for input_, column in zip(record.law.inputs, given, strict=True)
    ]
    found: list[Kept | None] = []
    for position, row in enumerate(table.select([f"predicted_{record.target}", "lower", "upper", "level"]).to_pylist()):
        inputs = {name: column[position] for name, column in zip(record.inputs, columns, strict=True)}
        predicted = row[f"predicted_{record.target}"]
        if predicted is None or not all(math.isfinite(value) for value in inputs.values()):
            found.append(None)
            continue
        ends = (row["lower"], row["upper"], row["level"])
        found.append(Kept(str(record.name), record.version or 1, inputs, predicted, *ends, tolerance))
    return found


class ShowForecastsPlan(Listing):
    """All forecasts; those whose runs have landed were scored before.

    `inside` says whether the interval held the run, `error` how far the run was from the prediction, as the logarithm
    of observed over predicted, and `coverage` which share of the scored forecasts of this law and level held.
    """

    def __init__(self, question: Question, node: Show) -> None:
        super().__init__(question, node, "every forecast, scored where its run has landed", _FORECASTS)

    def run(self) -> pa.Table:
        """Return the forecasts."""
        near = near_misses(self._question.lake)
        if near:
            self._question.note(said_near(near))
        for sentence in said_untimed(self._question.lake):
            self._question.note(sentence)
        if self._question.lake.is_read_only:
            self._question.note("the lake is open for reading only: runs that landed since are not scored now")
        return super().run()
