"""Objects in the place of lists: `{"a": {…}, "b": {…}}` is a record for each name, as `{"runs": {"a": {…}, …}}` is.

pandas writes a frame so by default: an object for each column, a value for each row, `{"loss": {"0": 3.1, "1": …}}`;
with `orient="split"`, as Weights & Biases writes tables, names stand beside rows: `{"columns": […], "data": [[…], …]}`,
and with `to_dict("list")` a list of values beside each name, `{"loss": [3.1, …], …}`. An index of texts is their names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import FileError
from isoflop.lakehouse.exchange.naming import TABLE_NAMES, counted, plain_name
from isoflop.lakehouse.exchange.table_columns import columns_of
from isoflop.lakehouse.sql.quoting import quoted

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb
    import pyarrow as pa

# Objects of these names are parts of one run, whatever they have in common.
PARTS = frozenset(
    ("train", "training", "eval", "evaluation", "val", "valid", "validation", "test", "dev", "config", "metrics",
     "summary", "best", "final", "last", "first", "model", "data", "optimizer")
)  # fmt: skip
FITTED = ("loss", "validation_loss", "perplexity", "params", "tokens", "flops")  # what records of runs have one of
NOT_OF_RUNS = ("tags",)  # lists of texts that one run has
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
        by_key = {key: {name: cells[key] for name, cells in given.items()} for key in given[objects[0]]}
        rows = list(by_key.values()) if _is_count(by_key) else _named(by_key.items(), {})
        note = f"the file is one object of columns; {counted(len(rows), 'row')}"
    elif not others and _are_records(given):
        rows, note = (
            _named(given.items(), {}),
            f"the file is one object; {counted(len(given), 'record')}, one for each name",
        )
    elif len(objects) == 1 and isinstance(given[objects[0]], dict) and _are_records(given[objects[0]]):
        records = given[objects[0]]
        rows = _named(records.items(), others)
        what = "the file" if list(kinds) == ["json"] else f"'{objects[0]}'"  # what DuckDB calls a file of many names
        note = f"{what} is one object; {counted(len(records), 'record')}, one for each name"
    else:
        return []
    _replace(con, rows)
    return [note]


def columns_unfolded(con: duckdb.DuckDBPyConnection, path: Path) -> list[str]:
    """Give each run of the table `file` a row where the whole file is one object of lists of values; returns notes.

    Such are lists of which one says the params or a text of each run. A record that has a name or params of its own
    holds curves, and is left for those.

    Raises
    ------
    FileError : if a list of what laws are fitted to has another length
    """
    (count,) = con.execute("SELECT count(*) FROM file").fetchone() or (0,)
    kinds, opened = _opened(con) if count == 1 else ({}, "*")
    keys = _tell_runs_apart(kinds)
    if not keys:
        return []
    lists = [name for name, kind in kinds.items() if kind.endswith("[]")]
    sizes = ", ".join(f"len({quoted(name)})" for name in lists)
    lengths = con.execute(f"SELECT {sizes} FROM (SELECT {opened} FROM file)").fetchone() or ()
    length_of = dict(zip(lists, lengths, strict=True))
    known = [name for name in lists if _is_known(name, FITTED)]
    key = next((name for name in keys if all(length_of[other] == length_of[name] for other in known)), keys[0])
    along = [name for name in lists if length_of[name] == length_of[key]]
    if short := next((name for name in known if name not in along), None):
        if not _is_known(key, ("params",)):
            return []  # texts are settings of one run then
        raise FileError(
            path, None,
            f"the lists {key} and {short} of one object have different lengths, "
            f"{length_of[key]} and {length_of[short]}",
            hint="a file of columns has a value for each run in every list; null where there is none",
        )  # fmt: skip
    con.execute(f"CREATE TABLE whole AS SELECT {opened} FROM file")
    cells = ", ".join(f"unnest({quoted(name)}) AS {quoted(name)}" if name in along else quoted(name) for name in kinds)
    con.execute("DROP TABLE file")
    con.execute(f"CREATE TABLE file AS SELECT {cells} FROM whole")
    con.execute("DROP TABLE whole")
    return [f"the file is one object of columns; {counted(int(length_of[key] or 0), 'row')}"]


def _opened(con: duckdb.DuckDBPyConnection) -> tuple[dict[str, str], str]:
    """Return the columns of the one record of `file`, those within its only object of lists too, and their SQL."""
    kinds = columns_of(con, "file")
    for whole, kind in kinds.items():
        if kind.startswith("STRUCT(") and kind.endswith(")"):
            others = {name: other for name, other in kinds.items() if name != whole}
            inner = columns_of(con, f"(SELECT unnest({quoted(whole)}) FROM file)")
            has_lists = any(other.endswith("[]") for other in others.values())
            is_apart = not has_lists and not {name.lower() for name in others} & {name.lower() for name in inner}
            if is_apart and _tell_runs_apart(inner):
                rest = "".join(f"{quoted(name)}, " for name in others)
                return others | inner, f"{rest}unnest({quoted(whole)})"
    return kinds, "*"


def _tell_runs_apart(kinds: Mapping[str, str]) -> list[str]:
    """Return the lists that may have params, or a text, for each of many runs; none where one run is described."""
    lists = [name for name, kind in kinds.items() if kind.endswith("[]")]
    is_of_one = any(_is_known(name, ("name", "params")) for name in kinds if name not in lists)
    if is_of_one or not any(_is_known(name, FITTED) for name in lists):
        return []
    params = [name for name in lists if _is_known(name, ("params",))]
    texts = [name for name in lists if kinds[name] == "VARCHAR[]" and name.lower() not in NOT_OF_RUNS]
    return list(dict.fromkeys([*params, *texts]))


def _is_known(name: str, wanted: Sequence[str]) -> bool:
    """Return whether a column is called by one of our names or by a usual other name of it."""
    return plain_name(name) in {plain_name(other) for ours in wanted for other in (ours, *TABLE_NAMES.get(ours, ()))}


def _split(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Give the rows that stand beside the names of their columns a row each; returns notes, none for another file."""
    given = columns_of(con, "file")
    told = ", ".join(
        f"to_json({part})" if part in given else "NULL" for part in ("columns", "data", "index", "index_names")
    )
    parts = con.execute(f"SELECT {told} FROM file").fetchone() or ()
    names, data, keys, called = map(_told, parts)
    is_named = isinstance(names, list) and names and all(isinstance(name, str | int | float) for name in names)
    if not (is_named and isinstance(data, list) and data):
        return []
    if not all(isinstance(row, list) and len(row) == len(names) for row in data):
        return []
    rows = [dict(zip(map(str, names), row, strict=True)) for row in data]
    if isinstance(keys, list) and len(keys) == len(rows):
        label = called[0] if isinstance(called, list) and len(called) == 1 else None
        if label is not None or all(isinstance(key, str) for key in keys):
            rows = _named(zip(keys, rows, strict=True), {}, str(label or "name"))
    _replace(con, rows)
    return [f"the file is names of columns beside rows; {counted(len(data), 'row')}"]


