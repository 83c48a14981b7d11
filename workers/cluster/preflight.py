"""What is checked before the first run trains."""

from __future__ import annotations

from collections.abc import Sequence

from isoflop.lakehouse.errors import RunFailed
from isoflop.workers.cluster.capacity import Capacity
from isoflop.workers.cluster.packs import Job
from isoflop.workers.host_memory import MemoryNeed, host_memory_bytes, too_large, too_many


def check_memory(jobs: Sequence[Job], capacity: Capacity, max_concurrent: int | None, *, force: bool) -> list[str]:
    """Refuse a run that this machine has no memory for; return what the user should know of the others.

    Runs that train on an accelerator, and scripts, whose memory nobody predicts, are not looked at.

    Parameters
    ----------
    capacity : of the cluster inside this process
    force : say so, and refuse nothing

    Raises
    ------
    RunFailed : with what the run needs and what there is
    """
    on_host = [job for job in jobs if not capacity.decided(job.resources).gpus]
    needs = [MemoryNeed(job.label, size) for job in on_host if (size := job.family.counts().memory_bytes)]
    most = host_memory_bytes()
    problem = too_large(needs, most)
    if problem and not force:
        raise RunFailed(problem, hint="a smaller model or batch, or more micro_batches; --force tries it all the same")
    at_once = max((capacity.slots(job.resources) for job in on_host), default=0)
    crowd = None if problem else too_many(needs, min(at_once, max_concurrent or at_once), most)
    return [said for said in (problem, crowd) if said]
