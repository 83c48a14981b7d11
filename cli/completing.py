"""What a shell completes after Tab: laws, runs and lakes by their names. Nothing is made, and an error says nothing."""

from __future__ import annotations

import typer

MOST = 100  # names that are offered; a shell lists no more without asking

LAWS = "SELECT name, any_value(form) AS meaning FROM laws WHERE starts_with(name, {}) GROUP BY name ORDER BY name"
RUNS = """
SELECT name, meaning FROM (
    SELECT run_id AS name, coalesce(name, '') AS meaning, submitted_at FROM runs
    UNION ALL SELECT name, run_id, submitted_at FROM runs WHERE name <> run_id
) WHERE starts_with(name, {}) ORDER BY submitted_at DESC NULLS LAST, name
"""


def complete_law(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the saved laws whose names begin so, each with its form."""
    return _names(ctx, LAWS, incomplete)


def complete_run(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the ids and names of runs that begin so, the newest first."""
    return _names(ctx, RUNS, incomplete)


def complete_law_or_run(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the laws and the runs that begin so."""
    return [*complete_law(ctx, incomplete), *complete_run(ctx, incomplete)]


def complete_lake(incomplete: str) -> list[str]:
    """Return the lakes and the folders whose paths begin so."""
    from pathlib import Path

    folder, _, start = incomplete.rpartition("/")
    place = Path(f"{folder}/" if folder or incomplete.startswith("/") else ".").expanduser()
    try:
        found = sorted(path for path in place.iterdir() if path.name.startswith(start) and path.name[0] != ".")
    except OSError:
        return []
    prefix = incomplete[: len(incomplete) - len(start)]
    lakes = [f"{prefix}{path.name}" for path in found if path.suffix == ".duckdb"]
    return lakes + [f"{prefix}{path.name}/" for path in found if path.is_dir() and path.suffix != ".spool"]


def _names(ctx: typer.Context, query: str, incomplete: str) -> list[tuple[str, str]]:
    """Ask the lake of the command line for names; one that is not there, or does not answer, has none."""
    from isoflop.cli.existing import check_exists
    from isoflop.lakehouse import Lakehouse
    from isoflop.lakehouse.sql.quoting import literal  # a parameter would make DuckDB import pandas, half a second
    from isoflop.lakehouse.visible import visible_line

    address = ctx.params.get("lake")
    try:
        check_exists(address)
        with Lakehouse(address, read_only=True) as lake:
            rows = lake.query(f"{query.format(literal(incomplete))} LIMIT {MOST}").to_pylist()
    except Exception:  # whatever it is: a prompt without completion is better than an error in the middle of a line
        return []
    return [
        (row["name"], visible_line(row["meaning"] or "")) for row in rows if row["name"] == visible_line(row["name"])
    ]
