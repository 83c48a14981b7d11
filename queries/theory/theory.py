"""What every theory has: the family it is about, and a prediction of that family's curves from a run's settings.

A theory has no numbers to fit, unless it says so (`free`): what a law learns from rows, a theory computes. It is kept
and compared as runs are, metric by metric and step by step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.laws.law import Coefficient

Array = NDArray[np.float64]
Steps = NDArray[np.int64]
Setting = int | float | str | bool | None


@dataclass(frozen=True, eq=False)
class PredictedCurves:
    """What a theory says of one run.

    Parameters
    ----------
    mean : (T,) expected value of each metric, in its unit
    deviation : (T,) standard deviation of one run's value about the mean, of each metric, >= 0
    """

    mean: Mapping[str, Array]
    deviation: Mapping[str, Array]


class Theory(ABC):
    """A predictor of a family's curves. One outside this project inherits too, as an entry point of `isoflop.theories`.

    A theory says the attributes without a default and defines `predict`.
    """

    name: str
    """the word a statement uses for it"""
    version: str = "1"
    """changes whenever its predictions do; predictions of both are kept"""
    family: str
    """of the runs it is about"""
    fields: tuple[str, ...]
    """settings of the family that it reads; `seed` and `steps` are known of every run"""
    optional_fields: tuple[str, ...] = ()
    """those of `fields` that a run may be without; None then"""
    metrics: Mapping[str, str]
    """unit of each metric it predicts"""
    source: str
    """paper and equation"""
    axis: str = "step"
    """what `at` counts: steps, layers, sizes"""
    free: tuple[Coefficient, ...] = ()
    """numbers that may be fitted; most theories have none"""

    @abstractmethod
    def predict(self, config: Mapping[str, Setting], at: Steps) -> PredictedCurves:
        """Return every metric at some places of one run.

        Parameters
        ----------
        config : the run's settings, `seed` among them
        at : (T,) steps (or layers, sizes) >= 0, in order; 0 is before training
        """

    def exponents(self, config: Mapping[str, Setting]) -> Mapping[str, float]:
        """Return the power laws that hold in the limit, exponent by name; empty where there are none."""
        return {}
