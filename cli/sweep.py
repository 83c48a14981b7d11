"""`isoflop sweep`: train and time the runs of a sweep file."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption

if TYPE_CHECKING:
    from isoflop.lakehouse import Answer
    from isoflop.workers.cluster import SweepState

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a part of the file: --set grid.width=[64,128]."),
]


def sweep(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The sweep file (YAML); - reads standard input.")],
    lake: LakeOption = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            help="A Ray cluster to join, or auto [default: Ray inside this process; in a Ray job its cluster].",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the runs and what they will cost; train nothing.")
    ] = False,
    settings: SetOption = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first run that fails for good.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Train only the runs that failed or were lost.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Train also runs that need more memory than this machine has.")
    ] = False,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Train the runs of a sweep file that have no result yet.

    Running the same file again is safe: finished runs are skipped, the others go on from their
    checkpoints, and those that failed are tried again; --failed leaves out what was never started.
    Ctrl-C and `isoflop stop` end it in order. `max_concurrent: 2` in the file limits the runs at once, and
    `budget: {flops: 1e15}` (or seconds, or dollars with a price) what all of them take; runs that
    the budget does not hold are skipped, and a larger budget goes on with them. Exit codes: 0 every
    run has a result or the budget is used, 2 the file is wrong, 4 a run failed, 130 interrupted.
    """
    from isoflop.cli.options import chosen_format, open_lake
    from isoflop.cli.output import show
    from isoflop.workers.sweep import load_sweeps

    form = chosen_format(format, json)
    sweeps = load_sweeps(file, settings or ())
    if dry_run:
        from isoflop.cli.dry_run import describe_plans

        show(describe_plans(sweeps, lake), form)
        return

    from isoflop.cli.progress import watching
    from isoflop.workers.cluster import RaySession, run_sweep

    states: list[SweepState] = []
    for sweep in sweeps:  # a wrong file is refused before anything trains
        sweep.expand()
    with open_lake(lake) as opened, RaySession(address) as session:
        for sweep in sweeps:
            with watching() as watch:
                states.append(
                    run_sweep(
                        opened,
                        sweep,
                        session=session,
                        watch=watch,
                        fail_fast=fail_fast,
                        only_failed=failed,
                        force=force,
                    )
                )
            if states[-1].is_interrupted or (states[-1].failures and (fail_fast or sweep.stops_at_failure)):
                break
    show(_summary(states, with_failures=form in ("json", "arrow")), form)
    code = max(state.exit_code for state in states)
    if code:
        raise typer.Exit(code)


def _summary(states: list[SweepState], *, with_failures: bool) -> Answer:
    """Return one row a sweep: what has a result now, and what has not."""
    import pyarrow as pa

    from isoflop.lakehouse import Answer

    rows = [
        {
            "sweep_id": state.sweep_id,
            "name": state.name,
            "runs": state.total,
            "finished": state.finished,
            "diverged": state.diverged,
            "stopped_early": state.stopped_early,
            "skipped": state.skipped,
            "failed": state.failed,
            "not_run": state.queued + len(state.running),
            "over_budget": state.over_budget,
            "retried": state.retried,
            "excluded": state.excluded,
            "seconds": round(state.seconds, 1),
        }
        for state in states
    ]
    table = pa.Table.from_pylist(rows)
    if with_failures:
        kind = pa.list_(pa.struct([(name, pa.string()) for name in ("run_id", "label", "reason", "error")]))
        table = table.append_column(
            "failures", pa.array([[asdict(failure) for failure in each.failures] for each in states], kind)
        )
    return Answer(table)
