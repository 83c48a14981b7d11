"""Import runs or curves from a CSV, Parquet or JSON-lines table.

A row is a run; where `step` is a column and run ids repeat, a row is a point of a curve. Columns
whose names are ours (`params`, `tokens`, `flops`, `loss`, `width`, …) are taken as such, `--map
params=N` or `--map "params=N * 1e9"` maps others, and every further column becomes a column of
`runs`. The same file imported twice adds nothing; a changed row becomes a new attempt of its run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import FileError, RecordError, did_you_mean
from isoflop.lakehouse.exchange.landing import COUNTS, MEASURED, Landing, land
from isoflop.lakehouse.records import canonical_json, digest

if TYPE_CHECKING:
    import duckdb

    from isoflop.lakehouse.lake import Lakehouse

TEXT = ("run_id", "name", "family", "host", "device")
SHAPE = ("width", "depth", "heads", "vocabulary", "sequence_length", "batch_tokens", "learning_rate")
NUMBERS = (*COUNTS, *MEASURED, *SHAPE, "seed", "step", "seconds")
POSITIVE = (*COUNTS, "step_seconds")
KNOWN = (*NUMBERS, *TEXT)
READERS = {
    ".csv": "read_csv(?, all_varchar = true, null_padding = false)",
    ".tsv": "read_csv(?, all_varchar = true, delim = '\t')",
    ".parquet": "read_parquet(?)",
    ".jsonl": "read_json(?, format = 'newline_delimited')",
    ".ndjson": "read_json(?, format = 'newline_delimited')",
    ".json": "read_json(?)",
}
SHOWN_BAD_ROWS = 10


@dataclass(frozen=True)
class Imported:
    """What an import did, with a sentence for everything a person should know."""

    source: str
    rows: int
    runs: int
    points: int
    added: int
    changed: int
    unchanged: int
    skipped: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BadRow:
    """A value that cannot be what its column says."""

    row: int
    column: str
    value: str
    why: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.column} is {self.value!r}, {self.why}"


def import_table(
    lake: Lakehouse,
    path: Path,
    *,
    mapping: Mapping[str, str] | None = None,
    source: str | None = None,
    family: str = "imported",
    skip_bad_rows: bool = False,
) -> Imported:
    """Take in the rows of a table file.

    Parameters
    ----------
    mapping : our column -> column of the file, or an SQL expression over its columns
    source : what `runs.source` says after `import:`; the file's name without its ending by default
    skip_bad_rows : leave rows with impossible values out instead of refusing the file

    Raises
    ------
    FileError : if the file cannot be read, or a mapped column is not in it
    RecordError : if rows hold impossible values; nothing is imported then
    """
    rows = _read(path, mapping or {})
    bad = _bad_rows(rows)
    if bad and not skip_bad_rows:
        raise _refusal(path, bad, len(rows))
    refused = {found.row for found in bad}
    kept = [row for number, row in enumerate(rows, start=1) if number not in refused]
    if not kept:
        raise RecordError(
            f"{path}: no rows to import ({len(rows)} in the file, {len(refused)} of them with impossible values)"
        )
    label = f"import:{source or path.stem}"
    landing = _landing(kept, label, family)
    added, changed, unchanged = land(lake, landing, label)
    notes = [str(found) for found in bad[:SHOWN_BAD_ROWS]]
    if len(bad) > SHOWN_BAD_ROWS:
        notes.append(f"… and {len(bad) - SHOWN_BAD_ROWS} more impossible values")
    notes += _suspicions(kept)
    return Imported(
        label, len(rows), len(landing.runs), len(landing.points), added, changed, unchanged, len(refused), tuple(notes)
    )


def _read(path: Path, mapping: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows with our names, numbers as floats where the column is a number."""
    import duckdb

    if not path.is_file():
        raise FileError(path, None, "no such file")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise FileError(path, None, f"'{path.suffix}' is not a table we read; give one of {', '.join(READERS)}")
    con = duckdb.connect()
    try:
        con.execute(f"CREATE TABLE file AS SELECT * FROM {reader}", [str(path)])
        _type_columns(con)
        columns = [name for (name,) in con.execute("SELECT column_name FROM (DESCRIBE file)").fetchall()]
        con.execute(f"SELECT {_select_list(con, path, columns, mapping)} FROM file ORDER BY rowid")
        names = [part[0] for part in con.description or ()]
        return [dict(zip(names, values, strict=True)) for values in con.fetchall()]
    except duckdb.Error as error:
        raise FileError(path, None, f"cannot be read: {str(error).splitlines()[0]}") from error
    finally:
        con.close()


def _type_columns(con: duckdb.DuckDBPyConnection) -> None:
    """Give each text column the narrowest type that all its values have."""
    described = con.execute("SELECT column_name, column_type FROM (DESCRIBE file)").fetchall()
    for name, kind in described:
        if kind != "VARCHAR":
            continue
        quoted = _quoted(name)
        con.execute(f"UPDATE file SET {quoted} = NULL WHERE trim({quoted}) IN ('', 'NA', 'null', 'NULL', 'None')")
        for wanted in ("BIGINT", "DOUBLE", "BOOLEAN"):
            row = con.execute(
                f"SELECT count({quoted}), "
                f"count(*) FILTER ({quoted} IS NOT NULL AND TRY_CAST({quoted} AS {wanted}) IS NULL) FROM file"
            ).fetchone()
            if row and row[0] and not row[1] and _keeps_its_text(con, quoted, wanted):
                con.execute(f"ALTER TABLE file ALTER COLUMN {quoted} TYPE {wanted}")
                break


