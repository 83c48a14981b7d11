"""`isoflop stop`: end a running sweep in order."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption

if TYPE_CHECKING:
    from isoflop.workers.standing import Standing

PATIENCE_SECONDS = 90.0  # a worker has 30 s for its checkpoint, the driver 30 s for the last files
LOOK_SECONDS = 0.5  # between looks at whether the sweep has ended


def stop(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Name or id of a sweep that runs on this machine.")],
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """End a running sweep in order: no further run is started, and those in training write a checkpoint.

    Waits until the sweep has ended. `isoflop sweep` of the same file goes on from there. It does what
    Ctrl-C does where the sweep runs, from anywhere on the same machine.
    """
    import pyarrow as pa

    from isoflop.cli.options import chosen_format, open_lake
    from isoflop.cli.output import note, show
    from isoflop.cli.status import found_sweeps
    from isoflop.lakehouse import Answer
    from isoflop.lakehouse.errors import RunFailed, UsageError
    from isoflop.workers.driven import ask_to_stop, is_driven
    from isoflop.workers.standing import standing

    form = chosen_format(format, json)
    with open_lake(lake, makes=False) as opened:
        running = [found for found in found_sweeps(opened, sweep) if is_driven(opened, found)]
        if not running:
            hint = "isoflop status lists the sweeps; one that runs on another machine is stopped there"
            raise UsageError(f"no process of this machine runs the sweep '{sweep}'", hint=hint)
        for sweep_id in running:
            ask_to_stop(opened, sweep_id)
    note("stopping: runs in training write a checkpoint")
    until = time.monotonic() + PATIENCE_SECONDS
    while any(is_driven(opened, sweep_id) for sweep_id in running):  # the lake is closed: nobody waits for it here
        if time.monotonic() > until:
            hint = "isoflop status shows its runs"
            raise RunFailed(f"the sweep has not stopped within {PATIENCE_SECONDS:g} s", hint=hint)
        time.sleep(LOOK_SECONDS)
    with open_lake(lake, makes=False) as opened:
        rows = [_row(sweep_id, standing(opened, sweep_id)) for sweep_id in running]
    show(Answer(pa.Table.from_pylist(rows)), form)


def _row(sweep_id: str, now: Standing) -> dict[str, object]:
    return {
        "sweep_id": sweep_id,
        "runs": now.total,
        "finished": now.finished,
        "stopped": now.stopped,
        "failed": now.failed,
        "queued": now.queued,
        "over_budget": len(now.over_budget),
    }
