"""Tables that hold runs in another shape than rows of plain columns.

Records within a record, lists in a record, a column for each run, several rows for a step, a tuner's trials.
"""

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
TRIALS = {"number", "value", "state", "datetime_start"}  # columns of Study.trials_dataframe()
TRIAL_SETTING = "params_"
CLOCK = re.compile(r"time|second|duration|date|runtime")  # columns that differ between the rows of one step
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


def records_unfolded(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Give each record of the table `file` a row where the whole file is one object around a list of them.

    Where that is pandas's `orient="table"`, the schema beside it says nothing of a run, and an index of texts is names.
    """
    kinds = columns_of(con, "file")
    lists = [name for name, kind in kinds.items() if kind.startswith("STRUCT(") and kind.endswith("[]")]
    (count,) = con.execute("SELECT count(*) FROM file").fetchone() or (0,)
    if count != 1 or len(lists) != 1:
        return []
    (records,) = lists
    is_frame = set(kinds) == {"schema", "data"} and "primaryKey" in kinds["schema"]
    beside = [] if is_frame else [name for name in kinds if name != records and not kinds[name].endswith("]")]
    rest = "".join(f"{quoted(name)}, " for name in beside)
    con.execute(f"CREATE TABLE records AS SELECT {rest}unnest({quoted(records)}) AS {quoted(records)} FROM file")
    names = [name for name, _ in _fields(con, "records", records)]
    taken = {name.lower() for name in kinds}
    opened = ", ".join(
        f"{quoted(records)}.{quoted(name)} AS {quoted(f'{records}.{name}' if name.lower() in taken else name)}"
        for name in names
    )
    con.execute("DROP TABLE file")
    con.execute(f"CREATE TABLE file AS SELECT {rest}{opened} FROM records")
    con.execute("DROP TABLE records")
    columns = columns_of(con, "file")
    if is_frame and columns.get("index") == "VARCHAR" and "name" not in {name.lower() for name in columns}:
        con.execute("ALTER TABLE file RENAME index TO name")
    return [f"the file is one object; its list '{records}' was read, a row for each record"]


def structs_opened(con: duckdb.DuckDBPyConnection, mapping: Mapping[str, str], most: int) -> None:
    """Give every field of an object within the records of the table `file` a column, `config.model.n_params`.

    A list that is a curve loses its path where no other column has its name: `history.loss` is `loss`.
    Stops when there are `most` columns.
    """
    while True:
        kinds = columns_of(con, "file")
        structs = [name for name, kind in kinds.items() if kind.startswith("STRUCT(") and kind.endswith(")")]
        if not structs or len(kinds) > most:
            return
        parts: list[str] = []
        names = {name.lower() for name in kinds}
        for name in kinds:
            if name not in structs:
                parts.append(quoted(name))
                continue
            for field, kind in _fields(con, "file", name):
                is_curve = bool(LISTS.fullmatch(kind)) and (
                    _is_along_a_curve(field, mapping) or plain_name(field) in STEPS
                )
                called = field if is_curve and field.lower() not in names else f"{name}.{field}"
                names.add(called.lower())
                parts.append(f"{quoted(name)}.{quoted(field)} AS {quoted(called)}")
        con.execute(f"CREATE TABLE opened AS SELECT {', '.join(parts)} FROM file ORDER BY rowid")
        con.execute("DROP TABLE file")
        con.execute("ALTER TABLE opened RENAME TO file")


def _fields(con: duckdb.DuckDBPyConnection, table: str, column: str) -> list[tuple[str, str]]:
    """Return the fields of a column of objects and their types."""
    answer = con.execute(f"SELECT unnest({quoted(column)}) FROM {table} LIMIT 0")
    return [(str(field[0]), str(field[1])) for field in answer.description or ()]


def trials_renamed(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Call the settings of Optuna's trials in the table `file` by their names, without `params_`; returns notes."""
    names = list(columns_of(con, "file"))
    if not set(names) >= TRIALS:
        return []
    settings = [name for name in names if name.startswith(TRIAL_SETTING) and name != TRIAL_SETTING]
    for name in settings:
        if name.removeprefix(TRIAL_SETTING).lower() not in {other.lower() for other in names}:
            con.execute(f"ALTER TABLE file RENAME {quoted(name)} TO {quoted(name.removeprefix(TRIAL_SETTING))}")
    return [f"read as Optuna's trials, '{TRIAL_SETTING}…' as settings"] if settings else []


def completed_steps(con: duckdb.DuckDBPyConnection, key: str) -> bool:
    """Put the rows of one step together in the table `rows`, where each of them has what the others lack.

    So do loggers write that give training and evaluation a row each. Nothing is done, and False returned, where
    two rows of a step say different numbers: these are two curves. Clocks may differ.

    Parameters
    ----------
    key : SQL of what tells runs apart
    """
    columns = columns_of(con, "rows")
    others = [name for name in columns if name not in ("step", "name", "run_id")]
    told = [name for name in others if not CLOCK.search(name.lower())]
    gaps = " OR ".join(f"count({quoted(name)}) < count(*)" for name in told) or "false"
    same = " AND ".join(f"count(DISTINCT {quoted(name)}) <= 1" for name in told) or "true"
    row = con.execute(
        f"SELECT bool_and(same), bool_and(gaps) FROM (SELECT {same} AS same, {gaps} AS gaps FROM rows "
        f"WHERE step IS NOT NULL GROUP BY {key}, step HAVING count(*) > 1)"
    ).fetchone()
    if not (row and row[0] and row[1]):
        return False
    kept = ", ".join(
        "step" if name == "step" else f"any_value({quoted(name)} ORDER BY _row) AS {quoted(name)}" for name in columns
    )
    con.execute(
        f"CREATE TABLE whole AS SELECT {kept} FROM (SELECT *, rowid AS _row FROM rows) "
        f"GROUP BY {key}, step, CASE WHEN step IS NULL THEN _row END ORDER BY min(_row)"
    )
    con.execute("DROP TABLE rows")
    con.execute("ALTER TABLE whole RENAME TO rows")
    return True
