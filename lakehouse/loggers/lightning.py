"""Log a Lightning `Trainer` into the lake.

    with isoflop.open() as lake, lake.run("mlp", {"width": 256}, params=num_params) as run:
        Trainer(max_steps=1000, logger=lake_logger(run)).fit(model, data)

`train_loss` and `val_loss` become `loss` and `validation_loss`; hyperparameters that the module saves go
to the `results` of the run, its columns are what `lake.run` was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.loggers.names import lake_metrics

if TYPE_CHECKING:
    from isoflop.lakehouse.runlog import RunLog

NAMES = {
    "train_loss": "loss",
    "train_loss_step": "loss",
    "val_loss": "validation_loss",
    "valid_loss": "validation_loss",
}


class LoggerEvents:
    """What Lightning tells its loggers, passed on to a run."""

    def __init__(self, run: RunLog) -> None:
        self.run, self.name, self.version = run, run.record.family, run.run_id

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Keep what the module calls its hyperparameters."""
        self.run.summary(hyperparameters=dict(params) if isinstance(params, Mapping) else vars(params))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record what the module logs at a step, from the first process only."""
        if import_module(f"{_package()}.utilities").rank_zero_only.rank == 0:
            self.run.log(step=step or 0, **lake_metrics(metrics, NAMES))


def lake_logger(run: RunLog) -> Any:
    """Return a Lightning logger that logs into an open run.

    Raises
    ------
    ModuleNotFoundError : if neither lightning nor pytorch_lightning is installed
    """
    base = import_module(f"{_package()}.loggers").Logger
    return type("LakeLogger", (LoggerEvents, base), {"name": "", "version": ""})(run)


def _package() -> str:
    return "lightning.pytorch" if find_spec("lightning") else "pytorch_lightning"
