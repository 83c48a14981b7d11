"""The example of the documentation: a function that trains, and goes on where an earlier attempt was stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

STEP_SECONDS = 0.05  # that a step takes, so that there is something to stop


def train(config: Mapping[str, Any], run: Any) -> None:
    """Take `config["steps"]` steps; the number of those done is the checkpoint."""
    checkpoint = run.output / "step"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    for step in range(done + 1, config["steps"] + 1):
        time.sleep(STEP_SECONDS)
        print(json.dumps({"step": step, "loss": 1.5 + 1 / (step * config["width"])}))
        partial = run.output / "step.partial"
        partial.write_text(str(step))
        partial.replace(checkpoint)  # whole or not at all: the process may be ended at any moment
