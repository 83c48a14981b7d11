"""Predictions of theories, kept beside the runs: made, made again, and scored against what the runs measured.

They lie in `store.predictions` in the shape of `metrics`, so a predicted curve beside its run is a join:

    SELECT run_id, step, m.value, p.value AS predicted
    FROM metric_curves m JOIN predictions p USING (run_id, metric, step) WHERE p.theory = 'volterra_plrf'
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from isoflop.lakehouse.errors import EmptySelection, UsageError
from isoflop.queries.theory.theory import PredictedCurves, Setting, Steps, Theory

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse import Asked

PLACES = 50  # steps, equal in ratio, at which a run without points is predicted

_REPLACE = """
DELETE FROM store.predictions p USING (SELECT DISTINCT theory, version, run_id FROM _predictions) n
WHERE p.theory = n.theory AND p.version = n.version AND p.run_id = n.run_id
"""
_INSERT = "INSERT INTO store.predictions BY NAME SELECT * FROM _predictions"
_SCORES = """
SELECT p.theory, p.version, p.metric, count(DISTINCT p.run_id) AS runs, count(*) AS points, 0 AS free,
       sqrt(avg(power(ln(m.value / p.value), 2))) AS rmse_log, avg(ln(m.value / p.value)) AS bias_log,
       sqrt(avg(power((m.value - p.value) / nullif(p.deviation, 0), 2))) AS rms_deviations
FROM store.predictions p JOIN main.metric_curves m USING (run_id, metric, step)
WHERE p.step > 0 AND m.value > 0 AND p.value > 0
  AND (p.theory, p.version) IN (SELECT (theory, version) FROM _theories) AND p.run_id IN (SELECT run_id FROM _chosen)
