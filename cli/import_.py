"""`isoflop import`: take in runs from table files or from another tracker's store."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.cli.options import FormatOption, JsonOption, LakeOption
from isoflop.cli.repair import YesOption

if TYPE_CHECKING:
    from isoflop.lakehouse.exchange.landing import Imported
    from isoflop.lakehouse.exchange.usable import NothingUsable


def import_(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH…",
            help="Tables (.csv, .parquet, .arrow, .jsonl, .json, .xlsx or a sheet of it, PATH.xlsx#SHEET; also .gz), a "
            "folder of them, a tracker's file or folder, or published:NAME for the runs of a paper (laws of papers "
            "need no import: isoflop laws --published).",
        ),
    ],
    format: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="FORMAT",
            help="table, mlflow, wandb, ray-tune, neptune, huggingface, lm-eval or tensorboard "
            "[default: found by content].",
        ),
    ] = None,
    map: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            "-m",
            metavar="OURS=THEIRS,…",
            help='Columns, metrics, settings or SQL expressions: params=N, "tokens=step * batch_size".',
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source", metavar="NAME", help="What `source` says after 'import:' [default: file name, or the tracker]."
        ),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option("--family", help="Family of the runs [default: their experiment or project, else 'imported']."),
    ] = None,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Leave impossible rows of a table out instead of refusing the file.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            "-n",
            help="Show what a table's columns become and its first rows, or with --replace what would be added and "
            "removed; write nothing.",
        ),
    ] = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Remove the runs that were imported from PATH before and are no longer in it; asks first."
        ),
    ] = False,
    in_place_of: Annotated[
        str | None,
        typer.Option(
            "--in-place-of",
            metavar="OLD",
            help="The file or folder that PATH takes the place of: as --replace, and all runs from OLD go.",
        ),
    ] = None,
    yes: YesOption = False,
    lake: LakeOption = None,
    output: FormatOption = None,
    json: JsonOption = False,
) -> None:
    """Take in runs and their curves from tables, or from a tracker.

    In a table a row is a run; with a column `step` and repeated run ids a row is a point of a curve, and a folder of
    such tables has a run a file. Columns named as ours (params, tokens, flops, loss, width, …) are used as they are,
    the usual other names (num_params, N, total_tokens, val/loss, ppl, …) are recognized and said; every other column
    becomes a column of `runs`. Numbers may be written as 70M, 1.4T, 400,000,000 or, between semicolons, 3,5. From a
    tracker come settings, status, tags and every curve. Importing twice adds nothing, whatever the mapping; a run that
    changed gets a new attempt. With --replace the lake then has of PATH what PATH has, and laws fitted to runs that
    went are stale.

    \b
      isoflop import runs.csv --map params=N,tokens=D
      isoflop import runs.csv --map "loss=bits_per_token * ln(2)" --dry-run
      isoflop import curves/ --map loss=eval/loss
      isoflop import mlruns
      isoflop import published:chinchilla_epoch
    """
    from dataclasses import asdict
    from functools import partial

    import pyarrow as pa

    from isoflop.cli.options import chosen_format, open_lake
    from isoflop.cli.output import note, show, warn
    from isoflop.lakehouse import Answer
    from isoflop.lakehouse.errors import FileError, UsageError
    from isoflop.lakehouse.exchange import Replacing, import_path
    from isoflop.lakehouse.exchange.usable import NothingUsable
    from isoflop.lakehouse.exchange.workbook import with_sheet

    mapping = parse_mapping(map or [])
    places = [
        _published_runs(path.removeprefix("published:")) if path.startswith("published:") else Path(path)
        for path in paths
    ]
    files = [with_sheet(place)[0] for place in places]
    for file in files:
        if not file.exists():  # said before a lake is made for nothing
            raise FileError(file, None, "no such file or folder")
    if in_place_of is not None and len(places) > 1:
        raise UsageError("--in-place-of takes one PATH", hint="import the others without it")
    replace = replace or in_place_of is not None
    if dry_run and not replace:
        for place in places:
            _show_plan(place, mapping, skip_bad_rows, chosen_format(output, json))
        return
    if replace and not (yes or dry_run or sys.stdin.isatty()):  # said before the first of several paths is imported
        raise UsageError(
            "--replace asks before it removes runs, and nobody can answer here; nothing was imported",
            hint="--yes does it unasked, --dry-run shows what would go",
        )
    former = None if in_place_of is None else Path(in_place_of)
    agreed = (lambda _: True) if yes else _may_remove
    rows: list[dict[str, object]] = []
    with _unmade_after_failure(lake), open_lake(lake) as opened:
        for place, file in zip(places, files, strict=True):
            take = partial(
                import_path, opened, place, format=format, source=source, family=family, skip_bad_rows=skip_bad_rows,
                replacing=Replacing(file, agreed, is_dry=dry_run, former=former) if replace else None,
            )  # fmt: skip
            try:
                done = take(mapping=mapping)
            except NothingUsable as error:
                if not error.mapping or not _agreed(error):
                    raise
                done = take(mapping=error.mapping)
            rows.append({"path": str(place), **{key: value for key, value in asdict(done).items() if key != "notes"}})
            if not (output or json):
                note(_sentence(place.name, done) + ("; nothing was written" if dry_run else ""))
            for line in done.notes:
                warn(line)
    if output or json:
        show(Answer(pa.Table.from_pylist(rows)), chosen_format(output, json))


def _published_runs(name: str) -> Path:
    """Return the table of published runs of a name.

    Raises
    ------
    UsageError : if there is none; for the name of a published law, with how it is asked
    """
    from isoflop.lakehouse.errors import UsageError
    from isoflop.lakehouse.exchange.published import find_published, published_tables
    from isoflop.queries.laws.atlas import ATLAS

    if name not in published_tables() and name.lower() in {entry.name for entry in ATLAS}:
        hint = f"EXTRAPOLATE published:{name} TO …, or CREATE LAW paper AS published:{name}; isoflop laws --published"
        raise UsageError(f"'{name}' is a published law, which needs no import", hint=hint)
    return find_published(name)


@contextlib.contextmanager
def _unmade_after_failure(lake: str | None) -> Iterator[None]:
    """Take the file of a lake away that a failed import has made, and that holds nothing."""
    from isoflop.lakehouse.address import FileAddress, parse_address, spool_of

    place = parse_address(lake)
    was_there = not isinstance(place, FileAddress) or place.path.exists()
    try:
        yield
    finally:
        if not was_there and _is_empty(place.path):
            place.path.unlink(missing_ok=True)
            shutil.rmtree(spool_of(place.path), ignore_errors=True)


def _is_empty(path: Path) -> bool:
    import duckdb

    try:
        with duckdb.connect(str(path), read_only=True) as con:
            return con.execute("SELECT count(*) FROM store.runs").fetchall() == [(0,)]
    except duckdb.Error:
        return False


def _sentence(name: str, done: Imported) -> str:
    """Return what an import did, as users read it."""
    rows = f"{done.rows} rows, " if done.format == "table" else f"{done.format}, "
    points = f", {done.points} curve points" if done.points else ""
    skipped = f"; skipped {done.skipped} rows" if done.skipped else ""
    removed = f", {done.removed} removed" if done.removed else ""
    return (
        f"{name}: {rows}{done.runs} runs{points}: {done.added} added, {done.changed} changed, "
        f"{done.unchanged} known already{removed}{skipped} (source {done.source!r})"
    )


def _agreed(error: NothingUsable) -> bool:
    """Ask, on a terminal, whether the nearest columns are meant."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    typer.echo(error.message, err=True)
    pairs = ", ".join(f"{theirs} as {ours}" for ours, theirs in error.mapping.items())
    return typer.confirm(f"Take {pairs}?", err=True)


