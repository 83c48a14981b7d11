"""`isoflop import`: take in runs from a table file or from another tracker's store."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import LakeOption


def import_(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="A table (.csv, .parquet, .arrow, .jsonl), a tracker's file or folder, or published:NAME.",
        ),
    ],
    format: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="FORMAT", help="table, mlflow, wandb, ray-tune or tensorboard [default: found by content]."
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
    lake: LakeOption = None,
) -> None:
    """Take in runs and their curves from a table, or from MLflow, Weights & Biases, Ray Tune or TensorBoard.

    In a table a row is a run; with a column `step` and repeated run ids a row is a point of a curve. Columns
    named as ours (params, tokens, flops, loss, width, …) are used as they are; every other column becomes a
    column of `runs`. From a tracker come settings, status, tags and every curve. Importing twice adds nothing;
    a run that changed gets a new attempt.

    \b
      isoflop import runs.csv --map params=N,tokens=D
      isoflop import runs.csv --map "loss=bits_per_token * ln(2)"
      isoflop import mlruns
      isoflop import logs --map "tokens=step * batch_size * 1024"
      isoflop import published:chinchilla_epoch
    """
    from pathlib import Path

    from isoflop.cli.options import open_lake
    from isoflop.cli.output import note, warn
    from isoflop.lakehouse.errors import FileError
    from isoflop.lakehouse.exchange import import_path
    from isoflop.lakehouse.exchange.published import find_published

    place = find_published(path.removeprefix("published:")) if path.startswith("published:") else Path(path)
    mapping = parse_mapping(map or [])
    if not place.exists():  # said before a lake is made for nothing
        raise FileError(place, None, "no such file or folder")
    with open_lake(lake) as opened:
        done = import_path(
            opened,
            place,
            format=format,
            mapping=mapping,
            source=source,
            family=family,
            skip_bad_rows=skip_bad_rows,
        )
    rows = f"{done.rows} rows, " if done.format == "table" else f"{done.format}, "
    points = f", {done.points} curve points" if done.points else ""
    skipped = f"; skipped {done.skipped} rows" if done.skipped else ""
    note(
        f"{place.name}: {rows}{done.runs} runs{points}: "
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
