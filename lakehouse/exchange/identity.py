"""Which run of the lake each found run is, or that it is a new one.

A source's name for its run is a claim that others may make too. Whoever comes first has the id that
the claim gives; a run that makes the same claim from another place is that run only where this is
certain, and otherwise gets an id of its own. It is certain where the id is one that nothing else can
have, where the place is the same one, where the curves are and began at the same moment, and where
the place that the lake has is gone and its curves are here. What an earlier version imported has no
place on record: its curves decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import RecordError
from isoflop.lakehouse.exchange.landing import FoundRun, Landing, content_of
from isoflop.lakehouse.exchange.origin import Origin, is_gone, is_same_file, told_by_place
from isoflop.lakehouse.exchange.overlap import Overlap, overlaps
from isoflop.lakehouse.runs.provenance import host_name
from isoflop.lakehouse.runs.records import canonical_json, digest

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse

SHOWN = 5  # runs that notes of one kind name
# Attempts of imports say in their results where the run lay, which part of that it is and what it claimed to be.
CLAIMANTS = """
SELECT r.run_id, r.name, r.family, r.source, a.started_at, coalesce(a.attempt, 0) AS attempt,
       a.results->>'content' AS content, a.results->>'origin' AS origin, coalesce(a.results->>'part', '') AS part,
       a.results->>'host' AS host, coalesce(a.results->>'claim', r.run_id) AS claim
FROM store.runs r
LEFT JOIN (SELECT run_id, max(attempt) AS attempt, arg_max(started_at, attempt) AS started_at,
                  arg_max(results, attempt) AS results
           FROM store.attempts GROUP BY run_id) a USING (run_id)
WHERE r.run_id IN (SELECT id FROM _ids) OR (a.results->>'claim') IN (SELECT id FROM _ids)
   OR (a.results->>'origin') IN (SELECT id FROM _ids)
