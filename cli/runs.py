"""`isoflop runs`: the runs of a lake, newest first."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption

COLUMNS = (
    "run_id, family, status, reason, source, params, tokens, flops, loss, validation_loss, step_seconds, started_at"
)


def runs(
    where: Annotated[
        str | None,
        typer.Option("--where", "-w", metavar="CONDITION", help='An SQL condition: "width >= 128 AND loss < 3".'),
    ] = None,
    order_by: Annotated[
        str, typer.Option("--order-by", metavar="EXPRESSION", help="What to sort by.")
    ] = "started_at DESC NULLS LAST, run_id",
    columns: Annotated[str, typer.Option("--columns", "-c", help="Columns to show, or * for all.")] = COLUMNS,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many to show; 0 shows all.")] = 50,
    lake: LakeOption = None,
    format: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """List runs.

    isoflop runs --where "family = 'transformer'" --order-by loss
    """  # fmt: skip
    from isoflop.cli.options import chosen_format, open_lake
    from isoflop.cli.output import note, show

    form = chosen_format(format, json)
    condition = f" WHERE {where}" if where else ""
    with open_lake(lake) as opened:
        count = opened.sql(f"SELECT count(*) AS runs FROM runs{condition}").rows()[0][0]
        answer = opened.sql(
            f"SELECT {columns} FROM runs{condition} ORDER BY {order_by}" + (f" LIMIT {limit}" if limit else "")
        )
    show(answer, form)
    if count > len(answer):
        note(f"{len(answer)} of {count} runs; --limit 0 shows all")
