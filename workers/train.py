"""Train runs and record them; knows no scheduler, so it works the same in a notebook and on a cluster.

What a run records:

- a curve: the training loss of every step (of `log_every` steps for long runs), with the clock time so far;
- `loss`, the mean training loss over the last 5 % of the steps (1 to 50 of them); `validation_loss`, taken at
  the end on held-out text that is the same for every run of a corpus; a mean of the weights, other text and bits
  per byte are metrics of the last step, where a family has them; for a packed run, `loss` is
  its value at the last step, and its curve has every metric that its family names;
- times of every phase, by the rules of `isoflop.workers.timing`; peak memory; the corpus's hash.

Nothing a run does wrong is raised: a run that diverges, crashes or runs out of memory ends with status
`failed`, its reason and the curve it had.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import UsageError
from isoflop.workers.families.command import Command
from isoflop.workers.families.experiment import Experiment
from isoflop.workers.families.gradient import GradientFamily
from isoflop.workers.families.packed import PackedExperiment
from isoflop.workers.outcome import Outcome, TrainOptions

if TYPE_CHECKING:
    from isoflop.lakehouse.ingest.spool import Spool

__all__ = ["Outcome", "TrainOptions", "train", "train_packed"]


def train(family: Experiment, spool: Spool, *, options: TrainOptions | None = None) -> Outcome:
    """Train one run and record it in its spool.

    A run with a checkpoint in `options.checkpoint_folder` continues from it; on a CPU it then gives the
    same bits as one that was never interrupted.

    Raises
    ------
    KeyboardInterrupt, SystemExit : everything else is recorded and returned
    """
    [outcome] = train_packed([family], [spool], options=options)
    return outcome


def train_packed(
    families: Sequence[Experiment], spools: Sequence[Spool], *, options: TrainOptions | None = None
) -> list[Outcome]:
    """Train runs that share a pack key in one program, or one run of any family.

    Raises
    ------
    UsageError : if the runs do not belong together
    """
    options = options or TrainOptions()
    keys = {family.pack_key() for family in families}
    if len(families) != len(spools) or len(keys) > 1 or (len(families) > 1 and None in keys):
        raise UsageError(
            f"{len(families)} runs with {len(spools)} spools and {len(keys)} pack keys cannot train together"
        )
    try:
        match families:
            case [GradientFamily() as family]:
                from isoflop.workers.gradient_training import train_gradient

                return [train_gradient(family, spools[0], options)]
            case [Command() as family]:
                from isoflop.workers.commands.training import train_command

                return [train_command(family, spools[0], options)]
            case [PackedExperiment(), *_]:
                from isoflop.workers.packed_training import train_program

                return train_program([run for run in families if isinstance(run, PackedExperiment)], spools, options)
            case _:
                raise UsageError(
                    f"'{type(families[0]).__name__}' is neither a command, a gradient family nor a packed one"
                )
    except Exception as error:
        return [_record_failure(family, spool, error) for family, spool in zip(families, spools, strict=True)]


def _record_failure(family: Experiment, spool: Spool, error: Exception) -> Outcome:
    """Write down what went wrong; the curve so far is in the spool already."""
    reason = "out_of_memory" if _is_out_of_memory(error) else "crash"
    message = f"{type(error).__name__}: {error}"
    spool.ended("failed", reason, error=message, traceback="".join(traceback.format_exception(error)))
    return Outcome(run_id=family.record().run_id, status="failed", reason=reason, error=message)


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether a device or the host had no memory left; torch's CPU allocator raises a plain RuntimeError."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )
