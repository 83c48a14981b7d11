"""`isoflop submit`: send a sweep file to a Ray cluster as a job."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption
from isoflop.cli.sweep import SetOption


def submit(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The sweep file (YAML).")],
    address: Annotated[
        str | None,
        typer.Option(
            "--address", metavar="URL", help="Job server of the cluster, http://head:8265 [default: $RAY_ADDRESS]."
        ),
    ] = None,
    lake: Annotated[
        str | None,
        typer.Option(
            "--lake",
            "-l",
            metavar="FILE",
            help="The lake as the cluster's head sees it: an absolute path [default: $ISOFLOP_LAKE].",
        ),
    ] = None,
    settings: SetOption = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first run that fails for good.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Print the job's output until it ends.")] = True,
    ship_code: Annotated[
        bool, typer.Option("--ship-code", help="Send this isoflop along, for a cluster that has another one or none.")
    ] = False,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Send a sweep to a Ray cluster.

    The job runs `isoflop sweep` on the cluster's head and writes the lake there; what it prints goes to
    stderr here. Submitting the same file twice trains nothing twice. Exit codes: 0 every run has a
    result, 2 the file is wrong, 4 the job or a run failed, 130 interrupted (the job goes on).
    """
    import pyarrow as pa

    from isoflop.cli.options import chosen_format
    from isoflop.cli.output import note, show
    from isoflop.lakehouse import Answer
    from isoflop.workers.cluster import submit_sweep

    form = chosen_format(format, json)
    job = submit_sweep(
        file, address=address, lake=lake, settings=settings or (), fail_fast=fail_fast, ships_code=ship_code
    )
    note(f"submitted as job {job.job_id} to {job.address}")
    if wait:
        try:
            for text in job.output():
                note(text, end="")
        except KeyboardInterrupt:
            note(f"the job goes on; end it with: ray job stop --address {job.address} {job.job_id}")
            raise
    else:
        note(f"follow it: ray job logs --address {job.address} --follow {job.job_id}")
    show(Answer(pa.table({"job_id": [job.job_id], "address": [job.address], "status": [job.status()]})), form)
    code = job.exit_code() if wait else 0
    if code:
        raise typer.Exit(code)
