"""How long a run takes, before it has trained: by a law of step times, else by what this machine was measured to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse
    from isoflop.lakehouse.runs.records import RunRecord

TIME_LAW = "step_time"
FIT_TIME_LAW = f"FIT step_seconds ~ {TIME_LAW}(flops / steps, memcpy_bytes / steps, depth) FROM runs"
FEWEST_STEPS = 5  # shapes of a precision that were calibrated; the law has four prices
ANY = ""  # precision of a law that was fitted without regard to it


@dataclass(frozen=True)
class StepTime:
    """What a training step costs.

    Parameters
    ----------
    prices : by precision: coefficient of the law `step_time` to price
    said : where the prices are from
    """

    prices: Mapping[str, Mapping[str, float]]
    said: str

    def seconds(self, record: RunRecord, depth: int | None) -> float | None:
        """Return the predicted time of a run of so many layers [s], None where the law's inputs are not known."""
        import numpy as np

        from isoflop.queries.laws.step_time import STEP_TIME

        found = self.prices.get(str(record.config.get("precision"))) or self.prices.get(ANY)
        if depth is None or not record.steps or record.flops is None or found is None:
            return None
        given = {
            "flops": record.flops / record.steps,
            "memcpy_bytes": (record.memcpy_bytes or 0.0) / record.steps,
            "depth": depth,
        }
        prices = np.array([found.get(price.name, 0.0) for price in STEP_TIME.coefficients])
        inputs = np.array([[given[column.name] for column in STEP_TIME.inputs]])
        return float(record.steps * STEP_TIME.predict(prices, inputs)[0])


def known_step_time(lake: Lakehouse) -> StepTime | None:
    """Return what a lake knows of step times here: its newest law but of another machine, else a calibration."""
    return _fitted(lake) or _calibrated(lake)


def _fitted(lake: Lakehouse) -> StepTime | None:
    from isoflop.lakehouse.runs.provenance import host_name

    rows = lake.query(
        "SELECT name, source, coefficients FROM laws WHERE form = ? AND status = 'converged' ORDER BY created_at DESC",
        [TIME_LAW],
    ).to_pylist()
    for row in rows:
        hosts = _hosts(lake, row["source"])
        if hosts is not None and host_name() not in hosts:
            continue
        whose = ", fitted to runs of machines that are not known" if hosts is None else ""
        prices = {each["coefficient"]: each["estimate"] for each in row["coefficients"]}
        return StepTime({ANY: prices}, f"the law '{row['name']}' of this lake{whose}")
    return None


def _hosts(lake: Lakehouse, source: str | None) -> set[str] | None:
    """Return the machines of the rows that a law was fitted to, None where they do not say."""
    import duckdb

    from isoflop.lakehouse.errors import IsoflopError

    if not source:
        return None
    try:
        rows = lake.query(f"SELECT DISTINCT host {source}").to_pylist()
    except (duckdb.Error, IsoflopError):  # a source with clauses of the language, or without such a column
        return None
    return {row["host"] for row in rows if row["host"] is not None} or None


def _calibrated(lake: Lakehouse) -> StepTime | None:
    from isoflop.lakehouse.runs.calibrations import newest_calibration
    from isoflop.lakehouse.runs.provenance import host_name

    newest = newest_calibration(lake)
    if newest is None:
        return None
    which = "FROM calibrations WHERE host = $host AND measured_at = $measured_at AND quantity = 'step'"
    given = {"host": host_name(), "measured_at": newest["measured_at"]}
    counts = lake.query(f"SELECT dtype, count(*) AS n {which} GROUP BY dtype", given).to_pylist()
    prices = {}
    for row in counts:
        if row["n"] < FEWEST_STEPS:
            continue
        rows = f"(SELECT flops, memcpy_bytes, depth, value {which} AND dtype = $dtype)"
        fit = f"FIT value ~ {TIME_LAW}(flops, memcpy_bytes, depth) FROM {rows} WITH (resamples = 0)"
        [found] = lake.sql(fit, {**given, "dtype": row["dtype"]}).table.to_pylist()
        prices[row["dtype"]] = found["coefficients"]
    threads = f"{newest['threads']} thread{'s' * (newest['threads'] > 1)}"
    said = f"the calibration of {newest['measured_at']:%Y-%m-%d %H:%M} on this machine, {newest['device']}, {threads}"
    return StepTime(prices, said) if prices else None
