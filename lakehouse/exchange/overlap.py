"""How much of the curves that an import found the lake has already, counted point by point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.exchange.points import Points

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse

# Equal points are told apart by how many there are; of each the stored attempt has one point less to add.
NTH = "row_number() OVER (PARTITION BY pair, metric, step, value ORDER BY step) AS nth"
KNOWN = f"""
SELECT f.position
FROM (SELECT position, pair, metric::VARCHAR AS metric, step, value, {NTH} FROM _found) f
SEMI JOIN (SELECT pair, metric, step, value, {NTH} FROM metrics JOIN _pairs USING (run_id, attempt)) s
    USING (pair, metric, step, value, nth)"""
STORED = "SELECT pair, count(*) AS points FROM metrics JOIN _pairs USING (run_id, attempt) GROUP BY pair"


@dataclass(frozen=True)
class Overlap:
    """Points that a found run and a stored attempt have in common, and how many each has.

    Parameters
    ----------
    known : positions among the found points of those that are stored
    """

    known: NDArray[np.int64]
    found: int
    stored: int

    @property
    def is_grown(self) -> bool:
        """Whether every stored point is found again, and there is one."""
        return 0 < self.stored == len(self.known)

    @property
    def is_part(self) -> bool:
        """Whether every found point is stored, and there is one."""
        return 0 < self.found == len(self.known)


def overlaps(lake: Lakehouse, points: Points, pairs: Sequence[tuple[str, str, int]]) -> list[Overlap]:
    """Return the overlap of each pair: a run id of `points`, which are sorted, and a run id and attempt of the lake."""
    import pyarrow as pa

    if not pairs:
        return []
    code = {run_id: number for number, run_id in enumerate(points.run_ids)}
    places = [_rows(points, code.get(found)) for found, _, _ in pairs]
    sizes = [len(rows) for rows in places]
    at = np.concatenate(places)
    found = points.taken(at)
    relations = {
        "_pairs": pa.table(
            {
                "pair": pa.array(range(len(pairs)), pa.int32()),
                "run_id": pa.array([stored for _, stored, _ in pairs], pa.string()),
                "attempt": pa.array([attempt for _, _, attempt in pairs], pa.int32()),
            }
        ),
        "_found": found.arrow({}, is_sent=not lake.is_owner)
        .select(["metric", "step", "value"])
        .append_column("pair", pa.array(np.repeat(np.arange(len(pairs), dtype=np.int32), sizes)))
        .append_column("position", pa.array(np.arange(len(at)))),
    }
    known = np.sort(lake.query(KNOWN, None, relations)["position"].to_numpy())
    stored = {row["pair"]: int(row["points"]) for row in lake.query(STORED, None, relations).to_pylist()}
    edges = np.searchsorted(known, np.cumsum([0, *sizes]))
    return [
        Overlap(at[known[edges[pair] : edges[pair + 1]]], sizes[pair], stored.get(pair, 0))
        for pair in range(len(pairs))
    ]


def _rows(points: Points, code: int | None) -> NDArray[Any]:
    """Return the positions of a run's points in sorted points."""
    if code is None:
        return np.empty(0, dtype=np.int64)
    start, end = np.searchsorted(points.run, [code, code + 1])
    return np.arange(start, end)
