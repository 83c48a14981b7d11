"""Write what an import found into the tables in one transaction, each run exactly once.

A run that the lake has with the same content is left alone; one whose curves have only grown since goes
on with the points that are new; one whose content differs otherwise gets a new attempt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from isoflop.lakehouse.errors import RecordError
from isoflop.lakehouse.exchange.identity import Known, identified
from isoflop.lakehouse.exchange.landing import MEASURED, PLACES, FoundRun, Landed, Landing
from isoflop.lakehouse.exchange.naming import counted
from isoflop.lakehouse.exchange.overlap import overlaps
from isoflop.lakehouse.exchange.points import Points
from isoflop.lakehouse.exchange.replacing import GONE, REMOVE, Gone, Replacing, left_behind, named, namesakes
from isoflop.lakehouse.ingest.finals import finals_statements
from isoflop.lakehouse.runs.provenance import host_name
from isoflop.lakehouse.runs.registry import write_runs
from isoflop.lakehouse.schema import narrowed

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse.backends.backend import Statement
    from isoflop.lakehouse.lake import Lakehouse

TOUCHED = "another process imports one of these runs at this moment"
UNTOUCHED = f"""
SELECT CASE WHEN EXISTS (SELECT 1 FROM store.attempts a JOIN _attempts n USING (run_id, attempt)
                         WHERE (a.results->>'content') IS DISTINCT FROM n.before) THEN error('{TOUCHED}') END"""
FORGET_GROWN = "DELETE FROM store.attempts a USING _attempts n WHERE a.run_id = n.run_id AND a.attempt = n.attempt"
FIELDS = ", ".join((*MEASURED, *PLACES, "reason", "error", "started_at", "finished_at"))
ADD_ATTEMPTS = f"""
INSERT INTO store.attempts (run_id, attempt, status, results, {FIELDS})
SELECT run_id, attempt, status, results::JSON, {FIELDS} FROM _attempts"""
# An import that finds a run unchanged still says where it is now, so that it is known there when it has grown.
PLACE_AGAIN = """
UPDATE store.attempts SET results = p.results::JSON FROM _places p
WHERE attempts.run_id = p.run_id AND attempts.attempt = p.attempt AND (attempts.results->>'content') = p.content"""


def land(
    lake: Lakehouse,
    landing: Landing,
    source: str,
    *,
    is_source_given: bool = True,
    is_source_a_name: bool = False,
    replacing: Replacing | None = None,
) -> Landed:
    """Write what the lake does not have of a completed landing and return what was done.

    Parameters
    ----------
    source : what `runs.source` says of runs that are new
    is_source_given : the user chose the source, it is not only a default
    is_source_a_name : the default follows the name of a file, so that another name for the same file makes another
    replacing : removes the runs that the source no longer has, in the same transaction

    Raises
    ------
    UsageError : if such runs are not to be removed
    RecordError : if a run id belongs to a run of another source, or is being imported elsewhere
    """
    landing, known, notes = identified(
        lake, landing, source, is_source_given=is_source_given, is_source_a_name=is_source_a_name
    )
    runs = landing.runs
    fresh = [run for run in runs if run.run_id not in known]
    changed = [run for run in runs if run.run_id in known and not known[run.run_id].is_unchanged]
    same = [run for run in runs if run.run_id in known and known[run.run_id].is_unchanged]
    gone: list[Gone] = []
    if replacing is not None:
        gone = replacing.gone(lake, source, {run.run_id for run in runs}, _places(runs))
        notes = (*notes, f"{'would remove' if replacing.is_dry else 'removed'}: {named(gone)}") if gone else notes
    elif fresh and (count := left_behind(lake, {run.run_id for run in runs}, _places(runs))):
        which = "is not among these and stays" if count == 1 else "are not among these and stay"
        message = f"{counted(count, 'run')} of an earlier import from here {which}"
        notes = (*notes, f"{message}; --replace removes what is no longer there")
    elif found := namesakes(lake, {run.record.name for run in fresh if run.record.name}, _places(runs)):
        place, count = found
        message = f"{count} of {len(fresh)} new runs are called as runs from {place} are, which stay beside them"
        notes = (*notes, f"{message}; to put them in their place: --in-place-of {place}")
    landed = Landed(len(fresh), len(changed), len(same), notes, len(gone))
    if replacing is not None and replacing.is_dry:
        return landed
    if fresh or changed or gone:
        _write(lake, landing, source, known, fresh, changed, gone)
    _place_again(lake, [run for run in same if known[run.run_id].has_moved], known)
    return landed


def _places(runs: Sequence[FoundRun]) -> set[str]:
    """Return the files and folders that runs were read from."""
    return {run.origin.place for run in runs if run.origin is not None}


def _write(
    lake: Lakehouse,
    landing: Landing,
    source: str,
    known: Mapping[str, Known],
    fresh: Sequence[FoundRun],
    changed: Sequence[FoundRun],
    gone: Sequence[Gone],
) -> None:
    import duckdb
    import pyarrow as pa

    written = [*fresh, *changed]
    newest = {run.run_id: known[run.run_id].attempt for run in changed}
    grown, points = _grown(lake, landing.points.of_runs([run.run_id for run in written]), newest)
    attempts = {run.run_id: newest.get(run.run_id, 0) + (run.run_id not in grown) for run in written}
    relations = {"_attempts": _attempts_table(written, attempts, known, grown)}
    statements: list[Statement] = [(UNTOUCHED, None), (FORGET_GROWN, None), (ADD_ATTEMPTS, None)]
    if len(points):
        relations["_points"] = points.arrow(attempts, is_sent=not lake.is_owner)
        stored = f"SELECT * EXCLUDE (value), {narrowed('value')} FROM _points"
        statements.append((f"INSERT INTO store.metrics BY NAME {stored}", None))
        statements += [(text, None) for text in finals_statements("_points")]
    if gone:
        relations[GONE] = pa.table({"run_id": pa.array([run.run_id for run in gone], pa.string())})
        statements += REMOVE
    sources = {run.run_id: known[run.run_id].source if run.run_id in known else source for run in written}
    records = [replace(run.record, source=sources[run.run_id]) for run in written]
    try:
        write_runs(lake, records, statements, relations, replacing=list(newest))
    except duckdb.Error as error:
        if TOUCHED not in str(error):
            raise
        raise RecordError(TOUCHED, hint="import again") from error


def _grown(lake: Lakehouse, points: Points, newest: Mapping[str, int]) -> tuple[set[str], Points]:
    """Return which runs still have every point that their newest attempt has in the lake, and the points to add."""
    pairs = [(run_id, run_id, attempt) for run_id, attempt in newest.items()]
    grown: set[str] = set()
    is_known = np.zeros(len(points), dtype=bool)
    for (run_id, _, _), overlap in zip(pairs, overlaps(lake, points, pairs), strict=True):
        if overlap.is_grown:
            grown.add(run_id)
            is_known[overlap.known] = True
    return grown, points.taken(~is_known)


def _place_again(lake: Lakehouse, runs: Sequence[FoundRun], known: Mapping[str, Known]) -> None:
    import pyarrow as pa

    if not runs:
        return
    columns = {
        "run_id": [run.run_id for run in runs],
        "content": [known[run.run_id].content for run in runs],
        "results": [_results(run, known.get(run.run_id)) for run in runs],
    }
    places = pa.table({name: pa.array(cells, pa.string()) for name, cells in columns.items()})
    attempts = pa.array([known[run.run_id].attempt for run in runs], pa.int32())
    lake.write([(PLACE_AGAIN, None)], {"_places": places.append_column("attempt", attempts)})


def _results(run: FoundRun, known: Known | None) -> str:
    """Return what an attempt keeps of an import: the hash of what it said, and where it came from."""
    told: dict[str, str] = {"content": run.content}
    if run.origin is not None:
        is_elsewhere = known is not None and known.origin is not None and not known.has_moved
        told["origin"] = known.origin if is_elsewhere and known and known.origin else run.origin.place
        told["host"] = known.host if is_elsewhere and known and known.host else host_name()
        told |= {"part": run.origin.part} if run.origin.part else {}
        told |= {"claim": run.origin.claim} if run.origin.claim != run.run_id else {}
    return json.dumps(told)


def _attempts_table(
    runs: Sequence[FoundRun], attempts: Mapping[str, int], known: Mapping[str, Known], grown: set[str]
) -> pa.Table:
    """Return the rows of `store.attempts`, with the content of the row that each takes the place of, if any."""
    import pyarrow as pa

    columns: dict[str, Any] = {
        "run_id": pa.array([run.run_id for run in runs], pa.string()),
        "attempt": pa.array([attempts[run.run_id] for run in runs], pa.int32()),
        "before": pa.array([known[run.run_id].content if run.run_id in grown else None for run in runs], pa.string()),
        "results": pa.array([_results(run, known.get(run.run_id)) for run in runs], pa.string()),
    }
    for name in MEASURED:
        values = [run.measured.get(name) for run in runs]
        columns[name] = pa.array([None if value is None else float(value) for value in values], pa.float64())
    for name in PLACES:
        values = [run.measured.get(name) for run in runs]
        columns[name] = pa.array([None if value is None else str(value) for value in values], pa.string())
    for name in ("status", "reason", "error"):
        columns[name] = pa.array([getattr(run, name) for run in runs], pa.string())
    for name in ("started_at", "finished_at"):
        columns[name] = pa.array([getattr(run, name) for run in runs], pa.timestamp("us"))
    return pa.table(columns)
