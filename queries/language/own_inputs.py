"""A law that was fitted on expressions of columns, as it is by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.widening import Widening
from isoflop.queries.laws import (
    Law,
)

if TYPE_CHECKING:
    pass


Array = NDArray[np.float64]


@dataclass(frozen=True)
class OwnInputs:
    """A law that was fitted on expressions of columns, as it is by itself: `x` for `power(6 * params * tokens)`.

    Parameters
    ----------
    law : with the inputs that its form has; those that were read from a column are called as that is
    arguments : SQL that computes each input
    support : (P, 2) lowest and largest value of each among the rows
    edge : lowest and largest log of their product, or None
    widening : how intervals grow beyond the rows, or None
    """

    law: Law
    arguments: tuple[str, ...]
    support: Array
    edge: tuple[float, float] | None
    widening: Widening | None = None

    @property
    def names(self) -> frozenset[str]:
        """The inputs that stand for expressions, in lower case, unless a column that they read has the name."""
        pairs = list(zip(self.law.inputs, self.arguments, strict=True))
        read = {word.lower() for _, argument in pairs for word in re.findall(r"\w+", argument)}
        return frozenset(
            input_.name.lower()
            for input_, argument in pairs
            if not is_column(argument) and input_.name.lower() not in read
        )

    def are_asked(self, names: Iterable[str]) -> bool:
        """Return whether points with columns of these names are given in the law's own inputs."""
        return bool(self.names & {name.lower() for name in names})


def is_column(argument: str) -> bool:
    """Return whether the SQL of an input is a column's name and nothing else."""
    return re.fullmatch(r'"([^"]|"")+"|\w+', argument) is not None
