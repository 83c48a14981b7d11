"""Run a sweep on a cluster whose one worker has one CPU; a program of its own.

Usage: python on_one_cpu.py FOLDER. The folder holds sweep.yaml and gets runs.duckdb.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(16), RAY_USAGE_STATS_ENABLED="0")

from ray.cluster_utils import Cluster

from isoflop.lakehouse import Lakehouse
from isoflop.workers.cluster import RaySession, run_sweep
from isoflop.workers.sweep import load_sweep


def main(folder: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})  # the head only writes the lake
    cluster.add_node(num_cpus=1)
    with Lakehouse(folder / "runs.duckdb") as lake, RaySession(cluster.address) as session:
        run_sweep(lake, load_sweep(folder / "sweep.yaml"), session=session)
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
