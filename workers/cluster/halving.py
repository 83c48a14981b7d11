"""Asynchronous successive halving of the runs of a sweep, decided by Ray Tune's own scheduler.

At `grace_steps`, and at `factor` times as many each time, a run goes on if its loss is among the best 1 / `factor` of
those that have come so far. The scheduler is Ray's `ASHAScheduler`, told of points by its public methods; it asks of a
trial nothing but its id. Source: Li et al. 2020 (arXiv:1810.05934), algorithm 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import RunFailed
from isoflop.lakehouse.units import format_number
from isoflop.workers.cluster.ledger import Key
from isoflop.workers.stop_rules import Halving

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse
    from isoflop.lakehouse.runs.records import RunRecord
    from isoflop.workers.sweep import Sweep

WORST = 1e300  # stands for a loss that is not finite, which the scheduler's percentiles cannot rank
_POINTS = """
SELECT m.run_id, m.attempt, m.step, m.value FROM metrics m SEMI JOIN _ids USING (run_id)
WHERE m.metric = 'loss' AND m.step > coalesce((SELECT s.step FROM _seen s WHERE s.run_id = m.run_id), -1)
ORDER BY m.run_id IN (SELECT t.run_id FROM _training t), m.step, m.run_id
"""


@dataclass(frozen=True)
class _Trial:
    """What the scheduler knows of a run."""

    trial_id: str


class Halver:
    """The scheduler of one sweep, and the points that it has been told.

    Parameters
    ----------
    rules : of the sweep file
    runs : of the sweep, those that are done too: their curves are what the others are compared with
    """

    def __init__(self, lake: Lakehouse, rules: Halving, runs: Sequence[RunRecord]) -> None:
        try:
            from ray.tune.schedulers import ASHAScheduler
        except ImportError as error:  # Ray Tune needs pandas, which Ray alone does not bring
            raise RunFailed(
                f"stop_when.halving needs Ray Tune: {error}", hint="pip install 'ray[tune]'; or leave halving out"
            ) from error
        self._lake = lake
        self._run_ids = [run.run_id for run in runs]
        self._scheduler: Any = ASHAScheduler(
            time_attr="step", metric="loss", mode="min", max_t=max(int(run.steps or 0) for run in runs),
            grace_period=rules.grace_steps, reduction_factor=rules.factor, stop_last_trials=False,
        )  # fmt: skip
        self._trials: dict[str, _Trial] = {}
        self._seen: dict[str, int] = {}
        self._lost: dict[str, str] = {}

    def losers(self, training: Iterable[Key]) -> Mapping[Key, str]:
        """Read what is new in the curves and return which of the attempts in training end, each with the reason.

        Runs that are done come first: what a run in training is compared with does not hang on when one looks.
        """
        training = list(training)
        for point in self._points([run_id for run_id, _ in training]):
            run_id, step, loss = point["run_id"], point["step"], point["value"]
            self._seen[run_id] = step
            if run_id not in self._trials:
                self._trials[run_id] = _Trial(run_id)
                self._scheduler.on_trial_add(None, self._trials[run_id])
            known = loss if math.isfinite(loss) else WORST
            word = self._scheduler.on_trial_result(None, self._trials[run_id], {"step": step, "loss": known})
            if word == self._scheduler.STOP:
                self._lost[run_id] = f"stop_when: halving at step {step}: others had less than {format_number(loss)}"
        return {key: self._lost[key[0]] for key in training if key[0] in self._lost}

    def _points(self, training: Sequence[str]) -> list[dict[str, Any]]:
        import pyarrow as pa

        ids, in_training = (pa.table({"run_id": pa.array(of, pa.string())}) for of in (self._run_ids, training))
        seen = pa.table(
            {"run_id": pa.array(list(self._seen), pa.string()), "step": pa.array(list(self._seen.values()), pa.int64())}
        )
        tables = {"_ids": ids, "_seen": seen, "_training": in_training}
        found: list[dict[str, Any]] = self._lake.query(_POINTS, None, tables).to_pylist()
        return found


def halver_of(lake: Lakehouse, sweep: Sweep, runs: Sequence[RunRecord]) -> Halver | None:
    """Return who halves the runs of a sweep; None where its file does not ask for it.

    Raises
    ------
    FileError : if a run has no steps that are known beforehand, or none has as many as are waited for
    RunFailed : without Ray Tune
    """
    rules = None if sweep.stop_when is None else sweep.stop_when.halving
    if rules is None:
        return None
    place = ("stop_when", "halving")
    if any(not run.steps for run in runs):
        raise sweep.document.error(place, "'halving' needs the steps of each run", "given: {steps: 1000}")
    most = max(int(run.steps or 0) for run in runs)
    if rules.grace_steps > most:
        raise sweep.document.error(
            (*place, "grace_steps"), f"'grace_steps' is {rules.grace_steps}, and no run has more than {most} steps"
        )
    return Halver(lake, rules, runs)
