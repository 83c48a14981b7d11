"""Log a Hugging Face `Trainer` into the lake.

    with isoflop.open() as lake, lake.run("gpt2", {"width": 256}, params=model.num_parameters()) as run:
        Trainer(model, args, train_dataset=data, callbacks=[lake_callback(run)]).train()

`loss` and `validation_loss` come by these names. FLOPs by the Trainer's own count, and tokens with
`include_num_input_tokens_seen=True`, stand at every point of the loss curve.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.loggers.names import lake_metrics

if TYPE_CHECKING:
    from isoflop.lakehouse.runlog import RunLog

NAMES = {"eval_loss": "validation_loss"}
COUNTS = {"total_flos": "flops", "num_input_tokens_seen": "tokens"}  # the Trainer repeats them in every log


class TrainerEvents:
    """What the Trainer tells its callbacks, passed on to a run."""

    def __init__(self, run: RunLog) -> None:
        self.run = run

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Record what the Trainer logs at a step, from the first process only."""
        if state.is_world_process_zero:
            metrics = {name: value for name, value in (logs or {}).items() if name not in COUNTS}
            if "loss" in metrics:
                metrics |= {ours: count for name, ours in COUNTS.items() if (count := getattr(state, name))}
            self.run.log(step=state.global_step, **lake_metrics(metrics, NAMES))


def lake_callback(run: RunLog) -> Any:
    """Return a `transformers.TrainerCallback` that logs into an open run.

    Raises
    ------
    ModuleNotFoundError : if transformers is not installed
    """
    base = import_module("transformers").TrainerCallback
    return type("LakeCallback", (TrainerEvents, base), {})(run)