def _keeps_its_text(con: duckdb.DuckDBPyConnection, quoted: str, wanted: str) -> bool:
    """Return whether a cast to BIGINT loses nothing: '1.5' and '1e9' are not integers."""
    if wanted != "BIGINT":
        return True
    row = con.execute(
        f"SELECT bool_and(regexp_full_match(trim({quoted}), '[+-]?[0-9]+')) FROM file WHERE {quoted} IS NOT NULL"
    ).fetchone()
    return bool(row and row[0])


def _select_list(con: duckdb.DuckDBPyConnection, path: Path, columns: Sequence[str], mapping: Mapping[str, str]) -> str:
    import duckdb

    by_lower = {name.lower(): name for name in columns}
    used: set[str] = set()
    parts: dict[str, str] = {}
    for ours, theirs in mapping.items():
        if theirs.lower() in by_lower:
            used.add(theirs.lower())
            parts[ours] = _quoted(by_lower[theirs.lower()])
            continue
        try:
            con.execute(f"SELECT {theirs} FROM file LIMIT 0")
        except duckdb.Error as error:
            first = str(error).splitlines()[0]
            hint = did_you_mean(theirs, columns, f"the file has {', '.join(columns)}")
            raise FileError(
                path, None, f"--map {ours}={theirs}: no column '{theirs}', and not an expression: {first}", hint=hint
            ) from error
        parts[ours] = f"({theirs})"
    for name in columns:
        ours = name.lower() if name.lower() in KNOWN else name
        if name.lower() not in used and ours not in parts:
            parts[ours] = _quoted(name)
    return ", ".join(f"{text} AS {_quoted(ours)}" for ours, text in parts.items())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _bad_rows(rows: Sequence[dict[str, Any]]) -> list[BadRow]:
    """Return the impossible values; numbers given as text become numbers in place."""
    bad = []
    for number, row in enumerate(rows, start=1):
        for column in NUMBERS:
            if (value := row.get(column)) is None:
                continue
            try:
                parsed = float(value)
            except (TypeError, ValueError):
                bad.append(BadRow(number, column, str(value), "not a number"))
                continue
            if column in MEASURED and not math.isfinite(parsed):
                bad.append(BadRow(number, column, str(value), "not finite"))
            elif column in POSITIVE and not (math.isfinite(parsed) and parsed > 0):
                bad.append(BadRow(number, column, str(value), "not a positive finite number"))
            elif isinstance(value, str):
                row[column] = parsed
    return bad


def _refusal(path: Path, bad: Sequence[BadRow], num_rows: int) -> RecordError:
    shown = "\n  ".join(str(found) for found in bad[:SHOWN_BAD_ROWS])
    more = f"\n  … and {len(bad) - SHOWN_BAD_ROWS} more" if len(bad) > SHOWN_BAD_ROWS else ""
    rows = len({found.row for found in bad})
    return RecordError(
        f"{path}: {rows} of {num_rows} rows hold impossible values, nothing was imported\n  {shown}{more}",
        hint="mend the file, or give --skip-bad-rows to import the other rows",
    )


def _landing(rows: Sequence[dict[str, Any]], label: str, family: str) -> Landing:
    """Turn rows into runs and points: rows that share a run id are a curve when there is a step."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        given = row.get("run_id")
        key = str(given) if given is not None else digest(canonical_json({"source": label, "row": _jsonable(row)}))
        groups.setdefault(key, []).append(row)
    is_curve = any(row.get("step") is not None for row in rows)
    repeated = [key for key, group in groups.items() if len(group) > 1]
    if repeated and not is_curve and "run_id" in rows[0]:
        raise RecordError(
            f"run_id {repeated[0]!r} stands in {len(groups[repeated[0]])} rows and there is no column 'step'",
            hint="map the step of a curve with --map step=COLUMN, or give every run its own run_id",
        )
    return Landing.of(groups, family, is_curve)


def _jsonable(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value if isinstance(value, bool | int | float | str | None) else str(value) for key, value in row.items()
    }


def _suspicions(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return what looks like a wrong unit: FLOPs far from 6ND, losses no token can have."""
    notes = []
    ratios = sorted(
        row["flops"] / (6 * row["params"] * row["tokens"])
        for row in rows
        if all(row.get(name) for name in ("flops", "params", "tokens"))
    )
    if ratios and not 0.1 < ratios[len(ratios) // 2] < 10:
        notes.append(
            f"flops is {ratios[len(ratios) // 2]:.3g} times 6 * params * tokens at the median: check the units, "
            'for example --map "params=N * 1e9"'
        )
    losses = [row["loss"] for row in rows if row.get("loss") is not None]
    if losses and max(losses) > 30:
        notes.append(
            f"the largest loss is {max(losses):.4g}: isoflop expects nats per token (bits * ln(2); perplexity: ln(ppl))"
        )
    return notes
