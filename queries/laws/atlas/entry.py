"""What a published law is, and how one is found by its name."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from isoflop.lakehouse.errors import UnknownName, did_you_mean
from isoflop.queries.laws.algebra.expression import Array
from isoflop.queries.laws.formula import parse_formula
from isoflop.queries.laws.law import Law, coefficient_names
from isoflop.queries.laws.registry import LAWS


@dataclass(frozen=True)
class PublishedLaw:
    """A law with the numbers of a paper.

    Parameters
    ----------
    name : first author, year and what tells it from others of the paper
    form : name of a built-in law, or a formula over `inputs` and the coefficients
    coefficients : value by name, in the units of the inputs
    source : paper, table or equation
    about : what is to be known before it is used: what was trained, how far, what the inputs count
    std_errors : by name, where the paper states them
    inputs, target, unit : of a formula; a built-in law has its own. Inputs are pairs of name and unit
    known_as : what people call it, in letters and digits alone; by these it is not found but guessed
    unrounded : the law of the same fit with the digits that the paper leaves away, where there is one
    """

    name: str
    form: str
    coefficients: Mapping[str, float]
    source: str
    about: str
    std_errors: Mapping[str, float] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    target: str = "loss"
    unit: str = "nat/token"
    known_as: tuple[str, ...] = ()
    unrounded: str = ""

    @property
    def is_built_in(self) -> bool:
        """Whether its form is a law that has a name."""
        return self.form in LAWS

    @functools.cached_property
    def law(self) -> Law:
        """The form with its inputs and coefficients."""
        if self.is_built_in:
            return LAWS[self.form]
        return parse_formula(self.form, self.coefficients, self.inputs, target=self.target, unit=self.unit)

    @property
    def values(self) -> Array:
        """(K,) float array in the order of the law's coefficients."""
        return np.array([self.coefficients[name] for name in coefficient_names(self.law)])

    @property
    def errors(self) -> Array:
        """(K,) float array of standard errors, NaN where the paper states none."""
        return np.array([self.std_errors.get(name, np.nan) for name in coefficient_names(self.law)])


def find_published_law(laws: Iterable[PublishedLaw], name: str) -> PublishedLaw:
    """Return the law of a name, in any case.

    Raises
    ------
    UnknownName : with the nearest name
    """
    known = {law.name: law for law in laws}
    if name.lower() not in known:
        hint = _meant(known, name) or did_you_mean(name, known, "SHOW PUBLISHED LAWS lists them")
        raise UnknownName("Catalog", f"published law '{name}' does not exist", name, 0, len(name), hint=hint)
    return known[name.lower()]


def _meant(known: Mapping[str, PublishedLaw], name: str) -> str | None:
    """Return the hint for what people call a law, such as chinchilla, and for an author alone."""
    parts = re.findall("[a-z0-9]+", name.lower())
    found = [law.name for law in known.values() if "".join(parts) in law.known_as]
    found = found or [each for each in known if parts and each.startswith(f"{'_'.join(parts)}_")]
    if not found:
        return None
    first = f"did you mean published:{found[0]}?"
    return first if len(found) == 1 else f"{first} There is also {', '.join(f'published:{each}' for each in found[1:])}"
