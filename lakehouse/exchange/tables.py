"""Import runs or curves from a CSV, Parquet, Arrow or JSON-lines table.

A row is a run; where `step` is a column and run ids repeat, a row is a point of a curve, and with the
columns `metric` and `value` a row is a point of that metric. Columns whose names are ours (`params`,
`tokens`, `flops`, `loss`, `width`, …) are taken as such, `--map params=N` or `--map "params=N * 1e9"`
maps others, and every further column becomes a column of `runs`. Numbers that vary along a curve are
its metrics. The same file imported twice adds nothing; a changed run becomes a new attempt.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import FileError, RecordError
from isoflop.lakehouse.exchange.bad_rows import drop_bad, find_bad, make_numbers, shown_bad
from isoflop.lakehouse.exchange.guarded import yaml_of
from isoflop.lakehouse.exchange.identity import told_apart
from isoflop.lakehouse.exchange.landing import FoundRun, Imported, Landing
from isoflop.lakehouse.exchange.naming import flat, kept_in_config, record_of
from isoflop.lakehouse.exchange.origin import real_path
from isoflop.lakehouse.exchange.points import joined
from isoflop.lakehouse.exchange.replacing import Replacing
from isoflop.lakehouse.exchange.table_columns import RAW
from isoflop.lakehouse.exchange.table_file import READERS, ending, load, stem
from isoflop.lakehouse.exchange.table_runs import runs_of_points, runs_of_rows
from isoflop.lakehouse.exchange.usable import check_usable, with_flops, without_loss, without_sizes
from isoflop.lakehouse.exchange.workbook import MARK
from isoflop.lakehouse.exchange.writing import land
from isoflop.lakehouse.sql.quoting import quoted

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse

SHOWN_BAD_ROWS = 10  # of a file that is refused
SHOWN_ROWS = 5  # of what a file would become
NOT_IN_FOLDERS = (".json", ".txt")  # a folder of tables has other files of these kinds, so they are named one by one
SMALLEST_COUNT = 1e4  # below which, with fractions, a count can only be a number of millions or more
HPARAMS = "hparams.yaml"  # what Lightning's CSVLogger writes beside metrics.csv


@dataclass(frozen=True)
class ReadTable:
    """What a table file holds.

    Parameters
    ----------
    landing : its runs and the points of their curves, completed
    rows, skipped : how many rows it has, and how many of them were left out for impossible values
    mapping : our name -> column or expression, given or recognized
    columns : of the file
    first : some rows as they were read
    """

    landing: Landing
    rows: int
    skipped: int
    mapping: Mapping[str, str]
    columns: tuple[str, ...]
    first: Any


def read_table(
    path: Path,
    *,
    mapping: Mapping[str, str] | None = None,
    label: str,
    family: str = "imported",
    skip_bad_rows: bool = False,
    sheet: str | None = None,
) -> ReadTable:
    """Read the rows of a table file as runs or points, without writing anything.

    Parameters
    ----------
    mapping : our column -> column of the file, or an SQL expression over its columns and what was mapped before
    label : what `runs.source` will say
    skip_bad_rows : leave rows with impossible values out instead of refusing the file
    sheet : of a workbook; its first sheet of runs when None, and others with the same headings

    Raises
    ------
    FileError : if the file cannot be read, or a mapped column is not in it
    RecordError : if rows hold impossible values
    NothingUsable : if no column is known as loss, params or tokens
    """
    import duckdb

    given = mapping or {}
    with duckdb.connect() as con:
        table = load(con, path, given, sheet)
        columns = dict(table.columns)
        (num_rows,) = con.execute("SELECT count(*) FROM rows").fetchone() or (0,)
        is_curve = "step" in columns and bool(
            con.execute("SELECT 1 FROM rows WHERE step IS NOT NULL LIMIT 1").fetchone()
        )
        num_bad = find_bad(con, columns, is_curve=is_curve)
        bad, more = shown_bad(con, SHOWN_BAD_ROWS)
        if num_bad and not skip_bad_rows:
            raise _refusal(path, [str(found) for found in bad], more, num_bad, num_rows)
        if num_bad:
            drop_bad(con)
        if num_bad == num_rows:
            raise RecordError(
                f"{path}: no rows to import ({num_rows} in the file, {num_bad} of them with impossible values)"
            )
        columns = make_numbers(con, columns)
        hidden = [name for name in table.columns if name in table.chosen.taken.values()]
        left_out = ", ".join(map(quoted, (RAW, *hidden)))
        first = con.execute(
            f"SELECT * EXCLUDE ({left_out}) FROM rows ORDER BY rowid LIMIT {SHOWN_ROWS}"
        ).to_arrow_table()
        landing = (
            runs_of_points(con, columns, path, label, family)
            if is_curve
            else runs_of_rows(con, path, label, family, table.chosen.taken)
        )
    landing = with_flops(_with_hparams(landing, path).completed())
    typed = path if sheet is None else path.with_name(f"{path.name}{MARK}{sheet}")
    check_usable(landing, typed, [name for name in table.columns if name not in table.chosen.taken], given)
    notes = [str(found) for found in bad]
    if more:
        notes.append(f"… and {more} more impossible values")
    left = [name for name in table.columns if name not in table.chosen.taken]
    missing = [*without_loss(landing, typed, left), *without_sizes(landing, typed, left)]
    landing = replace(landing, notes=(*notes, *table.chosen.notes, *landing.notes, *missing))
    chosen = {**{name: name for name in table.columns if name not in hidden}, **table.chosen.taken, **given}
    return ReadTable(landing, num_rows, num_bad, chosen, tuple(table.columns), first)


def import_table(
    lake: Lakehouse,
    path: Path,
    *,
    mapping: Mapping[str, str] | None = None,
    source: str | None = None,
    family: str = "imported",
    skip_bad_rows: bool = False,
    replacing: Replacing | None = None,
    sheet: str | None = None,
) -> Imported:
    """Take in the rows of a table file.

    Parameters
    ----------
    mapping : our column -> column of the file, or an SQL expression over its columns
    source : what `runs.source` says after `import:`; the file's name without its ending by default
    skip_bad_rows : leave rows with impossible values out instead of refusing the file
    replacing : removes the runs that the file no longer has
    sheet : of a workbook; its first sheet of runs when None, and others with the same headings

    Raises
    ------
    FileError : if the file cannot be read, or a mapped column is not in it
    RecordError : if rows hold impossible values; nothing is imported then
    NothingUsable : if no column is known as loss, params or tokens
    """
    label = f"import:{source or stem(path)}"
    table = read_table(path, mapping=mapping, label=label, family=family, skip_bad_rows=skip_bad_rows, sheet=sheet)
    return _landed(lake, [table], label, is_source_given=source is not None, replacing=replacing)


def import_folder(
    lake: Lakehouse,
    folder: Path,
    files: Sequence[Path],
    *,
    mapping: Mapping[str, str] | None = None,
    source: str | None = None,
    family: str = "imported",
    skip_bad_rows: bool = False,
    replacing: Replacing | None = None,
) -> Imported:
    """Take in every table of a folder; a file of points is a run, called as the file is.

    Raises
    ------
    FileError, RecordError : if none of the files can be read, the reason of the first; with `replacing`, if one cannot
    """
    label = f"import:{source or real_path(folder).name}"
    tables, left_out = [], []
    first: FileError | RecordError | None = None
    for file in files:
        try:
            tables.append(read_table(file, mapping=mapping, label=label, family=family, skip_bad_rows=skip_bad_rows))
        except (FileError, RecordError) as error:
            if replacing is not None:  # it may still have the runs that would be removed
                raise
            first = first or error
            left_out.append(f"{file.relative_to(folder)} was left out: {error.message.splitlines()[0]}")
    if not tables:
        assert first is not None, "a folder is imported for its files"
        raise first
    done = _landed(lake, tables, label, is_source_given=source is not None, replacing=replacing)
    return replace(done, notes=(*done.notes, *left_out))


def tables_below(folder: Path, files: Sequence[Path]) -> list[Path]:
    """Return the table files of a folder in their order, hidden ones and loose JSON left out."""
    return sorted(
        file
        for file in files
        if ending(file) in READERS
        and ending(file) not in NOT_IN_FOLDERS
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def files_of(path: Path) -> list[Path]:
    """Return the table files that a path names: itself, or those below a folder."""
    return [path] if path.is_file() else tables_below(path, files_below(path))


def files_below(path: Path) -> list[Path]:
    """Return every file below a folder, or the file itself; a pipe is none, since it would never end."""
    below = [Path(folder) / name for folder, _, names in os.walk(path) for name in names]
    return [path] if path.is_file() else [file for file in below if file.is_file()]


def _landed(
    lake: Lakehouse, tables: Sequence[ReadTable], label: str, *, is_source_given: bool, replacing: Replacing | None
) -> Imported:
    landing = tables[0].landing if len(tables) == 1 else _together([table.landing for table in tables])
    landed = land(lake, landing, label, is_source_given=is_source_given, is_source_a_name=True, replacing=replacing)
    notes = [*landing.notes, *landed.notes, *kept_in_config(landing.runs), *suspicions(landing.runs)]
    return Imported(
        label,
        sum(table.rows for table in tables),
        len(landing.runs),
        len(landing.points),
        landed.added,
        landed.changed,
        landed.unchanged,
        sum(table.skipped for table in tables),
        tuple(notes),
        removed=landed.removed,
    )


def _together(landings: Sequence[Landing]) -> Landing:
    """Return the runs of several files; those that call themselves the same are told apart by where they lie."""
    runs, points = [], []
    for landing in landings:
        keys = {run.run_id: run.origin.key for run in landing.runs if run.origin is not None}
        runs += [run.called(keys.get(run.run_id, run.run_id)) for run in landing.runs]
        points.append(landing.points.called(keys))
    notes = tuple(dict.fromkeys(note for landing in landings for note in landing.notes))
    together = told_apart(Landing(tuple(runs), joined(points).sorted(), notes))
    return replace(together, points=together.points.sorted())


def _with_hparams(landing: Landing, path: Path) -> Landing:
    """Return the one run of a logger's metrics.csv with the settings that lie beside it."""
    beside = path.with_name(HPARAMS)
    if stem(path) != "metrics" or len(landing.runs) != 1 or not beside.is_file():
        return landing
    notes: list[str] = []
    told = yaml_of(beside, notes)
    landing = replace(landing, notes=(*landing.notes, *notes))
    (run,) = landing.runs
    record = record_of(
        run.run_id, flat(told, "."), family=run.record.family, name=run.record.name, tags=run.record.tags
    )
    counts = {name: getattr(run.record, name) for name in ("params", "tokens", "flops", "steps")}
    known = {name: value for name, value in counts.items() if value is not None}
    seed = record.seed or run.record.seed
    record = replace(record, extra={**record.extra, **run.record.extra}, seed=seed, **known)
    return replace(landing, runs=(replace(run, record=record),))