def _told(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _replace(con: duckdb.DuckDBPyConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Make rows the table `file`."""
    con.execute("DROP TABLE file")
    con.register("unfolded", _table(rows))
    con.execute("CREATE TABLE file AS SELECT * FROM unfolded")
    con.unregister("unfolded")


def _are_columns(given: Mapping[str, Any]) -> bool:
    """Return whether objects are columns: a value for each number, or for each name, of a row, the same in all."""
    if len(given) < 2 or not all(isinstance(cells, dict) and cells for cells in given.values()):
        return False
    keys = [list(map(str, cells)) for cells in given.values()]
    if not all(set(each) == set(keys[0]) for each in keys):
        return False
    has_names = len(keys[0]) > 1 and not {key.lower() for key in keys[0]} <= PARTS
    is_of_names = has_names and not any(_is_known(key, FITTED) for key in keys[0])
    return _is_count(keys[0]) or (is_of_names and any(_is_known(name, FITTED) for name in given))


def _is_count(keys: Iterable[str]) -> bool:
    return all(str(key).isdigit() for key in keys)


def _are_records(given: Mapping[str, Any]) -> bool:
    """Return whether objects are records of runs: most fields are in all of them, something to fit to among those."""
    if len(given) < 2 or not all(isinstance(record, dict) and record for record in given.values()):
        return False
    shared = set.intersection(*(_said(record) for record in given.values()))
    is_alike = all(len(shared) >= ALIKE * len(_said(record)) for record in given.values())
    is_fitted = any(_is_known(name, FITTED) for name in shared)
    return is_alike and is_fitted and not {name.lower() for name in given} <= PARTS


def _said(record: Mapping[str, Any]) -> set[str]:
    return {name for name, value in record.items() if value is not None}


def _named(
    records: Iterable[tuple[Any, Mapping[str, Any]]], others: Mapping[str, Any], called: str = "name"
) -> list[dict[str, Any]]:
    """Return the records with what they are called in a column, unless they have such a one of their own."""
    known = ("name", "run_id") if called == "name" else (called.lower(),)
    pairs = list(records)
    has_name = any(name.lower() in known for _, record in pairs for name in record)
    return [{**others, **({} if has_name else {called: name}), **record} for name, record in pairs]


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
