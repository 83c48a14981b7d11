"""Objects in the place of lists: `{"a": {…}, "b": {…}}` is a record for each name, as `{"runs": {"a": {…}, …}}` is.

pandas writes a frame so by default: an object for each column, a value for each row, `{"loss": {"0": 3.1, "1": …}}`;
with `orient="split"`, as Weights & Biases writes tables, names stand beside rows: `{"columns": […], "data": [[…], …]}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.exchange.naming import TABLE_NAMES, counted, plain_name
from isoflop.lakehouse.exchange.table_columns import columns_of

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

# Objects of these names are parts of one run, whatever they have in common.
PARTS = frozenset(
    ("train", "training", "eval", "evaluation", "val", "valid", "validation", "test", "dev", "config", "metrics",
     "summary", "best", "final", "last", "first", "model", "data", "optimizer")
)  # fmt: skip
FITTED = ("loss", "validation_loss", "perplexity", "params", "tokens", "flops")  # what records of runs have one of
BESIDE_ROWS = ("index", "index_names", "column_names", "column_types", "_type", "ncols", "nrows")  # what more they say
ALIKE = 0.5  # share of its fields [1] that a record has in common with all others


def keyed_unfolded(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Give each record of the table `file` a row where the whole file is one object of them; returns notes."""
    kinds = columns_of(con, "file")
    objects = [name for name, kind in kinds.items() if kind.startswith(("STRUCT(", "MAP(")) and kind.endswith(")")]
    (count,) = con.execute("SELECT count(*) FROM file").fetchone() or (0,)
    if count == 1 and {"columns", "data"} <= set(kinds) and set(kinds) <= {"columns", "data", *BESIDE_ROWS}:
        return _split(con)
    if count != 1 or not objects:
        return []
    whole = dict(zip(kinds, con.execute("SELECT * FROM file").fetchone() or (), strict=True))
    given = {name: whole[name] for name in objects}
    others = {name: value for name, value in whole.items() if name not in objects}
    if not others and _are_columns(given):
        rows = [{name: cells[key] for name, cells in given.items()} for key in given[objects[0]]]
        note = f"the file is one object of columns; {counted(len(rows), 'row')}"
    elif not others and _are_records(given):
        rows, note = _named(given, {}), f"the file is one object; {counted(len(given), 'record')}, one for each name"
    elif len(objects) == 1 and isinstance(given[objects[0]], dict) and _are_records(given[objects[0]]):
        records = given[objects[0]]
        rows = _named(records, others)
        what = "the file" if list(kinds) == ["json"] else f"'{objects[0]}'"  # what DuckDB calls a file of many names
        note = f"{what} is one object; {counted(len(records), 'record')}, one for each name"
    else:
        return []
    _replace(con, rows)
    return [note]


def _split(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Give the rows that stand beside the names of their columns a row each; returns notes, none for another file."""
    names, data = map(json.loads, con.execute("SELECT to_json(columns), to_json(data) FROM file").fetchone() or ())
    is_named = isinstance(names, list) and names and all(isinstance(name, str | int | float) for name in names)
    if not (is_named and isinstance(data, list) and data):
        return []
    if not all(isinstance(row, list) and len(row) == len(names) for row in data):
        return []
    _replace(con, [dict(zip(map(str, names), row, strict=True)) for row in data])
    return [f"the file is names of columns beside rows; {counted(len(data), 'row')}"]


def _replace(con: duckdb.DuckDBPyConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Make rows the table `file`."""
    con.execute("DROP TABLE file")
    con.register("unfolded", _table(rows))
    con.execute("CREATE TABLE file AS SELECT * FROM unfolded")
    con.unregister("unfolded")


def _are_columns(given: Mapping[str, Any]) -> bool:
    """Return whether objects are columns: a value for each number of a row, the same numbers in all."""
    if len(given) < 2 or not all(isinstance(cells, dict) and cells for cells in given.values()):
        return False
    keys = [list(map(str, cells)) for cells in given.values()]
    return all(each == keys[0] for each in keys) and all(key.isdigit() for key in keys[0])


def _are_records(given: Mapping[str, Any]) -> bool:
    """Return whether objects are records of runs: most fields are in all of them, something to fit to among those."""
    if len(given) < 2 or not all(isinstance(record, dict) and record for record in given.values()):
        return False
    shared = set.intersection(*(_said(record) for record in given.values()))
    is_alike = all(len(shared) >= ALIKE * len(_said(record)) for record in given.values())
    known = {plain_name(other) for ours in FITTED for other in (ours, *TABLE_NAMES.get(ours, ()))}
    is_fitted = any(plain_name(name) in known for name in shared)
    return is_alike and is_fitted and not {name.lower() for name in given} <= PARTS


def _said(record: Mapping[str, Any]) -> set[str]:
    return {name for name, value in record.items() if value is not None}


def _named(records: Mapping[str, dict[str, Any]], others: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the records with their names, unless they have some of their own."""
    has_name = any(name.lower() in ("name", "run_id") for record in records.values() for name in record)
    return [{**others, **({} if has_name else {"name": name}), **record} for name, record in records.items()]


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return rows as a table; a field with values of several types is text."""
    import pyarrow as pa

    columns = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            columns[name] = pa.array([None if value is None else str(value) for value in values])
    return pa.table(columns)
