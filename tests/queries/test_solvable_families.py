"""Every solvable family from a sweep file to a score: its runs land, its theory predicts them by a statement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isoflop.lakehouse import Lakehouse, Spool
from isoflop.workers import Experiment, TrainOptions, train_packed
from isoflop.workers.sweep import checked_sweeps
from isoflop.workers.sweep_file import parse_documents
from tests.lakes import open_here

SWEEPS = {
    "dmft_random_features": """
name: surface
family: random_features
grid: {width: [32, 64], samples: [100, 400]}
derive: {dimension: 300, spectrum_exponent: 0.75, target_exponent: 0.125, learning_rate: 1.0, steps: 300}
seeds: 20
""",
    "two_point": """
name: again
family: linear_sgd
grid: {batch_size: [1, 4]}
derive: {dimension: 200, width: 60, samples: 100, spectrum_exponent: 0.625, target_exponent: 0.125, steps: 200}
seeds: 20
""",
    "rich_exponents": """
name: rich
family: feature_learning
grid: {richness: [0, 0.5, 1.0]}
derive: {dimension: 200, width: 60, spectrum_exponent: 0.75, target_exponent: 0.125, steps: 40}
seeds: 20
""",
    "optimal_feature_bound": """
name: kernels
family: kernel_features
grid: {sampling: [default, optimal]}
derive: {points: 60, dimension: 3, features: 64, representation: "'cosine'"}
seeds: 20
""",
    "four_regimes": """
name: regimes
family: ridgeless
grid: {samples: [60, 240]}
derive: {dimension: 400, width: 120, spectrum_exponent: 0.75, draws: 20}
seeds: 20
""",
}
JOINED = (
    "SELECT r.seed, avg(m.value / p.value - 1) AS bias, avg(((m.value - p.value) / p.deviation) ** 2) AS distance "
    "FROM metric_curves m JOIN predictions p USING (run_id, metric, step) JOIN runs r USING (run_id) "
    "WHERE p.step > 0 AND p.metric = 'loss' GROUP BY r.seed"
)


@pytest.mark.slow
@pytest.mark.parametrize("theory", SWEEPS)
def test_a_sweep_lands_and_a_statement_predicts_it(theory: str, tmp_path: Path) -> None:
    [sweep] = checked_sweeps(parse_documents(SWEEPS[theory]))
    packs: dict[object, list[Experiment]] = {}
    runs = list(sweep.expand().runs)
    for run in runs:
        packs.setdefault(run.pack_key(), []).append(run)
    with Lakehouse(tmp_path / "lake.duckdb") as lake:
        lake.record_runs([run.record() for run in runs])
        attempts = lake.begin_attempts([run.record().run_id for run in runs], "test")
        for pack in packs.values():
            ids = [run.record().run_id for run in pack]
            spools = [Spool(lake.spool_folder, run_id, attempts[run_id]) for run_id in ids]
            outcomes = train_packed(pack, spools, options=TrainOptions(device="cpu", threads=1))
            assert {outcome.status for outcome in outcomes} == {"finished"}
            for spool in spools:
                spool.close()
        lake.drain()
    with open_here(str(tmp_path / "lake.duckdb")) as lake:
        predicted = lake.sql(f"SELECT count(DISTINCT run_id) AS runs FROM (PREDICT RUNS BY {theory} FROM runs)")
        assert predicted.records() == [{"runs": len(runs)}]
        rows = lake.sql(JOINED).records()
        bias = np.array([row["bias"] for row in rows])  # points of one seed go together, seeds do not
        assert len(rows) == 20 and abs(bias.mean()) < 3.5 * bias.std() / np.sqrt(20)
        assert 0.5 < np.mean([row["distance"] for row in rows]) < 2.2, "deviations are of the size of the scatter"
        [score] = lake.sql(f"COMPARE {theory} FROM (SELECT run_id, step, value AS loss FROM metric_curves "
                           "WHERE metric = 'loss')").records()  # fmt: skip
        assert (score["law"], score["k"], score["status"]) == (theory, 0, "computed")
        assert np.isfinite(score["aicc"])