def suspicions(runs: Sequence[FoundRun]) -> list[str]:
    """Return what looks like a wrong unit: FLOPs far from 6ND, losses no token can have."""
    notes = []
    records = [run.record for run in runs]
    for name in ("params", "tokens"):
        values = [value for record in records if (value := getattr(record, name))]
        if values and max(values) < SMALLEST_COUNT and any(value != round(value) for value in values):
            notes.append(
                f"{name} are between {min(values):.3g} and {max(values):.3g}: are they in billions? "
                f'--map "{name}=COLUMN * 1e9"'
            )
    ratios = sorted(r.flops / (6 * r.params * r.tokens) for r in records if r.flops and r.params and r.tokens)
    if not notes and ratios and not 0.1 < (ratio := ratios[len(ratios) // 2]) < 10:
        factor = f"1e{3 * round(-math.log10(ratio) / 3)}"  # thousands, millions, …
        which = "flops=COLUMN" if ratio < 1 else "params=COLUMN"
        notes.append(
            f"flops is {ratio:.3g} times 6 * params * tokens at the median: check the units of all three, "
            f'for example --map "{which} * {factor.replace("-", "")}"'
        )
    notes += _differing_by_blanks(runs)
    losses = [loss for run in runs if (loss := run.measured.get("loss")) is not None and math.isfinite(loss)]
    if losses and max(losses) > 30:
        notes.append(
            f"the largest loss is {max(losses):.4g}: isoflop expects nats per token (bits * ln(2); perplexity: ln(ppl))"
        )
    return notes


def _differing_by_blanks(runs: Sequence[FoundRun]) -> list[str]:
    """Return a note for each setting of which two values are the same but for blanks around them."""
    values: dict[str, dict[str, set[str]]] = {}
    for run in runs:
        for key, value in {**run.record.config, **run.record.extra}.items():
            if isinstance(value, str):
                values.setdefault(key, {}).setdefault(value.strip(), set()).add(value)
    notes = []
    for key, spellings in values.items():
        differing = [sorted(found) for found in spellings.values() if len(found) > 1]
        if differing:
            shown = " and ".join(repr(value) for value in differing[0])
            notes.append(f'{key} has {shown}, which differ by blanks only: --map "{key}=trim({key})" makes them one')
    return notes


def _refusal(path: Path, shown: Sequence[str], more: int, num_bad: int, num_rows: int) -> RecordError:
    lines = [*shown, *([f"… and {more} more"] if more else [])]
    return RecordError(
        f"{path}: {num_bad} of {num_rows} rows hold impossible values, nothing was imported\n  " + "\n  ".join(lines),
        hint="fix the file, or give --skip-bad-rows to import the other rows",
    )
