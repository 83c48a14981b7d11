"""How many runs of a sweep may start now: within `max_concurrent`, and within what its budget holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from isoflop.workers.budget import Budget, Cost, Spending, attempt_costs, how_many_fit, said
from isoflop.workers.cluster.ledger import Key
from isoflop.workers.cluster.packs import Job

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse


class Allowance:
    """What a sweep may still start.

    Parameters
    ----------
    run_ids : all runs of the sweep; the budget is theirs together, whoever trained them
    max_concurrent : runs at once; None for no limit
    budget : None for no limit
    """

    def __init__(
        self, lake: Lakehouse, run_ids: Sequence[str], max_concurrent: int | None, budget: Budget | None
    ) -> None:
        self._lake, self._run_ids = lake, run_ids
        self._max_concurrent, self._budget = max_concurrent, budget
        self._spending = Spending(())
        self._is_old = True

    def look_again(self) -> None:
        """Take note that an attempt has ended: what it took is read before anything else starts."""
        self._is_old = True

    def most(self, wanted: Sequence[Job], training: Mapping[Key, Job]) -> int | None:
        """Return how many of these runs may start, None for none before one that trains has ended.

        0 is the budget's word: not even the first fits.
        """
        most = len(wanted)
        if self._max_concurrent is not None:
            most = min(most, self._max_concurrent - len(training))
            if most <= 0:
                return None
        if self._budget is None:
            return most
        if self._is_old:
            self._lake.drain()
            self._spending = Spending(attempt_costs(self._lake, self._run_ids))
            self._is_old = False
        fit = how_many_fit(self._budget, self._spending, self._expected(wanted[:most]), self._flying(training))
        return None if fit == 0 and training else fit  # those that train may take less than expected

    def says(self, wanted: Sequence[Job]) -> str:
        """Return why the first of these runs does not start, in words."""
        assert self._budget is not None
        return said(self._budget, self._spending.used(), self._expected(wanted[:1])[0])

    def _expected(self, jobs: Sequence[Job]) -> list[Cost]:
        return [self._spending.expected(job.record.flops) for job in jobs]

    def _flying(self, training: Mapping[Key, Job]) -> dict[Key, Cost]:
        return {key: self._spending.expected(job.record.flops) for key, job in training.items()}
