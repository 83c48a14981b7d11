"""Forecasts: predictions kept before their runs exist, and scored once when they land.

A forecast is never changed. Its id is a hash of what it says, so that asking twice keeps one; the run that
answers it and what that run measured are written once, and a later run with the same inputs changes nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isoflop.queries.language.changing import Change
from isoflop.queries.language.clause_options import ForecastOptions
from isoflop.queries.language.saved_laws import NOW
from isoflop.queries.language.syntax.tokens import quote_name

if TYPE_CHECKING:
    from isoflop.lakehouse import Asked

SAME = 1e-6  # relative distance up to which inputs are those of a forecast made before there was a tolerance
USUAL = ForecastOptions.tolerance
NEAR = 0.1  # relative distance up to which a run may have been meant for a forecast: a tenth is no other size

CAME = "coalesce(finished_at, submitted_at)"  # when a run's value was there; an import keeps its own time, if any
CAME_LATER = "r.came_at > f.made_at"
THERE_BEFORE = "r.finished_at IS NULL AND coalesce(r.came_at <= f.made_at, true)"

_INSERT = f"""
INSERT INTO store.forecasts BY NAME
SELECT * REPLACE (inputs::JSON AS inputs), {NOW} AS made_at FROM _forecasts
WHERE forecast_id NOT IN (SELECT forecast_id FROM store.forecasts)
"""
_OPEN = """
SELECT f.law, f.version, l.inputs, l.options->>'$.target' AS target, l.options->'$.arguments' AS arguments
FROM store.forecasts f
JOIN store.laws l ON lower(l.name) = lower(f.law) AND l.version = f.version AND l.created_at <= f.made_at
WHERE f.run_id IS NULL
GROUP BY ALL
ORDER BY f.law, f.version
"""
_SCORE = """
UPDATE store.forecasts AS f SET run_id = s.run_id, observed = s.observed
FROM _scores s WHERE f.forecast_id = s.forecast_id AND f.run_id IS NULL
"""
_FAR = "list_max(list_transform(offs, lambda off: abs(off)))"
_ANSWERED = f"""
SELECT forecast_id, arg_min(run_id, came_at) AS run_id, arg_min(observed, came_at) AS observed
FROM pairs WHERE len(list_filter(offs, lambda off: off IS NULL)) = 0 AND {_FAR} <= tolerance GROUP BY forecast_id
"""
_NEAREST = f"""
SELECT forecast_id, arg_min(run_id, {_FAR}) AS run_id, arg_min(offs, {_FAR}) AS offs
FROM pairs WHERE len(list_filter(offs, lambda off: off IS NULL)) = 0 AND {_FAR} <= {NEAR} AND {_FAR} > tolerance
GROUP BY forecast_id
"""

_THERE_BEFORE = f"""
SELECT forecast_id, min(run_id) AS run_id
FROM pairs WHERE len(list_filter(offs, lambda off: off IS NULL)) = 0 AND {_FAR} <= tolerance GROUP BY forecast_id
ORDER BY forecast_id
"""
_BY_IMPORT = """
SELECT count(*) AS count, min(f.run_id) AS run_id
FROM store.forecasts f
JOIN (SELECT run_id, max(finished_at) AS finished_at FROM store.attempts GROUP BY run_id) r USING (run_id)
WHERE r.finished_at IS NULL
"""


@dataclass(frozen=True)
class Forecast:
    """What a law says about one point.

    Parameters
    ----------
    law, version : of the saved law
    inputs : the law's inputs by name
    predicted, lower, upper : in the target's unit; the ends are None for a law without resamples
    level : share of new runs that the interval is to hold [1]
    tolerance : relative distance up to which a run's inputs are these
    """

    law: str
    version: int
    inputs: Mapping[str, float]
    predicted: float
    lower: float | None
    upper: float | None
    level: float
    tolerance: float = USUAL

    @property
    def forecast_id(self) -> str:
        """Twelve characters that every forecast of the same has.

        Example
        -------
        >>> Forecast("chin", 1, {"params": 7e9, "tokens": 1.4e11}, 2.2, 2.1, 2.3, 0.95).forecast_id
        'f63gzs7px2le'
        """
        numbers = (self.predicted, self.lower, self.upper, self.level)
        said = [
            self.law.lower(),
            self.version,
            dict(self.inputs),
            *(None if n is None else f"{n:.12g}" for n in numbers),
        ]
        said += [] if self.tolerance == USUAL else [f"{self.tolerance:.12g}"]
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()
        return base64.b32encode(digest)[:12].decode().lower()


def keep_forecasts(change: Change, forecasts: Sequence[Forecast]) -> None:
    """Write forecasts that are not kept yet, in one transaction.

    Raises
    ------
    StatementError : when their law is not what was read any more
    """
    import pyarrow as pa

    rows = {
        forecast.forecast_id: {
            "forecast_id": forecast.forecast_id,
            "law": forecast.law,
            "version": forecast.version,
            "inputs": json.dumps(dict(forecast.inputs)),
            "predicted": forecast.predicted,
            "lower": forecast.lower,
            "upper": forecast.upper,
            "level": forecast.level,
            "tolerance": forecast.tolerance,
        }
        for forecast in forecasts
    }
    number, text = pa.float64(), pa.string()
    schema = pa.schema(
        {
            "forecast_id": text,
            "law": text,
            "version": pa.int32(),
            "inputs": text,
            "predicted": number,
            "lower": number,
            "upper": number,
            "level": number,
            "tolerance": number,
        }
    )
    change.write([(_INSERT, None)], {"_forecasts": pa.Table.from_pylist(list(rows.values()), schema=schema)})


def score_forecasts(lake: Asked) -> int:
    """Write run and measurement beside the forecasts whose runs have finished since, and return how many.

    A run answers a forecast when it finished after the forecast was made and has each of its inputs, to the
    tolerance of the forecast; of several the first to finish counts. Of a run that does not say when it finished, as
    many an imported one, what counts is when it came into the lake. An input that is no column of `runs` is computed
    as the law computed it. A forecast whose law was dropped stays as it is. Where another session is scoring them,
    nothing is written.
    """
    import duckdb
    import pyarrow as pa

    found: list[dict[str, Any]] = []
    for law, pairs in _open_pairs(lake, _ANSWERED):
        found += lake.query(pairs, {"law": law["law"], "version": law["version"]}).to_pylist()
    if found:
        schema = pa.schema({"forecast_id": pa.string(), "run_id": pa.string(), "observed": pa.float64()})
        try:
            lake.write([(_SCORE, None)], {"_scores": pa.Table.from_pylist(found, schema=schema)})
        except duckdb.TransactionException:
            return 0
    return len(found)


@dataclass(frozen=True)
class NearMiss:
    """A run that finished near the inputs of an open forecast, beyond its tolerance.

    Parameters
    ----------
    forecast_id, run_id : the two
    input : that differs most
    off : by how much [1], relative to the forecast
    """

    forecast_id: str
    run_id: str
    input: str
    off: float


def near_misses(lake: Asked) -> list[NearMiss]:
    """Return the nearest run of each open forecast that has one within a tenth of each input."""
    found = []
    for law, pairs in _open_pairs(lake, _NEAREST):
        for row in lake.query(pairs, {"law": law["law"], "version": law["version"]}).to_pylist():
            offs = row["offs"]
            most = max(range(len(offs)), key=lambda position: abs(offs[position]))
            found.append(NearMiss(row["forecast_id"], row["run_id"], law["inputs"][most], offs[most]))
    return sorted(found, key=lambda near: abs(near.off))


def said_near(near: Sequence[NearMiss]) -> str:
    """Return a sentence on runs that are near open forecasts; of several the nearest is named.

    Example
    -------
    >>> said_near([NearMiss("f63gzs7px2le", "r1", "tokens", 0.031)])
    'run r1 is near forecast f63gzs7px2le without answering it: its tokens are 3.1 % more than forecast'
    """
    first = near[0]
    more = f"; {len(near) - 1} more forecasts have one near" if len(near) > 1 else ""
    side = "more" if first.off > 0 else "less"
    said = f"its {first.input} are {100 * abs(first.off):.2g} % {side} than forecast"
    return f"run {first.run_id} is near forecast {first.forecast_id} without answering it: {said}{more}"


def said_untimed(lake: Asked) -> list[str]:
    """Return sentences on runs with the inputs of a forecast that do not say when they finished.

    Those that came into the lake after the forecast answer it; those that were there before do not.
    """
    (row,) = lake.query(_BY_IMPORT).to_pylist()
    said = []
    if count := row["count"]:
        are = "1 forecast is answered by a run" if count == 1 else f"{count} forecasts are answered by runs"
        do, they = ("does", "it") if count == 1 else ("do", "they")
        said.append(
            f"{are} that {do} not say when {they} finished, such as {row['run_id']}: {they} came into the lake after "
            "the forecast was made"
        )
    before = []
    for law, pairs in _open_pairs(lake, _THERE_BEFORE, there_before=True):
        before += lake.query(pairs, {"law": law["law"], "version": law["version"]}).to_pylist()
    if before:
        more = f"; {len(before) - 1} more forecasts have one" if len(before) > 1 else ""
        said.append(
            f"run {before[0]['run_id']} has the inputs of forecast {before[0]['forecast_id']} and does not answer it: "
            f"it was in the lake before the forecast was made, and does not say when it finished{more}"
        )
    return said


def _open_pairs(lake: Asked, ask: str, *, there_before: bool = False) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each law with open forecasts, and a query over pairs of such a forecast and a run that came later.

    A law over columns that runs do not have is left out: no run answers it.

    Parameters
    ----------
    ask : reads `pairs` of forecast_id, tolerance, run_id, came_at, observed and offs, the relative distances
    there_before : whether the pairs are rather those with runs that came before and do not say when they finished
    """
    import duckdb

    columns = {name.lower() for name in lake.query("FROM runs LIMIT 0").column_names}
    for law in lake.query(_OPEN).to_pylist():
        query = f"WITH pairs AS ({_pairs(law, columns, THERE_BEFORE if there_before else CAME_LATER)})\n{ask}"
        try:
            lake.query(f"SELECT 1 FROM ({query}) LIMIT 0", {"law": law["law"], "version": law["version"]})
        except (duckdb.BinderException, duckdb.ConversionException):
            continue
        yield law, query


