"""A process that logs and says what has been acknowledged: the victim of the fault harness.

`log_one` is one attempt. Steps go into a spool; after each flush that succeeded, the last step is
appended to an acknowledgement file of its own, which is what the lake must have afterwards.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from isoflop.lakehouse import Spool


def log_one(spool_folder: str, run_id: str, attempt: int, start: int, steps: int, acknowledged: str, rate: int) -> int:
    """Log `steps` steps from `start`, `rate` a second; return the step after the last one acknowledged."""
    spool = Spool(spool_folder, run_id, attempt, flush_seconds=0.1)
    spool.started(host="chaos", device="cpu", resumed_step=start - 1 if start else None)
    step, end = start, start + steps
    descriptor = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        while step < end:
            upto = min(end, step + random.randint(1, max(2, rate // 5)))
            for number in range(step, upto):
                spool.log(number, loss=1.0 + 1.0 / (number + 1), norm=float(number))
            time.sleep((upto - step) / rate)
            step = upto
            if spool.flush():
                os.write(descriptor, f"{run_id} {attempt} {start} {step}\n".encode())
        spool.ended("finished", loss=1.0)
        while not spool.flush():
            time.sleep(0.1)
        os.write(descriptor, f"{run_id} {attempt} {start} done\n".encode())
        spool.close()
    finally:
        os.close(descriptor)
    return step


def main() -> None:
    """Run `log_one` with the arguments of the command line."""
    folder, run_id, attempt, start, steps, acknowledged, rate = sys.argv[1:]
    Path(acknowledged).touch()
    log_one(folder, run_id, int(attempt), int(start), int(steps), acknowledged, int(rate))


if __name__ == "__main__":
    main()
