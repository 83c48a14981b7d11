"""Run a sweep on a cluster of two nodes and take the second away while it trains; a program of its own.

Usage: python on_two_nodes.py FOLDER. The folder holds sweep.yaml and gets runs.duckdb; the answer is JSON.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(16), RAY_USAGE_STATS_ENABLED="0")

from ray.cluster_utils import Cluster

from isoflop.lakehouse import Lakehouse
from isoflop.workers.cluster import RaySession, SweepState, run_sweep
from isoflop.workers.sweep import load_sweep


class NodeTaker:
    """A watcher that replaces the node that trains, abruptly, once."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.node: Any = cluster.add_node(num_cpus=2)
        self.has_acted = False

    def __call__(self, state: SweepState) -> None:
        if not self.has_acted and state.running:
            self.has_acted = True
            self._cluster.remove_node(self.node, allow_graceful=False)
            self.node = self._cluster.add_node(num_cpus=2)


def main(folder: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})  # the head only writes the lake
    taker = NodeTaker(cluster)
    with Lakehouse(folder / "runs.duckdb") as lake, RaySession(cluster.address) as session:
        state = run_sweep(lake, load_sweep(folder / "sweep.yaml"), session=session, watch=taker)
        is_elsewhere = session.home() != taker.node.node_id
    cluster.shutdown()
    print(json.dumps({"finished": state.finished, "retried": state.retried, "is_elsewhere": is_elsewhere}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
