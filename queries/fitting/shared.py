"""One fit of a law to several groups of rows that have some of its coefficients in common.

All groups are searched, judged and resampled together (`SharedLaw`), so the coefficients of different groups have
joint draws: what is derived from two groups, such as a gain, has an interval that knows what they share. Rows are
redrawn within each group where every group has enough of them, so that no resample loses one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import UsageError
from isoflop.queries.fitting import line
from isoflop.queries.fitting.data import Data
from isoflop.queries.fitting.draws import Intervals, Resampled
from isoflop.queries.fitting.likelihood import Criteria, criteria
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.options import FitOptions
from isoflop.queries.fitting.record import Fit
from isoflop.queries.fitting.resampling import FEW, CaseBootstrap, Resamples, Resampling, ResidualBootstrap
from isoflop.queries.fitting.shared_law import SharedLaw
from isoflop.queries.laws.law import Law

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StratifiedBootstrap(CaseBootstrap):
    """Rows drawn with replacement from each stratum, as many as it has.

    Parameters
    ----------
    strata : (R,) number of the stratum of each usable row

    Source: Davison and Hinkley 1997, Bootstrap Methods and their Application, section 3.2.
    """

    draws = "rows are drawn with replacement within each group"

    strata: NDArray[np.int64]

    def chosen(self, rows: Data, predicted: Array, num_free: int) -> tuple[Resampling, str]:
        """Return itself, and why."""
        return self, f"because every group has {FEW} rows or more"

    def draw(
        self, rows: Data, predicted: Array, num_free: int, count: int, generator: np.random.Generator
    ) -> Resamples:
        """Return counts of each row times its weight."""
        counts = np.zeros((count, len(rows)))
        for stratum in np.unique(self.strata):
            own = np.flatnonzero(self.strata == stratum)
            counts[:, own] = generator.multinomial(len(own), np.full(len(own), 1 / len(own)), size=count)
        return Resamples(counts * rows.weight, rows.target[None])


@dataclass(frozen=True, eq=False)
class KeptRows(ResidualBootstrap):
    """Redrawn residuals where a group has too few rows to draw from, so that every resample has all of them."""

    def chosen(self, rows: Data, predicted: Array, num_free: int) -> tuple[Resampling, str]:
        """Return itself, and why."""
        return self, f"because a group has fewer than {FEW} rows"


@dataclass(frozen=True, eq=False)
class SharedFit:
    """A law fitted to G groups together.

    Parameters
    ----------
    joint : the fit of all coefficients to all rows
    parts : one fit a group, with the coefficients, draws and rows of the group; what judges them is the joint fit's
    apart : how well the groups are described by fits of their own; nan where one of them has none
    """

    joint: Fit
    parts: tuple[Fit, ...]
    apart: Criteria

    @property
    def note(self) -> Note | None:
        """Whether the rows speak for what is shared, by AICc; None where that is not known."""
        together, apart = self.joint.criteria.aicc, self.apart.aicc
        if len(self.parts) < 2 or not np.isfinite([together, apart]).all():
            return None
        side = "for sharing" if together <= apart else "against sharing"
        verdict = f"AICc is {together:.1f} with them in common and {apart:.1f} without: the rows speak {side}"
        law = self.joint.law
        assert isinstance(law, SharedLaw)
        return Note("sharing", f"{', '.join(law.shared)} in common to {len(self.parts)} groups; {verdict}")

    def noting(self, note: Note) -> SharedFit:
        """Return the fit with one more note on each part."""
        return replace(self, parts=tuple(part.noting([note]) for part in self.parts))


def fit_shared(law: Law, data: Data, labels: Sequence[str], shared: Sequence[str], options: FitOptions) -> SharedFit:
    """Fit a law to groups of rows that have some coefficients in common.

    Parameters
    ----------
    law : of each group
    data : usable rows of all groups, whose last input is the number of the group, from 0
    labels : names of the groups, which its coefficients are called after
    shared : names of the law's coefficients that are common

    Raises
    ------
    UsageError : if the law is a costly one or has no coefficient of such a name
    FitError : if nothing is free to fit

    Example
    -------
    >>> from isoflop.queries.laws import POWER
    >>> x = np.tile(np.logspace(6, 9, 20), 2)
    >>> group = np.repeat([0.0, 1.0], 20)
    >>> y = 1.5 + np.where(group > 0, 300, 400) / x**0.3
    >>> data = Data(np.column_stack([x, group]), y, np.ones(40), None, None, np.arange(40), {})
    >>> found = fit_shared(POWER, data, ("a", "b"), ("E", "alpha"), FitOptions(resamples=0))
    >>> [[round(float(one), 4) for one in part.coefficients] for part in found.parts]
    [[1.5, 400.0, 0.3], [1.5, 300.0, 0.3]]
    """
    if law.surrogate is not None or law.is_costly:
        raise UsageError(f"{law.name} is slow to compute, and cannot be fitted to groups together")
    if unknown := [name for name in shared if name not in {each.name for each in law.coefficients}]:
        raise UsageError(f"{law.name} has no coefficient '{unknown[0]}' to share")
    stacked = SharedLaw(law, shared, labels)
    if options.resampling is None:
        options = replace(options, resampling=_resampling(data))
    options = replace(options, forward=False)
    joint = line.run(stacked, data, options)
    about = [note for note in joint.verdict.notes if not note.message.startswith(f"{stacked.inputs[-1].name} has ")]
    joint = replace(joint, verdict=replace(joint.verdict, notes=tuple(about)))  # the group is no input of the law's
    places = stacked.groups(data.inputs)
    own = [_of_group(data, rows) for rows in places]
    parts = tuple(
        _part(law, joint, part, rows, stacked.places[group])
        for group, (part, rows) in enumerate(zip(own, places, strict=True))
    )
    return SharedFit(joint, parts, _apart(law, data, own, options))


def _resampling(data: Data) -> Resampling | None:
    """Return how rows are redrawn: within groups where each has enough; else residuals are, and every row stays."""
    if data.group is not None:
        return None  # rows that belong together are drawn together, as for any fit
    strata = data.inputs[:, -1].astype(np.int64)
    return StratifiedBootstrap(strata) if np.bincount(strata).min() >= FEW else KeptRows()


def _of_group(data: Data, rows: NDArray[np.intp]) -> Data:
    """Return the rows of one group, without its number."""
    part = data.take(rows)
    return replace(part, inputs=part.inputs[:, :-1])


def _part(law: Law, joint: Fit, data: Data, rows: NDArray[np.intp], places: NDArray[np.intp]) -> Fit:
    """Return what a joint fit says of one group."""
    solution, ends = joint.solution, joint.intervals
    bias = None if ends.bias is None else ends.bias[places]
    return replace(
        joint,
        law=law,
        data=data,
        solution=replace(
            solution,
            coefficients=solution.coefficients[places],
            at_bound=solution.at_bound[places],
            residuals=solution.residuals[rows],
        ),
        resampled=Resampled(
            joint.draws[:, places], joint.resampled.bootstrap, joint.resampled.tail, joint.resampled.notes
        ),
        intervals=Intervals(ends.kind, ends.std_errors[places], ends.lower[places], ends.upper[places], bias),
    )


def _apart(law: Law, data: Data, own: Sequence[Data], options: FitOptions) -> Criteria:
    """Return how well fits of their own describe the groups, at one scale of the scatter."""
    alone = replace(options, resamples=0, resampling=None, intervals="percentile")
    fits = [line.run(law, part, alone) for part in own]
    penalty = options.objective or law.objective
    if penalty.has_scale or not all(fit.is_converged for fit in fits):
        return Criteria()
    num_free = sum(coefficient.fixed is None for coefficient in law.coefficients) * len(fits)
    values = np.concatenate([data.scatter.on_scale(part.target) for part in own])
    residuals = np.concatenate([fit.solution.residuals for fit in fits])
    weight = np.concatenate([part.weight for part in own])
    total = sum(fit.solution.objective for fit in fits)
    return criteria(values, residuals, weight, penalty, total, num_free, data.scatter)
