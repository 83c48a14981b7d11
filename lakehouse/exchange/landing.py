"""What an import found, whatever the format: runs with what was measured, and the points of their curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from isoflop.lakehouse.exchange.origin import Origin
from isoflop.lakehouse.exchange.points import Points
from isoflop.lakehouse.models.counts import COUNTS
from isoflop.lakehouse.runs.records import RunRecord, canonical_json, digest

MEASURED = (
    "loss",
    "validation_loss",
    "irreducible_loss",
    "step_seconds",
    "train_seconds",
    "compile_seconds",
    "peak_memory_bytes",
)
PLACES = ("host", "device", "code_version", "corpus_hash")
AXES = ("tokens", "flops")  # what a curve is drawn over, besides step and seconds
CONTENT_LENGTH = 24  # base32 characters, 120 bits


@dataclass(frozen=True, kw_only=True)
class FoundRun:
    """A run that some other store knows: its record, how it ended and what it measured.

    Parameters
    ----------
    record : identity, counts and settings; `given_id` is the id the run keeps
    measured : columns of `attempts` among MEASURED and PLACES, where the store has them
    status, reason, error : how it ended; a finished run whose last loss is not finite becomes failed, diverged,
        unless `is_certain`: the store says it in our own words
    started_at, finished_at : UTC, without a zone
    origin : where it was found; a run without one is known by its id alone
    content : hash of everything an import writes for the run, once that is settled
    """

    record: RunRecord
    measured: Mapping[str, Any] = field(default_factory=dict)
    status: str = "finished"
    reason: str | None = None
    error: str | None = None
    is_certain: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None
    origin: Origin | None = None
    content: str = ""

    @property
    def run_id(self) -> str:
        """The identity of the run."""
        return self.record.run_id

    def called(self, run_id: str) -> FoundRun:
        """Return the run under this id."""
        return replace(self, record=replace(self.record, given_id=run_id))


@dataclass(frozen=True)
class Landing:
    """Runs found in one place, the points of their curves, and what the user should know about them."""

    runs: tuple[FoundRun, ...]
    points: Points = field(default_factory=Points.none)
    notes: tuple[str, ...] = ()

    def completed(self) -> Landing:
        """Return the runs with what their curves end with: last values, counts and steps; points sorted."""
        points = self.points.sorted().with_one_value_a_step(AXES)
        lasts = points.lasts()
        return Landing(tuple(_completed(run, lasts.get(run.run_id, {})) for run in self.runs), points, self.notes)


@dataclass(frozen=True)
class Landed:
    """How many runs the lake has now that it had not, that changed, that it had as they are, and no longer has."""

    added: int
    changed: int
    unchanged: int
    notes: tuple[str, ...] = ()
    removed: int = 0


@dataclass(frozen=True)
class Imported:
    """What an import did, with a sentence for everything the user should know."""

    source: str
    rows: int
    runs: int
    points: int
    added: int
    changed: int
    unchanged: int
    skipped: int
    notes: tuple[str, ...] = ()
    format: str = "table"
    removed: int = 0


def utc(seconds: float | None) -> datetime | None:
    """Return a time [s since 1970] as the lake has it: UTC, without a zone; None for one that no calendar has.

    Example
    -------
    >>> utc(1.7e9), utc(1.7e18), utc(float("nan"))
    (datetime.datetime(2023, 11, 14, 22, 13, 20), None, None)
    """
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    except (OverflowError, ValueError, OSError):
        return None


def _completed(run: FoundRun, lasts: Mapping[str, tuple[int, float, float]]) -> FoundRun:
    """Fill what the run's own words leave open from the last points of its curves."""
    record, measured = run.record, dict(run.measured)
    for name in MEASURED:
        if measured.get(name) is None and name in lasts:
            measured[name] = lasts[name][1]
    counts: dict[str, Any] = {
        name: lasts[name][1] for name in COUNTS if getattr(record, name) is None and name in lasts
    }
    if "steps" in counts:
        counts["steps"] = int(counts["steps"])
    elif record.steps is None and lasts:
        last_step = lasts["loss"][0] if "loss" in lasts else max(step for step, _, _ in lasts.values())
        counts["steps"] = last_step if last_step > 0 else None
    if measured.get("train_seconds") is None and "loss" in lasts and not math.isnan(lasts["loss"][2]):
        measured["train_seconds"] = lasts["loss"][2]
    loss = measured.get("loss")
    is_finished = run.status == "finished" and not run.is_certain
    is_diverged = is_finished and loss is not None and not math.isfinite(loss)
    status, reason = ("failed", "diverged") if is_diverged else (run.status, run.reason)
    return replace(run, record=replace(record, **counts), measured=measured, status=status, reason=reason)


def content_of(run: FoundRun, curves: str | None, name: str | None) -> str:
    """Return the hash of everything an import would write for a run under this name."""
    record = run.record
    everything = {
        "name": name,
        **{name: getattr(record, name) for name in ("family", "seed", *COUNTS)},
        **{name: getattr(run, name) for name in ("status", "reason", "error")},
        **{name: str(value) for name in ("started_at", "finished_at") if (value := getattr(run, name)) is not None},
        "tags": list(record.tags),
        "settings": {k: value for k, value in {**record.config, **record.extra}.items() if value is not None},
        "measured": {name: value for name, value in run.measured.items() if value is not None},
        "curves": curves,
    }
    return digest(canonical_json(everything), CONTENT_LENGTH)
