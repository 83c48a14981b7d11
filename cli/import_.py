"""`isoflop import`: take in runs from a table file."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import LakeOption


def import_(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A .csv, .tsv, .parquet or .jsonl table, or published:NAME.")
    ],
    map: Annotated[
        list[str] | None,
        typer.Option(
            "--map", "-m", metavar="OURS=THEIRS,…", help='Column names or SQL expressions: params=N, "tokens=D * 1e9".'
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="NAME", help="What `source` says after 'import:' [default: file name]."),
    ] = None,
    family: Annotated[
        str, typer.Option("--family", help="Family of the runs, where the file has no column for it.")
    ] = "imported",
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Leave impossible rows out instead of refusing the file.")
    ] = False,
    lake: LakeOption = None,
) -> None:
    """Take in runs, or the points of curves, from a CSV, Parquet or JSON-lines file.

    A row is a run; with a column `step` and repeated run ids a row is a point of a curve. Columns named as
    ours (params, tokens, flops, loss, width, …) are used as they are; every other column becomes a column of
    `runs`. Importing a file twice adds nothing.

      isoflop import runs.csv --map params=N,tokens=D
      isoflop import runs.csv --map "loss=bits_per_token * ln(2)"
      isoflop import published:chinchilla_epoch
    """
    from pathlib import Path

    from isoflop.cli.options import open_lake
    from isoflop.cli.output import note, warn
    from isoflop.lakehouse.exchange import import_table
    from isoflop.lakehouse.exchange.published import find_published

    path = find_published(file.removeprefix("published:")) if file.startswith("published:") else Path(file)
    mapping = parse_mapping(map or [])
    with open_lake(lake) as opened:
        done = import_table(opened, path, mapping=mapping, source=source, family=family, skip_bad_rows=skip_bad_rows)
    points = f", {done.points} curve points" if done.points else ""
    skipped = f"; skipped {done.skipped} rows" if done.skipped else ""
    note(
        f"{path.name}: {done.rows} rows, {done.runs} runs{points}: "
        f"{done.added} added, {done.changed} changed, {done.unchanged} known already{skipped} (source {done.source!r})"
    )
    for line in done.notes:
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