def _pairs(law: Mapping[str, Any], columns: set[str], when: str) -> str:
    """Return a query over pairs of an open forecast `f` and a finished run `r` for which `when` holds."""
    values, offs = [], []
    for position, (name, argument) in enumerate(zip(law["inputs"], json.loads(law["arguments"]), strict=True)):
        value = quote_name(name) if name.lower() in columns else argument
        values.append(f"CAST(({value}) AS DOUBLE) AS x{position}")
        path = f"$.{quote_name(name)}".replace("'", "''")
        given = f"CAST(f.inputs->>'{path}' AS DOUBLE)"
        offs.append(f"CASE WHEN r.x{position} = {given} THEN 0 ELSE (r.x{position} - {given}) / abs({given}) END")
    return f"""
        SELECT f.forecast_id, coalesce(f.tolerance, {SAME}) AS tolerance, r.run_id, r.came_at, r.observed,
               [{", ".join(offs)}] AS offs
        FROM store.forecasts f
        JOIN (SELECT run_id, finished_at, {CAME} AS came_at, CAST(({law["target"]}) AS DOUBLE) AS observed,
                     {", ".join(values)}
              FROM runs WHERE status = 'finished') r
          ON {when} AND isfinite(r.observed)
        WHERE f.run_id IS NULL AND f.law = $law AND f.version = $version
    """
