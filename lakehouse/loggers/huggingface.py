"""Log a Hugging Face `Trainer` into the lake: `Trainer(…, callbacks=[lake_callback(run)])` in the block of a run.

The run is that of `lake.run`, or of `isoflop.run`, which a sweep may have begun.

`loss` and `validation_loss` come by these names. FLOPs by the Trainer's own count, and tokens with
`include_num_input_tokens_seen=True`, stand at every point of the loss curve.
"""

from importlib import import_module
from typing import Any

from isoflop.lakehouse.joined import JoinedRun
from isoflop.lakehouse.loggers.names import lake_metrics
from isoflop.lakehouse.runlog import RunLog

COUNTS = {"total_flos": "flops", "num_input_tokens_seen": "tokens"}  # the Trainer repeats them in every log


def lake_callback(run: RunLog | JoinedRun) -> Any:
    """Return a `transformers.TrainerCallback` that logs into an open run, from the first process only."""

    def on_log(self: Any, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        if state.is_world_process_zero:
            metrics = {name: value for name, value in logs.items() if name not in COUNTS}
            if "loss" in metrics:
                metrics |= {ours: count for name, ours in COUNTS.items() if (count := getattr(state, name))}
            run.log(step=state.global_step, **lake_metrics(metrics, {"eval_loss": "validation_loss"}))

    return type("LakeCallback", (import_module("transformers").TrainerCallback,), {"on_log": on_log})()
