"""The runs and curves that an export to another tracker writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.exchange.landing import MEASURED
from isoflop.lakehouse.models.counts import COUNTS
from isoflop.lakehouse.schema.views import RESOLVED

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse

RUNS_AT_ONCE = 200  # whose points are in memory together

VALID_POINTS = f"""
SELECT run_id, metric, step, value, seconds FROM ({RESOLVED}) SEMI JOIN _ids USING (run_id)
ORDER BY run_id, metric, step, seconds"""


@dataclass(frozen=True)
class Curve:
    """A metric of a run: steps, values, seconds since the run started (NaN where unknown)."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    seconds: NDArray[np.float64]


@dataclass(frozen=True)
class ExportedRun:
    """A run as it leaves: the columns of `runs`, its settings, and its curves by metric."""

    row: Mapping[str, Any]
    curves: Mapping[str, Curve] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """The identity of the run."""
        return str(self.row["run_id"])

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting and count that is known, by our names."""
        config: dict[str, Any] = json.loads(self.row["config"] or "{}")
        counts = {name: self.row[name] for name in COUNTS}
        both = {**config, **counts, "seed": self.row["seed"]}
        return {name: value for name, value in both.items() if value is not None}

    @property
    def measured(self) -> dict[str, float]:
        """What the run ended with, by our names."""
        return {name: float(self.row[name]) for name in MEASURED if self.row.get(name) is not None}

    @property
    def started(self) -> float | None:
        """When it started [s since 1970]; None where the lake does not know."""
        return seconds_since_1970(self.row["started_at"])


def exported_runs(lake: Lakehouse, run_ids: Sequence[str]) -> Iterator[ExportedRun]:
    """Yield the runs of these ids with their curves, a few hundred runs' points in memory at a time."""
    import pyarrow as pa

    for start in range(0, len(run_ids), RUNS_AT_ONCE):
        ids = pa.table({"run_id": pa.array(run_ids[start : start + RUNS_AT_ONCE], pa.string())})
        rows = lake.query("SELECT r.* FROM runs r SEMI JOIN _ids USING (run_id)", None, {"_ids": ids}).to_pylist()
        points = lake.query(VALID_POINTS, None, {"_ids": ids})
        columns = [points[name].to_numpy() for name in ("step", "value", "seconds")]
        curves: dict[str, dict[str, Curve]] = {}
        at = 0
        keys = zip(points["run_id"].to_pylist(), points["metric"].to_pylist(), strict=True)
        for (run_id, metric), group in groupby(keys):
            end = at + sum(1 for _ in group)
            curves.setdefault(run_id, {})[metric] = Curve(*(column[at:end] for column in columns))
            at = end
        by_id = {row["run_id"]: row for row in rows}
        for run_id in run_ids[start : start + RUNS_AT_ONCE]:
            if run_id in by_id:
                yield ExportedRun(by_id[run_id], curves.get(run_id, {}))


def seconds_since_1970(time: datetime | None) -> float | None:
    """Return a time of the lake, UTC without a zone, as seconds since 1970."""
    return None if time is None else time.replace(tzinfo=UTC).timestamp()
