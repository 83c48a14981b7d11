"""Runs that a source no longer has: found by where they came from, and removed in the transaction that imports it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import UsageError
from isoflop.lakehouse.exchange.origin import is_gone, real_path
from isoflop.lakehouse.maintenance.removal import OF_A_RUN
from isoflop.lakehouse.runs.provenance import host_name

if TYPE_CHECKING:
    from isoflop.lakehouse.backends.backend import Statement
    from isoflop.lakehouse.lake import Lakehouse

FEWEST_NAMESAKES = 3  # runs called as runs from another file are, from which on it is worth a word
SHOWN = 5  # runs that a question names: enough to recognize them, short enough for a line
GONE = "_gone_runs"
# What the newest attempt of each imported run says of where it lay.
_PLACED = """
SELECT r.run_id, r.name, r.source, a.results->>'origin' AS origin, a.results->>'host' AS host
FROM store.runs r
JOIN (SELECT run_id, arg_max(results, attempt) AS results FROM store.attempts GROUP BY run_id) a USING (run_id)
WHERE a.results->>'origin' IS NOT NULL
ORDER BY r.name, r.run_id"""
REMOVE: tuple[Statement, ...] = tuple(
    (f"DELETE FROM store.{table} WHERE run_id IN (SELECT run_id FROM {GONE})", None) for table in OF_A_RUN
)


def _yes(_: str) -> bool:
    return True


@dataclass(frozen=True)
class Replacing:
    """An import after which the lake has of its source what the source has.

    Parameters
    ----------
    path : the file or folder
    agreed : is asked, with the question, before anything is removed
    is_dry : only say what would be added, changed and removed; nothing is asked or written
    former : a file or folder that the path takes the place of, all of whose other runs go too
    """

    path: Path
    agreed: Callable[[str], bool] = _yes
    is_dry: bool = False
    former: Path | None = None

    def gone(self, lake: Lakehouse, source: str, kept: Collection[str], places: Collection[str]) -> list[Gone]:
        """Return the runs of the source that it no longer has, after asking whether they may go.

        Those are runs that this machine imported from the path or from below it, unless they are another
        tracker's whose files are still there; and those of a file that was moved to the path, which is
        seen by another run of it that the path still has.

        Parameters
        ----------
        source : what `runs.source` says
        kept : the runs that the source has, by their ids in the lake
        places : the files and folders that they were read from

        Raises
        ------
        UsageError : when they are not to be removed
        """
        rows = [row for row in lake.query(_PLACED).to_pylist() if row["host"] == host_name()]
        moved = {row["origin"] for row in rows if row["run_id"] in kept and is_gone(row["origin"])}
        home = real_path(self.path)
        former = None if self.former is None else real_path(self.former)
        gone = [
            Gone(str(row["run_id"]), str(row["name"] or row["run_id"]))
            for row in rows
            if row["run_id"] not in kept
            and (_is_below(row["origin"], former) or _is_mine(row, home, source, moved, places))
        ]
        if gone and not self.is_dry and not self.agreed(self._question(gone)):
            raise UsageError(
                f"{self.path}: nothing was imported and nothing removed", hint="without --replace runs are only added"
            )
        return gone

    def _question(self, gone: Sequence[Gone]) -> str:
        runs = f"{len(gone)} run{'s' * (len(gone) > 1)}"
        what = f"{self.path} no longer has {runs} that the lake has from it: {named(gone)}."
        return f"{what} Remove {'them' if len(gone) > 1 else 'it'} with every curve, log and prediction?"


@dataclass(frozen=True)
class Gone:
    """A run of the lake that its source no longer has."""

    run_id: str
    name: str


def named(gone: Sequence[Gone]) -> str:
    """Return the names of the first of many runs, and how many more there are.

    Example
    -------
    >>> named([Gone(str(place), f"run {place}") for place in range(7)])
    'run 0, run 1, run 2, run 3, run 4 and 2 more'
    """
    more = f" and {len(gone) - SHOWN} more" if len(gone) > SHOWN else ""
    return ", ".join(run.name for run in gone[:SHOWN]) + more


def left_behind(lake: Lakehouse, kept: Collection[str], places: Collection[str]) -> int:
    """Return how many runs this machine imported from some places that are not among those which it has there now.

    Parameters
    ----------
    kept : the runs that are there, by their ids in the lake
    places : the files and folders that they were read from
    """
    rows = lake.query(_PLACED).to_pylist()
    return sum(row["origin"] in places and row["run_id"] not in kept and row["host"] == host_name() for row in rows)


def namesakes(lake: Lakehouse, names: Collection[str], places: Collection[str]) -> tuple[str, int] | None:
    """Return the other place from which the lake has most runs of some names, and how many; None for few.

    Parameters
    ----------
    names : of runs that are new
    places : the files and folders that these were read from
    """
    if len(names) < FEWEST_NAMESAKES:
        return None
    known = [row["origin"] for row in lake.query(_PLACED).to_pylist() if row["name"] in names]
    counts = Counter(origin for origin in known if origin not in places)
    place, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
    return (place, count) if count >= max(FEWEST_NAMESAKES, len(names) / 2) else None


def _is_below(origin: str, place: Path | None) -> bool:
    """Return whether a run was found at a place, or below it."""
    return place is not None and (Path(origin) == place or place in Path(origin).parents)


def _is_mine(row: dict[str, Any], home: Path, source: str, moved: Collection[str], places: Collection[str]) -> bool:
    origin = str(row["origin"])
    if _is_below(origin, home):
        return row["source"] == source or origin in places or is_gone(origin)
    return row["source"] == source and origin in moved
