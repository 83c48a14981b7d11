"""What one learning rate does to networks of several widths, as is said before they train and where they are fitted."""

from __future__ import annotations

STANDARD = "standard"  # the parametrization whose best learning rate falls with width
SPAN = 2.0  # ratio of widths from which on it is said: the best rate falls about as 1 / width, and is flat within two


def said_of_one_rate(least: float, most: float, rate: float) -> str | None:
    """Return the sentence on runs of these widths at one rate under `standard`, None where widths are near each other.

    Example
    -------
    >>> said_of_one_rate(64, 96, 0.003) is None
    True
    """
    if not most >= SPAN * least:
        return None
    return (
        f"widths {least:g} to {most:g} train at one learning_rate, {rate:g}, under parametrization {STANDARD}, whose "
        "best rate falls with width: runs far from the width that it suits are worse than they could be, and a law "
        "takes that for an effect of size; sweep the rate for each width, or train with parametrization mup"
    )