def _may_remove(question: str) -> bool:
    return typer.confirm(question, err=True)


def _show_plan(place: Path, mapping: dict[str, str], skip_bad_rows: bool, form: str) -> None:
    """Show what the columns of a table become, and its first rows."""
    import pyarrow as pa

    from isoflop.cli.output import note, show, warn
    from isoflop.lakehouse import Answer
    from isoflop.lakehouse.errors import UsageError
    from isoflop.lakehouse.exchange.formats import TABLE, found_format
    from isoflop.lakehouse.exchange.tables import files_of, read_table
    from isoflop.lakehouse.exchange.workbook import with_sheet

    place, sheet = with_sheet(place)
    name, _ = found_format(place)
    if name != TABLE:
        raise UsageError(
            f"{place} is a store of {name}, whose runs come with names of their own", hint="leave --dry-run"
        )
    for file in files_of(place):
        label = f"import:{file.stem}"
        table = read_table(file, mapping=mapping, label=label, skip_bad_rows=skip_bad_rows, sheet=sheet)
        columns = [{"column": theirs, "becomes": ours} for ours, theirs in table.mapping.items()]
        note(f"{file}: {table.rows} rows, {len(table.landing.runs)} runs, {len(table.landing.points)} curve points")
        show(Answer(pa.Table.from_pylist(columns)), form)
        show(Answer(table.first), form)
        for line in table.landing.notes:
            warn(line)


def parse_mapping(options: list[str]) -> dict[str, str]:
    """Return ours -> theirs of `a=b,c=d` options; a comma inside parentheses or quotes belongs to the expression.

    Raises
    ------
    UsageError : if a part has no `=`

    Example
    -------
    >>> parse_mapping(["params=N,tokens=round(D, 2)", "loss=nll"])
    {'params': 'N', 'tokens': 'round(D, 2)', 'loss': 'nll'}
    """
    from isoflop.lakehouse.errors import UsageError

    mapping = {}
    for part in (piece for option in options for piece in _split(option)):
        ours, equals, theirs = part.partition("=")
        if not equals or not ours.strip() or not theirs.strip():
            raise UsageError(f"--map {part!r} is not OURS=THEIRS", hint="for example --map params=N,tokens=D")
        mapping[ours.strip()] = theirs.strip()
    return mapping


def _split(text: str) -> list[str]:
    parts, depth, quote, start = [], 0, "", 0
    for position, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]
