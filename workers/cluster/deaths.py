"""Why a worker process ended without an answer."""

from __future__ import annotations

from dataclasses import dataclass

MACHINE_GONE = "the machine it ran on is gone"


@dataclass(frozen=True)
class Death:
    """The end that the driver writes for an attempt whose worker cannot.

    Parameters
    ----------
    status : `lost` when the process vanished, `failed` when it was ended for a reason
    reason : crash, out_of_memory, preempted, timeout or stopped; decides about another attempt
    error : one line for display
    """

    status: str
    reason: str
    error: str | None = None


OUT_OF_TIME = Death("failed", "timeout", "did not stop at its time limit; its process was ended")
STOPPED = Death("failed", "stopped", "stopped before it had a result")
DRIVER_LEFT = Death("lost", "stopped", "its driver was ended")
PREEMPTED = Death("lost", "preempted", MACHINE_GONE)


def death_of(error: Exception, *, has_lost_machine: bool) -> Death:
    """Return what an exception of Ray says about the process that a task ran in.

    Parameters
    ----------
    error : what `ray.get` raised
    has_lost_machine : whether the machine that ran the task has left the cluster
    """
    from ray import exceptions

    text = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    match error:
        case exceptions.TaskCancelledError():
            return STOPPED
        case exceptions.OutOfMemoryError():
            return Death("failed", "out_of_memory", text)
        case exceptions.NodeDiedError() | exceptions.LocalRayletDiedError() | exceptions.OwnerDiedError():
            return PREEMPTED
        case exceptions.WorkerCrashedError():
            return PREEMPTED if has_lost_machine else Death("lost", "crash", "the worker process died")
        case exceptions.RayTaskError():
            cause = getattr(error, "cause", None)
            return Death("failed", "crash", text if cause is None else f"{type(cause).__name__}: {cause}")
        case _:
            return Death("failed", "crash", f"{type(error).__name__}: {text}")
