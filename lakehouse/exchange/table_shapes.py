"""Tables that hold curves in another shape than rows: lists in a record, and a column for each run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import FileError
from isoflop.lakehouse.exchange.landing import AXES, MEASURED
from isoflop.lakehouse.exchange.naming import METRIC_NAMES, TABLE_NAMES, counted, plain_name
from isoflop.lakehouse.exchange.table_columns import columns_of
from isoflop.lakehouse.sql.quoting import quoted

if TYPE_CHECKING:
    import duckdb

LISTS = re.compile(r"(DOUBLE|FLOAT|BIGINT|INTEGER|HUGEINT|UBIGINT|SMALLINT|DECIMAL\(.*\))\[\]")
ALONG_A_CURVE = (*MEASURED, *AXES, "step", "seconds")
STEPS = ("step", "steps", "iteration", "iterations", "global/step")
CHART = re.compile(r"(?P<run>.+) - (?P<metric>.+?)(?P<bound>__MIN|__MAX)?")
CHART_STEPS = ("step", "_step", "global_step", "trainer/global_step", "train/global_step")


def lists_unfolded(con: duckdb.DuckDBPyConnection, path: Path, mapping: Mapping[str, str]) -> list[str]:
    """Give each point of the table `file` a row where records hold curves as lists; returns notes.

    A list is a curve where it is called, or mapped to, what is measured along one; the other lists of numbers, as
    long as it, go along. Without a list of steps the points are counted from 1.

    Raises
    ------
    FileError : if lists of one record have different lengths
    """
    lists = [name for name, kind in columns_of(con, "file").items() if LISTS.fullmatch(kind)]
    chosen = [name for name in lists if _is_along_a_curve(name, mapping)]
    if not chosen:
        return []
    length = f"len({quoted(chosen[0])})"
    is_alike = {name: f"bool_and(len({quoted(name)}) IS NOT DISTINCT FROM {length})" for name in lists}
    alike = con.execute(f"SELECT {', '.join(is_alike.values())} FROM file").fetchone() or ()
    along = [name for name, is_so in zip(is_alike, alike, strict=True) if is_so]
    if short := [name for name in chosen if name not in along]:
        raise FileError(
            path, None, f"the lists {chosen[0]} and {short[0]} of one record have different lengths",
            hint="a record is a curve where its lists have a value for each point",
        )  # fmt: skip
    names = list(columns_of(con, "file"))
    rest = "".join(f"{quoted(name)}, " for name in names if name not in along)
    steps = next((name for name in along if plain_name(name) in STEPS), None)
    unfolded = ", ".join(f"unnest({quoted(name)}) AS {quoted('step' if name == steps else name)}" for name in along)
    counting = "" if steps else f", generate_subscripts({quoted(chosen[0])}, 1) AS step"
    has_name = {"run_id", "name"} & {name.lower() for name in names}
    stem = path.name.partition(".")[0].replace("'", "''")
    called = "" if has_name else f", '{stem}-' || (rowid + 1) AS name"
    con.execute(f"CREATE TABLE points AS SELECT {rest}{unfolded}{counting}{called} FROM file ORDER BY rowid")
    con.execute("DROP TABLE file")
    con.execute("ALTER TABLE points RENAME TO file")
    return [f"the lists {', '.join(along)} were read as curves, a point for each value"]


def _is_along_a_curve(name: str, mapping: Mapping[str, str]) -> bool:
    plain = plain_name(name)
    known = {other for ours in ("loss", "validation_loss") for other in METRIC_NAMES[ours] + TABLE_NAMES[ours]}
    mapped = {ours for ours, theirs in mapping.items() if theirs.lower() == name.lower()}
    return bool(mapped & set(ALONG_A_CURVE)) or plain in known | {plain_name(ours) for ours in ALONG_A_CURVE}


def charts_unfolded(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Give each point of the table `file` a row where a column is a run, as charts are exported; returns notes.

    Such a column is called `RUN - METRIC`; those that end in __MIN and __MAX are bounds of the picture.
    """
    names = list(columns_of(con, "file"))
    step = next((name for name in names if name.lower() in CHART_STEPS), None)
    others = [name for name in names if name != step]
    charted = {name: match for name in others if (match := CHART.fullmatch(name)) is not None}
    if step is None or not charted or len(charted) < len(others):
        return []
    curves = {name: match for name, match in charted.items() if match["bound"] is None}
    metrics = list(dict.fromkeys(match["metric"] for match in curves.values()))
    parts = []
    for run in dict.fromkeys(match["run"] for match in curves.values()):
        of_run = {match["metric"]: name for name, match in curves.items() if match["run"] == run}
        values = ", ".join(
            f"{quoted(of_run[metric]) if metric in of_run else 'NULL'} AS {quoted(metric)}" for metric in metrics
        )
        there = " OR ".join(f"{quoted(name)} IS NOT NULL" for name in of_run.values())
        name = run.replace("'", "''")
        parts.append(f"SELECT '{name}' AS name, {quoted(step)} AS step, {values} FROM file WHERE {there}")
    con.execute(f"CREATE TABLE points AS {' UNION ALL '.join(parts)}")
    con.execute("DROP TABLE file")
    con.execute("ALTER TABLE points RENAME TO file")
    return [f"{counted(len(parts), 'run')}, one for each column of an exported chart"]
