"""The points of many curves as columns: sorted, counted and hashed without a Python object for each.

A point is a run's metric at a step. Run and metric are numbers into two lists of names; `seconds` is
NaN where the time is not known. Everything here takes time linear in the points, or a sort.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Codes = NDArray[np.int32]
Steps = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """P points of curves.

    Parameters
    ----------
    run_ids, metrics : the names that `run` and `metric` count in
    run, metric : (P,) int32, positions in `run_ids` and `metrics`
    step : (P,) int64
    value : (P,) float64; NaN and infinities are values
    seconds : (P,) float64 [s] since the run started, NaN where unknown
    """

    run_ids: tuple[str, ...]
    metrics: tuple[str, ...]
    run: Codes
    metric: Codes
    step: Steps
    value: Values
    seconds: Values

    def __len__(self) -> int:
        return len(self.step)

    @classmethod
    def none(cls) -> Points:
        """Return no points."""
        return PointColumns().points()

    def sorted(self) -> Points:
        """Return the points by run, metric name and step; equal steps by time and value, so that the order is one."""
        ranks = _ranks(self.metrics)
        metric = ranks[self.metric]
        names = tuple(sorted(self.metrics))
        code = self.run.astype(np.int64) * max(1, len(names)) + metric
        if _increases(code, self.step):
            return replace(self, metrics=names, metric=metric)
        order = np.lexsort((self.step, code))
        tied = (np.diff(code[order]) == 0) & (np.diff(self.step[order]) == 0)
        if tied.any():
            order = np.lexsort((self.value, self.seconds, self.step, code))
        return replace(self.taken(order), metrics=names, metric=metric[order])

    def with_one_value_a_step(self, metrics: Sequence[str]) -> Points:
        """Return sorted points with only the last value of each step for these metrics, which are axes of curves."""
        codes = [code for code, name in enumerate(self.metrics) if name in metrics]
        again = self._same_place() & np.isin(self.metric[:-1], codes)
        return self.taken(~np.append(again, False)) if again.any() else self

    def without_runs(self, run_ids: Collection[str]) -> Points:
        """Return the points of all other runs."""
        keeps = np.array([run_id not in run_ids for run_id in self.run_ids], dtype=bool)
        return self.taken(keeps[self.run]) if len(self) and not keeps.all() else self

    def sizes(self, run_ids: Sequence[str]) -> dict[str, int]:
        """Return how many points each of these runs has."""
        counts = dict(zip(self.run_ids, np.bincount(self.run, minlength=len(self.run_ids)).tolist(), strict=True))
        return {run_id: counts.get(run_id, 0) for run_id in run_ids}

    def called(self, names: Mapping[str, str]) -> Points:
        """Return the points with other ids of their runs, where `names` has one."""
        return replace(self, run_ids=tuple(names.get(run_id, run_id) for run_id in self.run_ids))

    def has_within(self, part: str, whole: str) -> bool:
        """Return whether every point of the run `part` is one of the run `whole`, as often as it is there."""
        few, many = (self._counted(run_id) for run_id in (part, whole))
        return all(many.get(point, 0) >= count for point, count in few.items())

    def _counted(self, run_id: str) -> Counter[bytes]:
        """Return how often each point of a run is there, whatever its time."""
        if run_id not in self.run_ids:
            return Counter()
        rows = np.flatnonzero(self.run == self.run_ids.index(run_id))
        bits = _one_nan(self.value[rows]).view(np.int64)
        columns = np.stack([self.metric[rows].astype(np.int64), self.step[rows], bits], axis=1)
        return Counter(map(bytes, np.ascontiguousarray(columns)))

    def _same_place(self) -> NDArray[np.bool_]:
        """Return (P - 1,) whether each point and the next are of one run, metric and step."""
        same: NDArray[np.bool_] = (np.diff(self.run) == 0) & (np.diff(self.metric) == 0) & (np.diff(self.step) == 0)
        return same

    def taken(self, chosen: NDArray[Any]) -> Points:
        """Return the points at these positions, or where this mask is true."""
        return replace(
            self,
            run=self.run[chosen],
            metric=self.metric[chosen],
            step=self.step[chosen],
            value=self.value[chosen],
            seconds=self.seconds[chosen],
        )

    def of_runs(self, run_ids: Sequence[str]) -> Points:
        """Return the points of these runs only."""
        wanted = set(run_ids)
        if wanted.issuperset(self.run_ids):
            return self
        keeps = np.array([run_id in wanted for run_id in self.run_ids], dtype=bool)
        return self.taken(keeps[self.run])

    def renamed(self, ours: str, theirs: str) -> tuple[Points, int]:
        """Call the metric `theirs` `ours` in each run that has no `ours` yet; also returns in how many runs."""
        if theirs not in self.metrics:
            return self, 0
        metrics = self.metrics if ours in self.metrics else (*self.metrics, ours)
        target, origin = metrics.index(ours), metrics.index(theirs)
        has_ours = np.zeros(len(self.run_ids), dtype=bool)
        has_ours[self.run[self.metric == target]] = True
        moves = (self.metric == origin) & ~has_ours[self.run]
        count = len(np.unique(self.run[moves]))
        if not count:
            return self, 0
        return replace(self, metrics=metrics, metric=np.where(moves, target, self.metric).astype(np.int32)), count

    def curves(self) -> Iterator[tuple[str, str, slice]]:
        """Yield (run id, metric, rows) of each curve of sorted points."""
        if not len(self):
            return
        changes = (np.diff(self.run) != 0) | (np.diff(self.metric) != 0)
        edges = [0, *(np.flatnonzero(changes) + 1).tolist(), len(self)]
        for start, end in pairwise(edges):
            yield self.run_ids[self.run[start]], self.metrics[self.metric[start]], slice(start, end)

    def lasts(self) -> dict[str, dict[str, tuple[int, float, float]]]:
        """Return run id -> metric -> (last step, its value, its seconds) of sorted points."""
        found: dict[str, dict[str, tuple[int, float, float]]] = {}
        for run_id, metric, rows in self.curves():
            at = rows.stop - 1
            last = int(self.step[at]), float(self.value[at]), float(self.seconds[at])
            found.setdefault(run_id, {})[metric] = last
        return found

    def hashes(self) -> dict[str, str]:
        """Return run id -> SHA-256 of the run's sorted points; the same points hash the same on every machine."""
        little = [self.step.astype("<i8"), _one_nan(self.value).astype("<f8"), _one_nan(self.seconds).astype("<f8")]
        found: dict[str, Any] = {}
        for run_id, metric, rows in self.curves():
            hasher = found.setdefault(run_id, hashlib.sha256())
            hasher.update(f"{metric}\0{rows.stop - rows.start}\0".encode())
            for column in little:
                hasher.update(column[rows].tobytes())
        return {run_id: hasher.hexdigest() for run_id, hasher in found.items()}

    def arrow(self, attempts: Mapping[str, int], *, is_sent: bool = False) -> pa.Table:
        """Return the rows of `store.metrics`, with the attempt that each run's points belong to.

        A table that is sent to another process has its names as plain text: the names of an encoded
        column arrive in buffers that are not aligned, and Arrow complains of each.
        """
        import pyarrow as pa

        attempt = np.array([attempts.get(run_id, 0) for run_id in self.run_ids], dtype=np.int32)
        names = {
            "run_id": pa.DictionaryArray.from_arrays(self.run, pa.array(self.run_ids, pa.string())),
            "metric": pa.DictionaryArray.from_arrays(self.metric, pa.array(self.metrics, pa.string())),
        }
        return pa.table(
            {
                **{name: column.dictionary_decode() if is_sent else column for name, column in names.items()},
                "attempt": pa.array(attempt[self.run] if len(self) else attempt[:0]),
                "step": pa.array(self.step),
                "value": pa.array(self.value),
                "seconds": pa.array(self.seconds, mask=np.isnan(self.seconds)),
            }
        )


