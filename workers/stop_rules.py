"""When a run is ended before its last step, by what its curve says."""

from __future__ import annotations

import math
from dataclasses import dataclass

from isoflop.lakehouse.units import format_number


@dataclass(frozen=True)
class Halving:
    """Asynchronous successive halving.

    Parameters
    ----------
    grace_steps : steps that every run may take
    factor : one run of so many goes on [1]
    """

    grace_steps: int
    factor: float = 3.0


@dataclass(frozen=True)
class StopWhen:
    """The rules of a sweep file.

    Parameters
    ----------
    diverged : times its best loss so far from which a loss is taken for one that does not come back [1], more than 1;
        a loss that is not finite never does; None for no such rule
    halving : None for none
    """

    diverged: float | None = None
    halving: Halving | None = None


class CurveWatch:
    """The curve of one attempt as a rule sees it, point by point.

    Parameters
    ----------
    diverged : of `StopWhen`

    Example
    -------
    >>> watch = CurveWatch(3.0)
    >>> watch.problem(1, 4.0), watch.problem(2, 2.0), watch.problem(3, 5.9)
    (None, None, None)
    >>> watch.problem(4, 6.1)
    'stop_when: the loss 6.1000 of step 4 is more than 3 times its best, 2.0000'
    """

    def __init__(self, diverged: float) -> None:
        self._diverged = diverged
        self._best = math.inf

    def problem(self, step: int, loss: float) -> str | None:
        """Take a point and return why the run should end, in words; None where it should go on.

        A best loss of zero or less has no multiples: then only a loss that is not finite counts.
        """
        if not math.isfinite(loss):
            return f"stop_when: the loss of step {step} is {loss}"
        if 0 < self._best < math.inf and loss > self._diverged * self._best:
            times, best = f"{self._diverged:g} times", format_number(self._best)
            return f"stop_when: the loss {format_number(loss)} of step {step} is more than {times} its best, {best}"
        self._best = min(self._best, loss)
        return None
