"""Import runs or curves from a CSV, Parquet, Arrow or JSON-lines table.

A row is a run; where `step` is a column and run ids repeat, a row is a point of a curve, and with the
columns `metric` and `value` a row is a point of that metric. Columns whose names are ours (`params`,
`tokens`, `flops`, `loss`, `width`, …) are taken as such, `--map params=N` or `--map "params=N * 1e9"`
maps others, and every further column becomes a column of `runs`. Numbers that vary along a curve are
its metrics. The same file imported twice adds nothing; a changed run becomes a new attempt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import RecordError
from isoflop.lakehouse.exchange.landing import FoundRun, Imported
from isoflop.lakehouse.exchange.naming import kept_in_config
from isoflop.lakehouse.exchange.table_file import drop_bad, find_bad, load, make_numbers, shown_bad
from isoflop.lakehouse.exchange.table_runs import runs_of_points, runs_of_rows
from isoflop.lakehouse.exchange.writing import land

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse

SHOWN_BAD_ROWS = 10


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
    import duckdb

    label = f"import:{source or path.stem}"
    with duckdb.connect() as con:
        columns = load(con, path, mapping or {})
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
        landing = (
            runs_of_points(con, columns, path, label, family) if is_curve else runs_of_rows(con, path, label, family)
        )
    landing = landing.completed()
    landed = land(lake, landing, label, is_source_given=source is not None, is_source_a_name=True)
    notes = [str(found) for found in bad]
    if more:
        notes.append(f"… and {more} more impossible values")
    notes += [*landing.notes, *landed.notes, *kept_in_config(landing.runs), *suspicions(landing.runs)]
    return Imported(
        label,
        num_rows,
        len(landing.runs),
        len(landing.points),
        landed.added,
        landed.changed,
        landed.unchanged,
        num_bad,
        tuple(notes),
    )


def suspicions(runs: Sequence[FoundRun]) -> list[str]:
    """Return what looks like a wrong unit: FLOPs far from 6ND, losses no token can have."""
    notes = []
    records = [run.record for run in runs]
    ratios = sorted(r.flops / (6 * r.params * r.tokens) for r in records if r.flops and r.params and r.tokens)
    if ratios and not 0.1 < ratios[len(ratios) // 2] < 10:
        notes.append(
            f"flops is {ratios[len(ratios) // 2]:.3g} times 6 * params * tokens at the median: check the units, "
            'for example --map "params=N * 1e9"'
        )
    losses = [loss for run in runs if (loss := run.measured.get("loss")) is not None and math.isfinite(loss)]
    if losses and max(losses) > 30:
        notes.append(
            f"the largest loss is {max(losses):.4g}: isoflop expects nats per token (bits * ln(2); perplexity: ln(ppl))"
        )
    return notes


def _refusal(path: Path, shown: Sequence[str], more: int, num_bad: int, num_rows: int) -> RecordError:
    lines = [*shown, *([f"… and {more} more"] if more else [])]
    return RecordError(
        f"{path}: {num_bad} of {num_rows} rows hold impossible values, nothing was imported\n  " + "\n  ".join(lines),
        hint="mend the file, or give --skip-bad-rows to import the other rows",
    )
