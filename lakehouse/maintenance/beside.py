"""What lies beside a lake's file and should not, and what is noted there and missing in the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.lakehouse.address import FileAddress, parse_address
from isoflop.lakehouse.backends.commits import read_mark
from isoflop.lakehouse.backends.leftovers import find_leftovers, stray_spools
from isoflop.lakehouse.units import format_bytes

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse

Problem = dict[str, str]


def problems_beside(lake: Lakehouse) -> list[Problem]:
    """Return a problem for every commit count that went back, half-written file and spool of another name."""
    place = parse_address(lake.address)
    if not isinstance(place, FileAddress):
        return []
    mark = read_mark(lake.spool_folder)
    problems = [
        {
            "kind": "commits lost",
            "subject": f"{loss.known} of {loss.noted}",
            "detail": f"{loss}; the log beside it was cut short, or an older copy was put in its place; "
            "isoflop lake repair takes note of it",
        }
        for loss in (mark.losses if mark is not None else ())
    ]
    for path in find_leftovers(place.path):
        try:
            size = format_bytes(path.stat().st_size)
        except OSError:  # its process has finished it meanwhile
            continue
        detail = f"{size}, half written; remove it if no process, of another machine perhaps, is still writing it"
        problems.append({"kind": "file left half written", "subject": path.name, "detail": detail})
    for folder in stray_spools(place):
        detail = f"batches beside a link to the lake; move them to {lake.spool_folder}"
        problems.append({"kind": "batches in another spool", "subject": str(folder), "detail": detail})
    return problems
