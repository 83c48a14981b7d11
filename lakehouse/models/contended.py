"""When the time of a step is one of a machine that was shared, as it is said of a run and where times are fitted."""

from __future__ import annotations

CONTENDED = 0.05  # share of a step's time without a processor; alone it is below 0.01, with one rival 0.5
CROWDED = 0.5  # processors that other work keeps busy; a second training on another core costs steps up to 11 %


def said_of_contention(rows: int, contended: int, crowded: int) -> str | None:
    """Return the sentence on step times of which some were measured beside other work, None where few were.

    Parameters
    ----------
    rows : whose times are fitted
    contended : of them, without a processor for a twentieth of the time or more
    crowded : of the others, on a machine of which other work kept half a processor busy or more

    Example
    -------
    >>> said_of_contention(20, 0, 20) is None
    True
    """
    if not contended and crowded in (0, rows):
        return None  # all alone, or all beside the same kind of neighbors: one law of that state
    parts = [
        f"{count} {what}"
        for count, what in (
            (contended, "of runs that had no processor for a part of their steps"),
            (crowded, "of runs beside other work"),
            (rows - contended - crowded, "of runs alone"),
        )
        if count
    ]
    return (
        f"step times of {rows} rows mix machines that were shared and were not: {', '.join(parts)}; WHERE contention < "
        f"{CONTENDED:g} AND host_load < {CROWDED:g}, or step_seconds_min for the target, or train with "
        "timing: exclusive"
    )
