"""Which store a path holds, found by looking into it, and the one way in for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import FileError, RecordError, UsageError, did_you_mean
from isoflop.lakehouse.exchange import huggingface, lm_eval, mlflow, neptune, ray_tune, tensorboard, wandb
from isoflop.lakehouse.exchange.identity import told_apart
from isoflop.lakehouse.exchange.landing import FoundRun, Imported, Landing
from isoflop.lakehouse.exchange.mapping import mapped
from isoflop.lakehouse.exchange.naming import kept_in_config, missing_losses, with_our_names
from isoflop.lakehouse.exchange.replacing import Replacing
from isoflop.lakehouse.exchange.tables import (
    files_below,
    files_of,
    import_folder,
    import_table,
    suspicions,
    tables_below,
)
from isoflop.lakehouse.exchange.workbook import with_sheet
from isoflop.lakehouse.exchange.writing import land

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse

TABLE = "table"
DEFAULT_FAMILY = "imported"


@dataclass(frozen=True)
class Format:
    """An outside store: whether a path is one, given the files below it, and what runs it holds."""

    name: str
    finds: Callable[[Path, list[Path]], bool]
    read: Callable[[Path], Landing]


# The most telling first: Tune and wandb write TensorBoard's files beside their own.
FORMATS = {
    format.name: format
    for format in (
        Format(mlflow.NAME, mlflow.finds, mlflow.read),
        Format(wandb.NAME, wandb.finds, wandb.read),
        Format(ray_tune.NAME, ray_tune.finds, ray_tune.read),
        Format(neptune.NAME, neptune.finds, neptune.read),
        Format(huggingface.NAME, huggingface.finds, huggingface.read),
        Format(lm_eval.NAME, lm_eval.finds, lm_eval.read),
        Format(tensorboard.NAME, tensorboard.finds, tensorboard.read),
    )
}
NAMES = (TABLE, *FORMATS)


def import_path(
    lake: Lakehouse,
    path: Path,
    *,
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    source: str | None = None,
    family: str | None = None,
    skip_bad_rows: bool = False,
    replacing: Replacing | None = None,
) -> Imported:
    """Take in the runs of a table file or of another tracker's store.

    Parameters
    ----------
    path : PATH.xlsx#SHEET is a sheet of a workbook
    format : one of NAMES; found by the path's content when None
    mapping : our name -> a column, metric or setting there, or an SQL expression over them
    source : what `runs.source` says after `import:`; the file's name, for trackers the tracker's
    family : family of the runs; for trackers their experiment or project when None
    skip_bad_rows : leave rows of a table with impossible values out instead of refusing the file
    replacing : removes the runs that the path no longer has; None only adds

    Raises
    ------
    FileError : if there is nothing to read at `path`, or a mapped name is not in it
    UsageError : if there is no such format
    RecordError : if what was found cannot be runs
    """
    path, sheet = with_sheet(path)
    if not path.exists():
        raise FileError(path, None, "no such file or folder")
    name, others = (checked(format), ()) if format is not None else found_format(path)
    if name == TABLE and path.is_dir():
        return import_folder(
            lake, path, files_of(path), mapping=mapping, source=source,
            family=family or DEFAULT_FAMILY, skip_bad_rows=skip_bad_rows, replacing=replacing,
        )  # fmt: skip
    if name == TABLE:
        return import_table(
            lake, path, mapping=mapping, source=source, family=family or DEFAULT_FAMILY, skip_bad_rows=skip_bad_rows,
            replacing=replacing, sheet=sheet,
        )  # fmt: skip
    landing = told_apart(FORMATS[name].read(path))
    if not landing.runs:
        why = "; ".join(landing.notes[:1]) or f"it was read as {name}; --as reads it as something else"
        raise RecordError(f"{path}: no runs in it", hint=why)
    landing = with_our_names(mapped(landing, mapping or {}, path), decided=mapping or {})
    landing = replace(landing, runs=tuple(_in_family(run, family) for run in landing.runs)).completed()
    label = f"import:{source or name}"
    landed = land(lake, landing, label, is_source_given=source is not None, replacing=replacing)
    notes = [
        *landing.notes,
        *landed.notes,
        *kept_in_config(landing.runs),
        *missing_losses(landing),
        *suspicions(landing.runs),
    ]
    notes += [f"there are {other} files too; import them with --as {other}" for other in others]
    count = len(landing.runs)
    points = len(landing.points)
    did = (landed.added, landed.changed, landed.unchanged)
    return Imported(label, count, count, points, *did, 0, tuple(notes), name, landed.removed)


def checked(name: str) -> str:
    """Return a format's name.

    Raises
    ------
    UsageError : if there is no such format
    """
    if name not in NAMES:
        raise UsageError(
            f"there is no format '{name}' to import", hint=did_you_mean(name, NAMES, f"one of {', '.join(NAMES)}")
        )
    return name


def found_format(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the format that a path's content is, and further ones that are there too.

    Raises
    ------
    FileError : if it is none that is known
    """
    files = files_below(path)
    found = [format.name for format in FORMATS.values() if format.finds(path, files)]
    if found:
        others = tuple(name for name in found[1:] if (found[0], name) != (ray_tune.NAME, tensorboard.NAME))
        return found[0], others
    if path.is_file():
        return TABLE, ()  # whose reader says which endings it knows
    if tables_below(path, files):
        return TABLE, ()
    raise FileError(path, None, f"holds no runs that are known here; looked for {', '.join(FORMATS)} and tables")


def _in_family(run: FoundRun, family: str | None) -> FoundRun:
    return replace(run, record=replace(run.record, family=family or run.record.family or DEFAULT_FAMILY))
