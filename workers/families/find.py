"""The families there are, by name: adding one is a file beside this one and a word here."""

from __future__ import annotations

from isoflop.lakehouse.errors import UsageError, did_you_mean
from isoflop.workers.families.family import Family
from isoflop.workers.families.plrf import Plrf
from isoflop.workers.families.transformer import Transformer

FAMILIES: dict[str, type[Family]] = {family.name: family for family in (Transformer, Plrf)}


def find_family(name: str) -> type[Family]:
    """Return the family called `name`.

    Raises
    ------
    UsageError : if there is none, with the nearest name

    Example
    -------
    >>> find_family("transformer").__name__
    'Transformer'
    """
    if name not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise UsageError(f"family '{name}' does not exist", hint=did_you_mean(name, FAMILIES, f"there are {known}"))
    return FAMILIES[name]
