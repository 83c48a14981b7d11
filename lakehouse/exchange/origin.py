"""Where a run was found, and what that says of which run it is.

A name is no identity: two folders hold a `metrics.csv` each, two experiments a trial of one name. What a
source calls its run is therefore only a claim, which another source may make too; the place that the run
lies in tells them apart, and what it says tells whether it is a run that the lake has from elsewhere.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from isoflop.lakehouse.runs.records import canonical_json, digest


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The source of a run.

    Parameters
    ----------
    place : real path of the file or folder, links followed
    part : which of the runs of that place; empty where it is one run
    claim : the id that the run has by what its source calls it; another source may claim the same
    older : further ids under which a lake may have the run from an earlier import
    names : further names under which a lake may have it
    is_unique : the claim is the run's wherever it lies: drawn at random, or a hash of all that the run says
    is_given : the claim is an id that a user gave and that the run keeps
    is_named_by_place : the run's name is a part of its path rather than something that its source says
    """

    place: str
    claim: str
    part: str = ""
    older: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    is_unique: bool = False
    is_given: bool = False
    is_named_by_place: bool = False

    @cached_property
    def key(self) -> str:
        """An id that no other source has."""
        return digest(canonical_json({"claim": self.claim, "origin": self.place, "part": self.part}))

    @property
    def claims(self) -> tuple[str, ...]:
        """Every id that the run may have in a lake by what its source calls it."""
        return (self.claim, *self.older)


def real_path(path: Path) -> Path:
    """Return the one name of a file or folder: absolute, without links, whatever the working directory."""
    return Path(os.path.realpath(path))


def claim_of(format: str, *words: object) -> str:
    """Return the id that a name gives a run of a format."""
    return digest(canonical_json({format: list(words) if len(words) > 1 else words[0]}))


def older_claims(claim: str, others: Iterable[str]) -> tuple[str, ...]:
    """Return the ids among `others` that are not the claim itself."""
    return tuple(dict.fromkeys(other for other in others if other != claim))


def is_same_file(place: str, other: str) -> bool:
    """Return whether two paths lead to one file or folder of this machine."""
    if place == other:
        return True
    with contextlib.suppress(OSError, ValueError):
        return os.path.samefile(place, other)
    return False


def is_gone(place: str) -> bool:
    """Return whether there is nothing at a path, seen from this machine."""
    return not os.path.exists(place)


def told_by_place(name: str, place: str, others: Iterable[str]) -> str:
    """Return a run's name with the part of its path in front that tells it from runs at other places.

    Example
    -------
    >>> told_by_place("trial_1", "/a/first/trial_1", ["/a/second/trial_1"])
    'first/trial_1'
    """
    mine = Path(place).parts
    for other in others:
        theirs = Path(other).parts
        for word, their_word in zip(reversed(mine), reversed(theirs), strict=False):
            if word != their_word and word != os.sep:
                return word if Path(word).stem == name else f"{word}/{name}"
    return f"{mine[-2]}/{name}" if len(mine) > 2 else name
