"""What a column's heading says beside a name: a unit, a factor, a logarithm.

`Tokens (B)`, `params, M`, `N [10^6]`, `Mparams` are counts with a factor, `FLOPs (1e18)`, `EFLOPs` and `PF-days` are
FLOPs with one, `Loss (bits)` is a loss in another unit, `log10 params` the logarithm of a count, `size (MB)` bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from types import MappingProxyType

from isoflop.lakehouse.models.counts import COUNTS

AS_IT_IS = "{}"
LONGEST_UNIT = 24  # characters behind a name, those of `billions of parameters` and more
FACTORS = MappingProxyType(
    {"K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12, "thousand": 1e3, "million": 1e6, "billion": 1e9,
     "trillion": 1e12, "mn": 1e6, "mio": 1e6, "bn": 1e9, "mrd": 1e9}
)  # fmt: skip
PREFIXES = MappingProxyType(
    {"p": 1e15, "peta": 1e15, "e": 1e18, "exa": 1e18, "z": 1e21, "zetta": 1e21, "y": 1e24, "yotta": 1e24}
)
DAY = 86_400  # seconds; a PF-day is a day at 1e15 FLOP a second
COUNTED = r"(?:params?|parameters?|weights|tokens?|tok)"
POWER = re.compile(
    r"(?:[x×*]\s*)?(?:10\s*(?:\^|\*\*)\s*\+?(?P<power>\d{1,2})|1[eE]\+?(?P<e>\d{1,2})|10(?P<small>[⁰¹²³⁴-⁹]+))"
)
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
LOSS_UNIT = re.compile(r"(?P<unit>nat|bit)s?(?:\s*(?:/|per)\s*(?:token|tok))?", re.IGNORECASE)
BYTES = re.compile(r"[KMGT]i?B|[kmgt]b|[Bb]ytes?|(?:kilo|mega|giga)bytes?")
# A rate, FLOPS or FLOP/s, is no count, and T or G before it means one more often than not.
FLOPS = re.compile(r"(?P<prefix>[PEZYezy]|(?i:peta|exa|zetta|yotta))[ -]?(?:FLOPs?|flops?|Flops?)")
FLOP_DAYS = re.compile(
    r"(?P<prefix>[pezy]|peta|exa|zetta|yotta)[ -]?f(?:lops?)?(?:/s|s|ps)?[ -]?days?", re.IGNORECASE
)  # fmt: skip
LOGARITHM = re.compile(
    r"(?P<base>log10|lg|log2|ln|log)(?:\s*\(\s*(?P<within>.+?)\s*\)|[ _](?P<behind>.+))", re.IGNORECASE
)
UNDONE = MappingProxyType({"log10": "10 ** {}", "lg": "10 ** {}", "log2": "2 ** {}", "ln": "exp({})", "log": "exp({})"})
UNIT = re.compile(
    r"(?P<name>.*?\w)(?:\s*[(\[]\s*(?P<within>[^()\[\]]+?)\s*[)\]]|\s*,\s*(?P<comma>.+)|\s+in\s+(?P<said>.+))"
)
BEFORE = re.compile(rf"(?P<unit>[KMBGT]|(?:thousand|million|billion|trillion)s?(?: of)?)[ _]?(?P<name>{COUNTED})")
RATIO = re.compile(r"(?:(?:tokens?|d)/(?:per/)?(?:params?|parameters?|n)(?:/ratio)?|tpp)")


class Of(Enum):
    """What a column with such a heading can be."""

    COUNT = "a count"
    FLOPS = "FLOPs"
    LOSS = "a loss"
    LOGARITHM = "the logarithm of what it is named for"
    BYTES = "bytes"


@dataclass(frozen=True)
class Heading:
    """A heading taken apart.

    Parameters
    ----------
    names : what is left of it without the unit; several where it can be read in several ways
    of : what it can be
    made : what its cells become in our unit, SQL with {} for the cell
    is_sure : whether the heading leaves no other reading; the base of `log` is one of several
    """

    names: tuple[str, ...]
    of: Of
    made: str = AS_IT_IS
    is_sure: bool = True

    def can_be(self, ours: str) -> bool:
        """Return whether a column with this heading can be ours, once it is made so."""
        if self.of is Of.LOGARITHM:
            return self.is_sure or ours not in COUNTS
        if ours in COUNTS:
            return self.of is Of.COUNT or (self.of is Of.FLOPS and ours == "flops")
        return self.of is Of.LOSS


@lru_cache(maxsize=4096)  # every column is looked at for each of ours
def read_heading(heading: str) -> Heading | None:
    """Return what a heading says beside a name; None where it is a name and nothing else.

    Example
    -------
    >>> [found.made for text in ("Tokens (B)", "N [10^6]", "PF-days", "Loss (bits)") if (found := read_heading(text))]
    ['{} * 1e9', '{} * 1e6', '{} * 8.64e19', '{} * ln(2)']
    >>> read_heading("model size (MB)").of, read_heading("tokens")
    (<Of.BYTES: 'bytes'>, None)
    """
    text = heading.strip()
    if match := LOGARITHM.fullmatch(text):
        base = match["base"].lower()
        return Heading((match["within"] or match["behind"],), Of.LOGARITHM, UNDONE[base], base != "log")
    if (factor := _flop_factor(text)) is not None:
        return Heading(("flops",), Of.FLOPS, _times(factor))
    if match := UNIT.fullmatch(text):
        unit = match["within"] or match["comma"] or match["said"]
        return _with_unit(match["name"], unit.removeprefix("in ").strip(), is_apart=True)
    if match := BEFORE.fullmatch(text):
        return _with_unit(match["name"], match["unit"].removesuffix(" of"), is_apart=False)
    for gap in re.compile(r"[ _]").finditer(text, max(0, len(text) - LONGEST_UNIT - 1)):
        name, unit = text[: gap.start()], text[gap.end() :].replace("_", " ")
        if found := _with_unit(name, unit, is_apart=False):
            return found
    return None


def factor_of(heading: str) -> float | None:
    """Return the factor that a count's heading says its numbers are to be taken with; None where it says none.

    Example
    -------
    >>> factor_of("Tokens (B)"), factor_of("params_M"), factor_of("size (in millions)"), factor_of("tokens")
    (1000000000.0, 1000000.0, 1000000.0, None)
    """
    found = read_heading(heading)
    if found is None or found.of not in (Of.COUNT, Of.FLOPS) or found.made == AS_IT_IS:
        return None
    return float(found.made.removeprefix("{} * "))


def written(factor: float) -> str:
    """Return a power of ten as it is typed.

    Example
    -------
    >>> written(1e9)
    '1e9'
    """
    return f"{factor:g}".replace("e+0", "e").replace("e+", "e")


def _with_unit(name: str, unit: str, *, is_apart: bool) -> Heading | None:
    """Return what a name and a unit say; one in brackets is one in small letters too, since `_m` ends other names."""
    name = name.strip()
    if match := LOSS_UNIT.fullmatch(unit):
        return Heading((name,), Of.LOSS, AS_IT_IS if match["unit"].lower() == "nat" else "{} * ln(2)")
    if BYTES.fullmatch(unit):
        return Heading((name,), Of.BYTES)
    if (factor := _flop_factor(unit)) is not None:
        return Heading((name, f"{name} flops"), Of.FLOPS, _times(factor))
    if is_apart and re.fullmatch(COUNTED, unit, re.IGNORECASE):
        return Heading((name,), Of.COUNT)
    size = re.sub(rf"\s*(?:of )?{COUNTED}$", "", unit, flags=re.IGNORECASE)
    if match := POWER.fullmatch(size):
        power = match["power"] or match["e"] or match["small"].translate(SUPERSCRIPTS)
        return Heading((name,), Of.COUNT, _times(float(f"1e{power}"))) if is_apart else None
    known: Mapping[str, float] = FACTORS
    word = size.lower().removesuffix("s") if len(size) > 1 else size.upper() if is_apart else size
    return Heading((name,), Of.COUNT, _times(known[word])) if word in known else None


def _flop_factor(unit: str) -> float | None:
    """Return how many FLOPs a unit of them is; None for another unit."""
    for pattern, seconds in ((FLOPS, 1), (FLOP_DAYS, DAY)):
        if match := pattern.fullmatch(unit):
            return PREFIXES[match["prefix"].lower()] * seconds
    return None


def _times(factor: float) -> str:
    return f"{{}} * {written(factor)}"
