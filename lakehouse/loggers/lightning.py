"""Log a Lightning `Trainer` into the lake: `Trainer(…, logger=lake_logger(run))` in the block of a run.

The run is that of `lake.run`, or of `isoflop.run`, which a sweep may have begun.

Hyperparameters that the module saves go to the `results` of the run; its columns are what `lake.run` was given.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from isoflop.lakehouse.joined import JoinedRun
from isoflop.lakehouse.loggers.names import lake_metrics
from isoflop.lakehouse.runlog import RunLog

NAMES = {"train_loss": "loss", "train_loss_step": "loss"} | dict.fromkeys(("val_loss", "valid_loss"), "validation_loss")


def lake_logger(run: RunLog | JoinedRun) -> Any:
    """Return a Lightning logger that logs into an open run, from the first process only."""
    package = "lightning.pytorch" if find_spec("lightning") else "pytorch_lightning"

    def log_hyperparams(self: Any, params: Any, *_: Any, **__: Any) -> None:
        run.summary(hyperparameters=dict(params) if hasattr(params, "items") else vars(params))

    def log_metrics(self: Any, metrics: Any, step: int | None = None) -> None:
        if import_module(f"{package}.utilities").rank_zero_only.rank == 0:
            run.log(step=step or 0, **lake_metrics(metrics, NAMES))

    told = {"name": "isoflop", "version": run.run_id, "log_hyperparams": log_hyperparams}
    return type("LakeLogger", (import_module(f"{package}.loggers").Logger,), told | {"log_metrics": log_metrics})()
