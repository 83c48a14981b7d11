"""One term of a sum of powers on a set of rows: its logarithm is linear in the solver's coordinates."""

from __future__ import annotations

from dataclasses import dataclass

from isoflop.queries.fitting.solver.model import Array


@dataclass(frozen=True)
class LogTerm:
    """`u = offset + theta[indices] @ regressors`: the log of one term on the rows.

    Parameters
    ----------
    indices : (d,) positions in theta; the amplitude first, when it is free
    regressors : (d, R) log inputs, centered; ones for the amplitude
    offset : (R,) part that no coefficient moves, or None when it is zero
    has_amplitude : whether the amplitude is free
    """

    indices: tuple[int, ...]
    regressors: Array
    offset: Array | None
    has_amplitude: bool

    @property
    def is_flat(self) -> bool:
        """Whether the term is the same on all rows."""
        return self.has_amplitude and len(self.indices) == 1 and self.offset is None
