"""What goes into a training besides its config, and what comes out besides its curve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from isoflop.workers.saving import USUAL, Saving


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How to run a config here; nothing in it changes the losses.

    Parameters
    ----------
    device : `auto`, `cpu`, `cuda`, `cuda:1`
    threads : CPU threads; by default what torch chose. With one, step times are CPU time
    checkpoint_folder : where checkpoints are kept and found again; None for none
    folder : where a command runs; by default, and where a machine does not have it, that of the process
    output_folder : has a folder for each run of a command, which stays; by default beside `checkpoint_folder`
    saving : how often a checkpoint is written, and what is kept
    log_every : steps a logged point stands for; by default 1, more for runs of over 10,000 steps
    stop : asked after every step; once it says True the run saves a checkpoint and ends with reason `stopped`
    """

    device: str = "auto"
    threads: int | None = None
    checkpoint_folder: Path | None = None
    folder: Path | None = None
    output_folder: Path | None = None
    saving: Saving = USUAL
    log_every: int | None = None
    stop: Callable[[], bool] | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Parameters
    ----------
    status : `finished` or `failed`
    reason : of a failure: `diverged`, `stopped`, `out_of_memory`, `crash`
    loss, validation_loss : [nat/token]; None unless finished
    seconds : clock time of all steps, earlier attempts included [s]
    error : of a crash, its last line
    """

    run_id: str
    status: str
    reason: str | None = None
    loss: float | None = None
    validation_loss: float | None = None
    seconds: float = 0.0
    error: str | None = None