class PointColumns:
    """Gathers curves, each as whole columns, into `Points`."""

    def __init__(self) -> None:
        self._runs: dict[str, int] = {}
        self._metrics: dict[str, int] = {}
        self._parts: list[tuple[Codes, Codes, Steps, Values, Values]] = []

    def add(
        self,
        run_id: str,
        metric: str,
        steps: Sequence[int] | NDArray[Any],
        values: Sequence[float] | NDArray[Any],
        seconds: Sequence[float] | NDArray[Any] | None = None,
    ) -> None:
        """Add S points of one curve; `seconds` may hold NaN, None says that no time is known."""
        step = np.asarray(steps, dtype=np.int64)
        value = np.asarray(values, dtype=np.float64)
        at = np.full(len(step), np.nan) if seconds is None else np.asarray(seconds, dtype=np.float64)
        run = np.full(len(step), self._runs.setdefault(run_id, len(self._runs)), dtype=np.int32)
        code = np.full(len(step), self._metrics.setdefault(metric, len(self._metrics)), dtype=np.int32)
        self._parts.append((run, code, step, value, at))

    def points(self) -> Points:
        """Return everything added so far."""
        run, metric, step, value, seconds = zip(*self._parts, strict=True) if self._parts else ((), (), (), (), ())
        return Points(
            tuple(self._runs),
            tuple(self._metrics),
            np.concatenate([np.empty(0, dtype=np.int32), *run]),
            np.concatenate([np.empty(0, dtype=np.int32), *metric]),
            np.concatenate([np.empty(0, dtype=np.int64), *step]),
            np.concatenate([np.empty(0, dtype=np.float64), *value]),
            np.concatenate([np.empty(0, dtype=np.float64), *seconds]),
        )


def joined(parts: Sequence[Points]) -> Points:
    """Return the points of several stores as one; runs and metrics are known by their names."""
    run_ids = tuple(dict.fromkeys(run_id for part in parts for run_id in part.run_ids))
    metrics = tuple(dict.fromkeys(metric for part in parts for metric in part.metrics))
    run_at = {run_id: place for place, run_id in enumerate(run_ids)}
    metric_at = {metric: place for place, metric in enumerate(metrics)}
    runs = [np.array([run_at[run_id] for run_id in part.run_ids], dtype=np.int32)[part.run] for part in parts]
    codes = [np.array([metric_at[metric] for metric in part.metrics], dtype=np.int32)[part.metric] for part in parts]
    return Points(
        run_ids,
        metrics,
        np.concatenate(runs),
        np.concatenate(codes),
        np.concatenate([part.step for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.seconds for part in parts]),
    )


def _ranks(names: Sequence[str]) -> Codes:
    """Return the place of each name in their sorted order."""
    place = {name: rank for rank, name in enumerate(sorted(names))}
    return np.array([place[name] for name in names], dtype=np.int32)


def _increases(code: NDArray[np.int64], step: Steps) -> bool:
    """Return whether each point comes strictly after the one before it."""
    if len(code) < 2:
        return True
    later = np.diff(code) > 0
    later |= (np.diff(code) == 0) & (np.diff(step) > 0)
    return bool(later.all())


def _one_nan(values: Values) -> Values:
    """Return the values with every NaN written with the same bits."""
    return np.where(np.isnan(values), np.nan, values)