GROUP BY ALL ORDER BY rmse_log
"""


def predict_runs(
    lake: Asked,
    theory: Theory,
    run_ids: Sequence[str] | None = None,
    *,
    where: str | None = None,
    left_out: Callable[[str], None] | None = None,
) -> pa.Table:
    """Predict runs and keep what comes out; what the same version of the theory said of them before is replaced.

    Parameters
    ----------
    lake : a lake, or a session of one
    theory : says for which family it is
    run_ids : runs to predict; all of the family when None
    where : a SQL condition over `runs` that chooses among them
    left_out : takes a sentence on the runs that cannot be predicted, where others can; None refuses them all

    Returns
    -------
    table of theory, version, run_id, metric, step, value, deviation: at the steps that a run logged and at step 0, or
    at 50 steps of equal ratio where it has logged none

    Raises
    ------
    EmptySelection : if no run of the theory's family is chosen
    UsageError : if a run cannot be predicted, such as one without a setting that the theory reads, and `left_out` is
        None or no run can
    duckdb.Error : if the condition is none
    """
    runs = chosen_runs(lake, theory, run_ids, where)
    steps = _logged_steps(lake, theory, [str(run["run_id"]) for run in runs])
    places = [steps.get(str(run["run_id"]), _places(run)) for run in runs]
    rows, failed = [], []
    for run, at in zip(runs, places, strict=True):
        try:
            rows.append((run, at, predict_run(theory, run, at)))
        except UsageError as error:
            if left_out is None:
                raise
            failed.append(error)
    if failed and not rows:
        raise failed[0]
    if failed and left_out is not None:
        left_out(f"{len(failed)} of {len(runs)} runs are left out: {failed[0].message}")
    found = _table(rows, list(theory.metrics), theory.name, theory.version)
    lake.write([(_REPLACE, None), (_INSERT, None)], {"_predictions": found})
    return found


def no_predictions() -> pa.Table:
    """Return a table of predictions without any."""
    return _table([], [])


def score_runs(
    lake: Asked,
    theories: Sequence[Theory],
    run_ids: Sequence[str] | None = None,
    *,
    where: str | None = None,
) -> pa.Table:
    """Return how well the kept predictions of theories hold on runs, best first; nothing is fitted.

    Parameters
    ----------
    lake, run_ids, where : as for `predict_runs`
    theories : whose predictions are kept already

    Returns
    -------
    table with a row for each theory and metric: runs, points, free (0 numbers), rmse_log and bias_log [1] of measured
    over predicted, and the root mean square of the distance in deviations [1]; step 0 does not count

    Raises
    ------
    EmptySelection : if no run is chosen
    """
    import pyarrow as pa

    chosen = {str(run["run_id"]) for theory in theories for run in chosen_runs(lake, theory, run_ids, where)}
    relations = {
        "_theories": pa.table(
            {"theory": [theory.name for theory in theories], "version": [theory.version for theory in theories]}
        ),
        "_chosen": pa.table({"run_id": sorted(chosen)}),
    }
    return lake.query(_SCORES, None, relations)


def chosen_runs(
    lake: Asked, theory: Theory, run_ids: Sequence[str] | None = None, where: str | None = None
) -> list[dict[str, Any]]:
    """Return run_id, config, seed and steps of the runs of a theory's family that are chosen.

    Raises
    ------
    EmptySelection : if there is none
    """
    import pyarrow as pa

    conditions = [f"family = '{theory.family}'"]
    conditions += [] if where is None else [f"run_id IN (SELECT run_id FROM runs WHERE (\n{where}\n))"]
    conditions += [] if run_ids is None else ["run_id IN (SELECT run_id FROM _asked)"]
    relations = None if run_ids is None else {"_asked": pa.table({"run_id": pa.array(run_ids, pa.string())})}
    statement = f"SELECT run_id, config, seed, steps FROM store.runs WHERE {' AND '.join(conditions)} ORDER BY run_id"
    rows: list[dict[str, Any]] = lake.query(statement, None, relations).to_pylist()
    if not rows:
        raise EmptySelection(
            f"no run of family '{theory.family}' is chosen, and theory {theory.name} predicts no other",
            hint=f"SELECT family, count(*) FROM runs GROUP BY family; train some with 'family: {theory.family}'",
        )
    return rows


def _logged_steps(lake: Asked, theory: Theory, run_ids: Sequence[str]) -> dict[str, Steps]:
    """The steps at which each run has logged a metric of the theory, and 0."""
    import pyarrow as pa

    relations = {"_chosen": pa.table({"run_id": run_ids}), "_metrics": pa.table({"metric": list(theory.metrics)})}
    statement = (
        "SELECT run_id, list(DISTINCT step ORDER BY step) AS steps FROM main.metric_curves "
        "WHERE run_id IN (SELECT run_id FROM _chosen) AND metric IN (SELECT metric FROM _metrics) GROUP BY run_id"
    )
    rows = lake.query(statement, None, relations).to_pylist()
    return {row["run_id"]: np.unique(np.array([0, *row["steps"]], dtype=np.int64)) for row in rows}


def predict_run(theory: Theory, run: Mapping[str, Any], at: Steps) -> PredictedCurves:
    """Return what a theory says of one run at (T,) steps.

    Parameters
    ----------
    run : run_id, config, seed and steps, as `chosen_runs` returns them

    Raises
    ------
    UsageError : if the run lacks a setting that the theory reads
    """
    settings: dict[str, Setting] = {**json.loads(run["config"]), "seed": run["seed"], "steps": run["steps"]}
    settings = {**dict.fromkeys(theory.optional_fields), **settings}
    missing = [field for field in theory.fields if field not in settings]
    if missing:
        raise UsageError(
            f"theory {theory.name} reads '{missing[0]}', which run {run['run_id']} does not have",
            hint=f"its config has {', '.join(sorted(settings))}; leave the run out with a condition",
        )
    try:
        return theory.predict(settings, at)
    except (TypeError, ValueError, ArithmeticError, MemoryError) as error:
        raise UsageError(
            f"theory {theory.name} cannot predict run {run['run_id']}: {error}",
            hint="its settings are none that the family trains; leave the run out with a condition",
        ) from error


def _places(run: Mapping[str, Any]) -> Steps:
    """Steps of equal ratio, and 0, for a run that has logged nothing."""
    at = np.unique(np.geomspace(1, max(int(run["steps"] or 1), 1), PLACES).astype(np.int64))
    return np.concatenate([np.zeros(1, dtype=np.int64), at])


def _table(
    found: Sequence[tuple[Mapping[str, Any], Steps, Any]], metrics: Sequence[str], theory: str = "", version: str = ""
) -> pa.Table:
    """What is kept: one row for each run, metric and place."""
    import pyarrow as pa

    kinds = {"step": pa.int64(), "value": pa.float64(), "deviation": pa.float64()}
    columns = ("theory", "version", "run_id", "metric", "step", "value", "deviation")
    parts: dict[str, list[Any]] = {name: [] for name in columns}
    for run, at, prediction in found:
        for metric in metrics:
            names = {"theory": theory, "version": version, "run_id": run["run_id"], "metric": metric}
            for name, value in names.items():
                parts[name] += [value] * len(at)
            parts["step"] += at.tolist()
            parts["value"] += prediction.mean[metric].tolist()
            parts["deviation"] += prediction.deviation[metric].tolist()
    return pa.table({name: pa.array(values, kinds.get(name, pa.string())) for name, values in parts.items()})
