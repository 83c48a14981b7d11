"""Looking after a lake: what it holds, whether it is whole, and making it smaller, older or another one."""

from isoflop.lakehouse.maintenance.checkpoints import remove_checkpoints
from isoflop.lakehouse.maintenance.checks import describe, find_problems
from isoflop.lakehouse.maintenance.copying import Copied, copy_lake
from isoflop.lakehouse.maintenance.labels import note_runs, tag_runs
from isoflop.lakehouse.maintenance.removal import Removed, chosen_runs, delete_runs, drop_old_attempts, thin_curves

__all__ = [
    "Copied",
    "Removed",
    "chosen_runs",
    "copy_lake",
    "delete_runs",
    "describe",
    "drop_old_attempts",
    "find_problems",
    "note_runs",
    "remove_checkpoints",
    "tag_runs",
    "thin_curves",
]
