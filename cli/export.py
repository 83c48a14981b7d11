"""`isoflop export`: write an answer to a file, or runs for another tracker."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import LakeOption


def export(
    what: Annotated[
        str,
        typer.Argument(metavar="STATEMENT", help="A statement, or a view by its name: runs, curves, metrics, laws."),
    ],
    to: Annotated[
        str,
        typer.Option("--to", "-t", metavar="PATH", help="A .parquet, .csv, .arrow or .jsonl file; with --as a folder."),
    ],
    format: Annotated[
        str | None,
        typer.Option("--as", metavar="TRACKER", help="Write whole runs with their curves: mlflow or wandb."),
    ] = None,
    all_attempts: Annotated[
        bool, typer.Option("--all-attempts", help="Of metrics: also the points that a later attempt replaced.")
    ] = False,
    lake: LakeOption = None,
) -> None:
    """Write the rows of a statement to a file, or the runs it names for another tracker.

    Nothing is sampled; `metrics` are the curves as readers see them, without what a later attempt replaced. With
    --as the statement has a column run_id, and the runs go out whole: settings, tags, status and every curve.

    \b
      isoflop export runs --to runs.parquet
      isoflop export "SELECT params, tokens, loss FROM runs WHERE width >= 128" --to wide.csv
      isoflop export runs --as mlflow --to mlruns
    """
    from pathlib import Path

    from isoflop.cli.options import open_lake
    from isoflop.cli.output import note, warn
    from isoflop.lakehouse.errors import UsageError
    from isoflop.lakehouse.exchange.export import export_runs, export_table, statement_of

    path = Path(to)
    with open_lake(lake, makes=False) as opened:
        answer = opened.sql(statement_of(what, all_attempts=all_attempts))
        if format is None:
            count = export_table(answer.arrow(), path)
            note(f"{path}: {count} rows of {len(answer.columns)} columns")
        else:
            if "run_id" not in answer.columns:
                raise UsageError(
                    f"--as {format} writes whole runs, and the statement has no column run_id",
                    hint=f"isoflop export runs --as {format} --to {to}, or a statement that selects run_id",
                )
            run_ids = [str(run_id) for run_id in answer.arrow()["run_id"].to_pylist() if run_id is not None]
            count = export_runs(opened, run_ids, path, format)
            note(f"{path}: {count} runs for {format}")
    for line in answer.notes:
        warn(line)
