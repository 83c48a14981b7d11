"""Functions that stand where tables do, of theories that need no runs: `FROM phases(0.7, [0.3, 0.6])`.

A function is a record in a file here, and a name in `TABLE_FUNCTIONS`; what it computes lies in `queries/theory/` and
is imported when it is called.
"""

from __future__ import annotations

from isoflop.queries.language.functions.function import Argument, TableFunction, Value
from isoflop.queries.language.functions.linear_networks import (
    FEATURE_BOUNDS,
    RANDOM_FEATURE_LOSSES,
    RICH_CURVES,
    RICH_EXPONENTS,
    SGD_LOSSES,
)
from isoflop.queries.language.functions.networks import COVARIANCE_SDE
from isoflop.queries.language.functions.random_features import PHASE_CURVES, PHASES, REGIMES

TABLE_FUNCTIONS: tuple[TableFunction, ...] = (
    PHASES,
    PHASE_CURVES,
    REGIMES,
    RICH_EXPONENTS,
    RICH_CURVES,
    RANDOM_FEATURE_LOSSES,
    SGD_LOSSES,
    FEATURE_BOUNDS,
    COVARIANCE_SDE,
)
NAMES = {function.name: function for function in TABLE_FUNCTIONS}

__all__ = ["NAMES", "TABLE_FUNCTIONS", "Argument", "TableFunction", "Value"]
