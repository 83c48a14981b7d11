"""Running sweeps on Ray: the only place that imports it, and only when a sweep starts."""

from isoflop.workers.cluster.driver import run_sweep
from isoflop.workers.cluster.folders import checkpoint_folder
from isoflop.workers.cluster.jobs import SweepJob, entrypoint, submit_sweep
from isoflop.workers.cluster.session import RaySession
from isoflop.workers.cluster.state import Event, Failure, RunningRun, SweepState

__all__ = [
    "Event",
    "Failure",
    "RaySession",
    "RunningRun",
    "SweepJob",
    "SweepState",
    "checkpoint_folder",
    "entrypoint",
    "run_sweep",
    "submit_sweep",
]
