"""Worlds drawn at random over the phases: theories rank before fitted laws, on compute beyond that of the fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from isoflop.lakehouse import Lakehouse, Spool
from isoflop.workers import TrainOptions, train_packed
from isoflop.workers.families import Experiment, find_family
from tests.lakes import open_here

WORLDS = 10
SEEDS = 6  # draws of features and data of each size
LAWS = "(loss ~ chinchilla(width, steps)), (loss ~ kaplan(width, steps)), (loss ~ smooth_max(width, steps))"


def trained(path: Path, runs: list[Experiment]) -> Lakehouse:
    lake = open_here(path)
    lake.record_runs([run.record() for run in runs])
    attempts = lake.begin_attempts([run.record().run_id for run in runs], "test")
    packs: dict[Any, list[Experiment]] = {}
    for run in runs:
        packs.setdefault(run.pack_key(), []).append(run)
    for pack in packs.values():
        spools = [Spool(lake.spool_folder, run.record().run_id, attempts[run.record().run_id]) for run in pack]
        train_packed(pack, spools, options=TrainOptions(device="cpu", threads=1))
        for spool in spools:
            spool.close()
    lake.drain()
    return lake


def world(family: str, number: int) -> list[Experiment]:
    """Sizes and lengths of one spectrum and target, drawn anywhere where the loss is a power law."""
    draws = np.random.default_rng([number, len(family)])
    alpha = float(draws.uniform(0.55, 1.1))
    beta = float(draws.uniform(max(0.05, 0.65 - alpha), 1.0))
    own: dict[str, object] = {"batch_size": 4}
    if family == "random_features":
        own = {"dimension": 400, "samples": 400, "optimizer": "gradient_flow", "learning_rate": 0.5}
    sizes = [(width, steps) for width in (12, 20, 32, 52, 84) for steps in (100, 250, 600, 1500)]
    return [
        find_family(family).parse(
            {**own, "width": width, "steps": steps, "spectrum_exponent": alpha, "target_exponent": beta, "seed": seed}
        )
        for width, steps in sizes for seed in range(SEEDS)
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("family", "theory"), [("plrf", "volterra_plrf"), ("random_features", "dmft_random_features")])
def test_a_theory_is_ranked_before_the_laws_in_nine_of_ten_worlds(family: str, theory: str, tmp_path: Path) -> None:
    first = []
    for number in range(WORLDS):
        # Small matrices on many threads wait for one another, ten times as long where other tests run.
        with threadpool_limits(1), trained(tmp_path / f"{number}.duckdb", world(family, number)) as lake:
            rows = lake.sql(
                f"COMPARE {theory}, {LAWS} FROM (SELECT *, width * steps AS compute FROM runs) "
                "HOLDOUT LARGEST 20 PERCENT BY compute WITH (resamples = 0)"
            ).records()
        first.append(rows[0]["law"])
    assert first.count(theory) >= 0.9 * WORLDS, first
