"""`isoflop runs`: the runs of a lake, newest first."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption

COLUMNS = (
    "run_id, name, family, {settings}status, reason, source, params, tokens, flops, last_step, loss, validation_loss, "
    "step_seconds, started_at"
)
NEWEST = "coalesce(started_at, submitted_at) DESC NULLS LAST, {name}, run_id"
MOST_SETTINGS = 5  # of those that differ between the runs, or of a single one, so that a row still fits a terminal
SETTINGS = """
SELECT key FROM (SELECT unnest(json_keys(config)) AS key, config FROM runs{condition})
WHERE key NOT IN ('params', 'tokens', 'flops', 'loss', 'steps') AND NOT contains(key, '"') AND key IN (
    SELECT column_name FROM duckdb_columns()
    WHERE database_name = current_database() AND schema_name = 'main' AND table_name = 'runs')
GROUP BY key HAVING count(DISTINCT json_extract(config, '$."' || key || '"')) > least(
    (SELECT count(*) - 1 FROM runs{condition}), 1)
ORDER BY count(*) DESC, key LIMIT {limit}
"""


def runs(
    where: Annotated[
        str | None,
        typer.Option("--where", "-w", metavar="CONDITION", help='An SQL condition: "params >= 1B AND loss < 3".'),
    ] = None,
    order_by: Annotated[
        str,
        typer.Option(
            "--order-by", metavar="EXPRESSION", help="What to sort by.", show_default="newest first, then by name"
        ),
    ] = "",
    columns: Annotated[
        str, typer.Option("--columns", "-c", help="Columns to show, or * for all.", show_default="the usual ones")
    ] = "",
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
    from isoflop.lakehouse.sql.quoting import natural, quoted
    from isoflop.queries.language.syntax.sizes import with_sizes

    form = chosen_format(format, json)
    order = order_by or NEWEST.format(name=natural("name"))
    condition = f" WHERE {with_sizes(where)}" if where else ""
    with open_lake(lake, makes=False) as opened:
        count = opened.sql(f"SELECT count(*) AS runs FROM runs{condition}").rows()[0][0]
        if not columns:
            varying = opened.query(SETTINGS.format(condition=condition, limit=MOST_SETTINGS)).column("key").to_pylist()
            columns = COLUMNS.format(settings="".join(f"{quoted(key)}, " for key in varying))
        answer = opened.sql(
            f"SELECT {columns} FROM runs{condition} ORDER BY {order}" + (f" LIMIT {limit}" if limit else "")
        )
    show(answer, form)
    if count > len(answer):
        note(f"{len(answer)} of {count} runs; --limit 0 shows all")
