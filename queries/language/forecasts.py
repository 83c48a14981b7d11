"""Forecasts: predictions kept before their runs exist, and scored once when they land.

A forecast is never changed. Its id is a hash of what it says, so that asking twice keeps one; the run that
answers it and what that run measured are written once, and a later run with the same inputs changes nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isoflop.queries.language.saved_laws import NOW
from isoflop.queries.language.syntax.tokens import quote_name

if TYPE_CHECKING:
    from isoflop.lakehouse import Asked

SAME = 1e-6  # relative distance up to which an input of a run is the one that was forecast

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


@dataclass(frozen=True)
class Forecast:
    """What a law says about one point.

    Parameters
    ----------
    law, version : of the saved law
    inputs : the law's inputs by name
    predicted, lower, upper : in the target's unit; the ends are None for a law without resamples
    level : share of new runs that the interval is to hold [1]
    """

    law: str
    version: int
    inputs: Mapping[str, float]
    predicted: float
    lower: float | None
    upper: float | None
    level: float

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
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()
        return base64.b32encode(digest)[:12].decode().lower()


def keep_forecasts(lake: Asked, forecasts: Sequence[Forecast]) -> None:
    """Write forecasts that are not kept yet, in one transaction."""
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
        }
    )
    lake.write([(_INSERT, None)], {"_forecasts": pa.Table.from_pylist(list(rows.values()), schema=schema)})


def score_forecasts(lake: Asked) -> int:
    """Write run and measurement beside the forecasts whose runs have finished since, and return how many.

    A run answers a forecast when it finished after the forecast was made and has each of its inputs, to one part
    in a million; of several the first to finish counts. An input that is no column of `runs` is computed as the
    law computed it. A forecast whose law was dropped stays as it is.
    """
    import pyarrow as pa

    columns = {name.lower() for name in lake.query("FROM runs LIMIT 0").column_names}
    found: list[dict[str, Any]] = []
    for law in lake.query(_OPEN).to_pylist():
        found += _answered(lake, law, columns)
    if found:
        schema = pa.schema({"forecast_id": pa.string(), "run_id": pa.string(), "observed": pa.float64()})
        lake.write([(_SCORE, None)], {"_scores": pa.Table.from_pylist(found, schema=schema)})
    return len(found)


def _answered(lake: Asked, law: Mapping[str, Any], columns: set[str]) -> list[dict[str, Any]]:
    """Return forecast, run and measurement for each open forecast of a law that a run answers."""
    import duckdb

    same, values = [], []
    for position, (name, argument) in enumerate(zip(law["inputs"], json.loads(law["arguments"]), strict=True)):
        value = quote_name(name) if name.lower() in columns else argument
        values.append(f"CAST(({value}) AS DOUBLE) AS x{position}")
        path = f"$.{quote_name(name)}".replace("'", "''")
        given = f"CAST(f.inputs->>'{path}' AS DOUBLE)"
        same.append(f"abs(r.x{position} - {given}) <= {SAME} * abs({given})")
    text = f"""
        SELECT f.forecast_id, arg_min(r.run_id, r.finished_at) AS run_id, arg_min(r.observed, r.finished_at) AS observed
        FROM store.forecasts f
        JOIN (SELECT run_id, finished_at, CAST(({law["target"]}) AS DOUBLE) AS observed, {", ".join(values)}
              FROM runs WHERE status = 'finished') r
          ON r.finished_at > f.made_at AND isfinite(r.observed) AND {" AND ".join(same)}
        WHERE f.run_id IS NULL AND f.law = $law AND f.version = $version
        GROUP BY f.forecast_id
    """
    try:
        rows: list[dict[str, Any]] = lake.query(text, {"law": law["law"], "version": law["version"]}).to_pylist()
    except (duckdb.BinderException, duckdb.ConversionException):
        return []  # a law over columns that runs do not have is answered by none of them
    return rows