ORDER BY r.run_id"""


@dataclass(frozen=True, kw_only=True)
class Known:
    """A run of the lake with what its newest attempt says of where it came from.

    Parameters
    ----------
    origin, part, host : None where an earlier version imported it
    is_unchanged : the found run that it is has nothing that the lake has not
    has_moved : the place on record is no longer where it is
    """

    run_id: str
    name: str | None
    family: str | None
    source: str
    started_at: Any
    attempt: int
    content: str | None
    origin: str | None
    part: str
    host: str | None
    claim: str
    is_unchanged: bool = False
    has_moved: bool = False


def told_apart(landing: Landing) -> Landing:
    """Return the landing with each source once and an id for each run; the first of a claim has the claim for its id.

    Runs come in under the keys of their origins, and leave under their claims as far as these differ. A copy
    of a run, the whole of which is in another, is left out; of two places that are one by a link, one is read.
    """
    groups: dict[str, list[FoundRun]] = {}
    for run in landing.runs:
        groups.setdefault(run.run_id if run.origin is None else run.origin.claim, []).append(run)
    names: dict[str, str] = {}
    left_out: set[str] = set()
    copies, apart = [], []
    for claim, runs in groups.items():
        kept = _without_copies(runs, landing)
        left_out |= {run.run_id for run in runs} - {run.run_id for run in kept}
        names[kept[0].run_id] = claim
        if len({_place(run) for run in runs}) > len(kept):
            copies.append(f"{kept[0].record.name} ({', '.join(dict.fromkeys(map(_place, runs)))})")
        if len(kept) > 1:
            apart.append(f"{kept[0].record.name} ({', '.join(map(_place, kept))})")
    kept_runs = tuple(
        run.called(names.get(run.run_id, run.run_id)) for run in _once(landing.runs) if run.run_id not in left_out
    )
    points = landing.points.without_runs(left_out).called(names)
    notes = [*landing.notes]
    notes += _listed("found in more than one place and taken once", copies)
    notes += _listed("different runs of one name, kept apart", apart)
    return Landing(kept_runs, points, tuple(notes))


def identified(
    lake: Lakehouse, landing: Landing, source: str, *, is_source_given: bool, is_source_a_name: bool
) -> tuple[Landing, dict[str, Known], tuple[str, ...]]:
    """Return the runs under the ids that they have or get in the lake, those that it has by these ids, and notes.

    Raises
    ------
    RecordError : if a run's id is in the lake already, from another source
    """
    search = _Search(lake, landing, source, is_source_given, is_source_a_name)
    search.run()
    names = {run.run_id: search.ids[run.run_id] for run in landing.runs}
    runs = tuple(search.settled(run) for run in landing.runs)
    known = {names[found]: stored for found, stored in search.matched.items()}
    return Landing(runs, landing.points.called(names), landing.notes), known, search.notes()


class _Search:
    """One pass over the found runs, from the surest sign of who each is to the last."""

    def __init__(
        self, lake: Lakehouse, landing: Landing, source: str, is_source_given: bool, is_source_a_name: bool
    ) -> None:
        self.lake, self.points, self.runs, self.source = lake, landing.points, landing.runs, source
        self.is_source_given, self.is_source_a_name = is_source_given, is_source_a_name
        self.hashes = landing.points.hashes()
        self.contents: dict[tuple[str, str | None], str] = {}  # by the id in the landing and a name
        self.host = host_name()
        self.matched: dict[str, Known] = {}  # by the id in the landing
        self.ids: dict[str, str] = {}
        self.names: dict[str, str | None] = {}
        self.moved: list[str] = []
        self.copied: list[str] = []
        self.apart: list[str] = []
        self.by_id = {stored.run_id: stored for stored in _claimants(lake, landing.runs)}
        self.used: set[str] = set()  # ids in the lake that found runs have or get
        self.siblings: dict[str, list[FoundRun]] = {}  # found runs that are new, by their claims
        self.by_place: dict[tuple[str, str], list[Known]] = {}
        self.by_claim: dict[str, list[Known]] = {}
        for stored in self.by_id.values():
            self.by_claim.setdefault(stored.claim, []).append(stored)
            if stored.claim != stored.run_id:
                self.by_claim.setdefault(stored.run_id, []).append(stored)
            if stored.origin is not None:
                self.by_place.setdefault((stored.origin, stored.part), []).append(stored)

    def run(self) -> None:
        """Find out which run is which."""
        for sign in (self._is_at_its_place, self._is_by_its_id):
            for run in self.runs:
                if run.run_id not in self.matched:
                    for stored in self._candidates(run):
                        if sign(run, stored):
                            self._match(run, stored, None)
                            break
        self._compare()
        for run in self.runs:
            if run.run_id not in self.matched:
                self._name_anew(run)

    def settled(self, run: FoundRun) -> FoundRun:
        """Return the run with its id, its name and the hash of its content."""
        name = self.names.get(run.run_id, run.record.name)
        record = replace(run.record, given_id=self.ids[run.run_id], name=name)
        return replace(run, record=record, content=self._content(run, name))

    def notes(self) -> tuple[str, ...]:
        """Return what the user should know about who is who."""
        return (
            *_listed("lies elsewhere now and is the same run", self.moved),
            *_listed("in the lake already from another place, taken once", self.copied),
            *_listed("not the run that the lake has by that name, kept apart from it", self.apart),
        )

    def _candidates(self, run: FoundRun) -> Iterator[Known]:
        """Yield the stored runs that it may be, none that another found run is."""
        origin = run.origin
        claims = (run.run_id,) if origin is None else (run.run_id, *origin.claims)
        seen: set[str] = set()
        near = [stored for claim in claims for stored in self.by_claim.get(claim, ())]
        at_place = () if origin is None else self.by_place.get((origin.place, origin.part), ())
        for stored in (*at_place, *near):
            if stored.run_id not in seen and stored.run_id not in self.used:
                seen.add(stored.run_id)
                yield stored

    def _is_at_its_place(self, run: FoundRun, stored: Known) -> bool:
        """Return whether the lake has the run from this very place of this machine."""
        origin = run.origin
        if (
            origin is None
            or stored.origin is None
            or stored.part != origin.part
            or stored.host not in (None, self.host)
        ):
            return False
        return is_same_file(origin.place, stored.origin)

    def _is_by_its_id(self, run: FoundRun, stored: Known) -> bool:
        """Return whether the id alone says that it is the run."""
        origin = run.origin
        if origin is None:
            return stored.run_id == run.run_id
        if origin.is_given and stored.run_id == origin.claim:
            if stored.source != self.source:
                raise self._refusal(run, stored)
            return self.is_source_given or stored.origin is None or is_gone(stored.origin)
        return origin.is_unique and stored.claim in origin.claims

    def _compare(self) -> None:
        """Find runs by what their curves say, where a sign of it could be certain at all."""
        asked = [
            (run, stored)
            for run in self.runs
            if run.run_id not in self.matched
            for stored in self._candidates(run)
            if self._may_be(run, stored)
        ]
        pairs = [(run.run_id, stored.run_id, stored.attempt) for run, stored in asked]
        for (run, stored), overlap in zip(asked, overlaps(self.lake, self.points, pairs), strict=True):
            if run.run_id not in self.matched and stored.run_id not in self.used:
                is_equal = stored.content is not None and stored.content == self._content(run, self._name(run, stored))
                if is_equal or overlap.is_grown or (overlap.is_part and self._is_copy(run, stored)):
                    self._match(run, stored, overlap)
        self._leave_older_copies()

    def _leave_older_copies(self) -> None:
        """Leave the lake as it is where a run from another place is an older state of what it has."""
        found = {run.run_id: run for run in self.runs}
        asked = [
            (run_id, stored)
            for run_id, stored in self.matched.items()
            if not stored.is_unchanged and not stored.has_moved and stored.origin != _place(found[run_id])
        ]
        pairs = [(run_id, stored.run_id, stored.attempt) for run_id, stored in asked]
        for (run_id, stored), overlap in zip(asked, overlaps(self.lake, self.points, pairs), strict=True):
            if overlap.is_part and overlap.found < overlap.stored:
                self.matched[run_id] = replace(stored, is_unchanged=True)

    def _may_be(self, run: FoundRun, stored: Known) -> bool:
        if stored.source != self.source and not self.is_source_a_name:
            return False
        if stored.origin is None or is_gone(stored.origin) or (run.origin is not None and run.origin.is_given):
            return True
        is_of_elsewhere = run.origin is not None and stored.origin == run.origin.place  # the same path, another machine
        return is_of_elsewhere or self._is_copy(run, stored)

    def _is_copy(self, run: FoundRun, stored: Known) -> bool:
        """Return whether one may be a copy of the other: both began at the same moment, or the user says so."""
        is_given = run.origin is not None and run.origin.is_given
        return is_given or (run.started_at is not None and run.started_at == stored.started_at)

    def _match(self, run: FoundRun, stored: Known, overlap: Overlap | None) -> None:
        if stored.source != self.source and (self.is_source_given or not self.is_source_a_name):
            raise self._refusal(run, stored)
        name = self._name(run, stored)
        place = None if run.origin is None else run.origin.place
        is_here = place is None or (stored.origin == place and stored.host in (None, self.host))
        has_moved = not is_here and (stored.origin is None or stored.origin == place or is_gone(stored.origin))
        is_older_copy = overlap is not None and overlap.is_part and not is_here
        is_unchanged = stored.content == self._content(run, name) or is_older_copy
        if not is_here and stored.origin not in (None, place):
            line = f"{name or stored.run_id} ({place}, before: {stored.origin})"
            (self.moved if has_moved else self.copied).append(line)
        self.matched[run.run_id] = replace(stored, is_unchanged=is_unchanged, has_moved=has_moved)
        self.ids[run.run_id], self.names[run.run_id] = stored.run_id, name
        self.used.add(stored.run_id)

    def _name_anew(self, run: FoundRun) -> None:
        """Give a new run its id, and a name that tells it from others of its claim."""
        origin = run.origin
        run_id = run.run_id
        if origin is not None:
            others = [stored for claim in origin.claims for stored in self.by_claim.get(claim, ())]
            if origin.is_given and origin.claim in self.by_id:
                raise self._refusal(run, self.by_id[origin.claim])
            self._name_apart(run, origin, others)
            number = 0
            while run_id in self.by_id or run_id in self.used:
                run_id = origin.key if number == 0 else digest(canonical_json([origin.key, self.host, number]))
                number += 1
            self.siblings.setdefault(origin.claim, []).append(run)
        self.ids[run.run_id] = run_id
        self.used.add(run_id)

    def _name_apart(self, run: FoundRun, origin: Origin, others: Sequence[Known]) -> None:
        name, family = run.record.name, run.record.family
        siblings = self.siblings.get(origin.claim, [])
        called = {(stored.name, stored.family) for stored in others}
        called |= {(self.names.get(other.run_id, other.record.name), other.record.family) for other in siblings}
        if others:
            self.apart.append(f"{name} ({origin.place}, before: {others[0].origin or 'an earlier import'})")
        if name is None or (name, family) not in called:
            return
        places = [place for stored in others if (place := stored.origin)] + [_place(other) for other in siblings]
        longer = told_by_place(name, origin.place, [place for place in places if place != origin.place])
        self.names[run.run_id] = f"{name} {origin.key[:4]}" if (longer, family) in called else longer

    def _name(self, run: FoundRun, stored: Known) -> str | None:
        """Return the name of a known run: what its source says, or what the lake calls it where that is its path."""
        name, origin = run.record.name, run.origin
        if stored.name is None or name is None or origin is None:
            return name
        is_here = origin.is_named_by_place and (stored.origin, stored.part) == (origin.place, origin.part)
        if is_here or stored.name in origin.names or stored.name.startswith(f"{name} "):
            return stored.name
        has_one_end = stored.name.rpartition("/")[2] == name.rpartition("/")[2]
        return stored.name if has_one_end and (origin.is_named_by_place or stored.name.endswith(f"/{name}")) else name

    def _content(self, run: FoundRun, name: str | None) -> str:
        asked = run.run_id, name
        if asked not in self.contents:
            self.contents[asked] = content_of(run, self.hashes.get(run.run_id), name)
        return self.contents[asked]

    def _refusal(self, run: FoundRun, stored: Known) -> RecordError:
        came = stored.source if stored.origin is None else f"{stored.source} ({stored.origin})"
        is_of_one_source = stored.source == self.source and run.origin is not None
        here = f", and {_place(run)} says otherwise of it" if is_of_one_source else ""
        return RecordError(
            f"run_id {stored.run_id!r} is in the lake already, from {came}{here}",
            hint="give the runs of this file ids of their own: --map \"run_id='mine-' || run_id\""
            + ("; --source NAME says that both files hold the same runs" if is_of_one_source else ""),
        )


def _claimants(lake: Lakehouse, runs: Sequence[FoundRun]) -> list[Known]:
    """Return the runs of the lake that one of these may be."""
    import pyarrow as pa

    ids: dict[str, None] = {}
    for run in runs:
        origin = run.origin
        words = (run.run_id,) if origin is None else (run.run_id, origin.place, *origin.claims)
        ids |= dict.fromkeys(words)
        if origin is not None and not origin.is_unique and not origin.is_given:
            ids[origin.key] = None
    rows = lake.query(CLAIMANTS, None, {"_ids": pa.table({"id": pa.array(list(ids), pa.string())})}).to_pylist()
    return [Known(**{**row, "attempt": int(row["attempt"])}) for row in rows]


def _without_copies(runs: Sequence[FoundRun], landing: Landing) -> list[FoundRun]:
    """Return the runs of one claim without those whose place or whole content is another's."""
    if len(runs) == 1:
        return list(runs)
    sizes: Mapping[str, int] = landing.points.sizes([run.run_id for run in runs])
    kept: list[FoundRun] = []
    for run in sorted(runs, key=lambda found: -sizes[found.run_id]):
        if not any(_is_copy(run, other, landing) for other in kept):
            kept.append(run)
    return [run for run in _once(runs) if any(run is other for other in kept)]


def _is_copy(run: FoundRun, other: FoundRun, landing: Landing) -> bool:
    if run.run_id == other.run_id or (run.origin and run.origin.is_unique):
        return True
    began_together = run.started_at is not None and run.started_at == other.started_at
    return began_together and landing.points.has_within(run.run_id, other.run_id)


def _once(runs: Sequence[FoundRun]) -> list[FoundRun]:
    """Return the runs, the first of each id."""
    return list({run.run_id: run for run in reversed(runs)}.values())[::-1]


def _place(run: FoundRun) -> str:
    return run.run_id if run.origin is None else run.origin.place


def _listed(what: str, lines: Sequence[str]) -> list[str]:
    """Return a note that names the first of many."""
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return [f"{what}: {', '.join(lines[:SHOWN])}{more}"] if lines else []
