"""Import Weights & Biases runs: offline run folders, downloaded run folders, and exported histories.

- `wandb/offline-run-*/run-ID.wandb` is read as it is (settings, curves, tags, how the run ended).
- A folder with `config.yaml` or `wandb-summary.json` (in `files/` or directly) and a `history.jsonl` or
  `history.csv`, which `isoflop export --as wandb` writes, is one run.
- A table with a column `_step` is the history of one run, as `run.scan_history()` or `run.history()`
  gives it; a chart's CSV (`Step`, then `RUN - METRIC` columns) holds one metric of many runs.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from isoflop.lakehouse.errors import FileError
from isoflop.lakehouse.exchange.binary.wandb_file import MARK, OWN, Recorded, joined, read_wandb
from isoflop.lakehouse.exchange.guarded import LONGEST_LINE, json_of, step_of, yaml_of
from isoflop.lakehouse.exchange.landing import MEASURED, FoundRun, Landing, utc
from isoflop.lakehouse.exchange.naming import flat, our_metric, record_of
from isoflop.lakehouse.exchange.origin import Origin, claim_of, older_claims, real_path
from isoflop.lakehouse.exchange.points import PointColumns
from isoflop.lakehouse.runs.records import RUN_ID_LENGTH, STATUSES

NAME = "wandb"
DRAWN = re.compile(rf"[a-z0-9]{{8}}|[a-z2-7]{{{RUN_ID_LENGTH}}}")  # ids that wandb drew, or that are ours
RUN_FOLDER = re.compile(r"(offline-)?run-[0-9]{8}_[0-9]{6}-(.+)")
ABOUT = ("wandb-summary.json", "config.yaml", "wandb-metadata.json")
HISTORIES = ("history.jsonl", "history.csv")
OF_RUNS = {"run_id", "run", "run_name", "name", "display_name"}  # columns that say of which run a point is
BOUNDS = ("__MIN", "__MAX")  # columns of a chart's CSV that only repeat others


def finds(path: Path, files: list[Path]) -> bool:
    """Return whether there is a run's file, a run folder or an exported history."""
    if path.is_file():
        return _is_run_file(path) or _is_history(path) or _is_chart(path)
    return any(_is_run_file(file) or file.name == ABOUT[0] for file in files)


def read(path: Path) -> Landing:
    """Return the runs of a file or of the folders below one.

    Raises
    ------
    FileError : if a file cannot be read
    """
    if path.is_file() and _is_chart(path):
        return _read_chart(path)
    columns, notes = PointColumns(), []
    found: dict[tuple[str, str, str], Recorded] = {}
    for recorded in _found(path):
        key = recorded.project, recorded.run_id, "" if _is_drawn(recorded) else recorded.place
        if recorded.run_id:
            found[key] = joined(found[key], recorded) if key in found else recorded
        else:
            notes += recorded.notes
    runs = tuple(_run(recorded, columns) for recorded in found.values())
    return Landing(runs, columns.points(), (*notes, *(note for run in found.values() for note in run.notes)))


def _found(path: Path) -> Iterable[Recorded]:
    if path.is_file():
        yield _read_run_file(path) if _is_run_file(path) else _read_history_file(path)
        return
    files = {real_path(file): file for file in sorted(path.rglob("*.wandb"), reverse=True) if file.is_file()}
    for file in sorted(files.values()):
        if _is_run_file(file):
            yield _read_run_file(file)
    read = {file.parent for file in files}
    folders = {real_path(file).parent: file.parent for file in sorted(path.rglob(ABOUT[0]), reverse=True)}
    for folder in sorted(folders):
        run_folder = folder.parent if folder.name == "files" else folder
        if run_folder not in read:
            yield _read_run_folder(folder, run_folder)


def _read_run_file(path: Path) -> Recorded:
    recorded = read_wandb(path)
    recorded.place = _place(real_path(path).parent)
    return recorded


def _place(run_folder: Path) -> str:
    """Return the folder that a run's folder and those of its resumptions lie in; the run's own where it is no such."""
    return str(run_folder.parent if RUN_FOLDER.fullmatch(run_folder.name) else run_folder)


def _is_drawn(found: Recorded) -> bool:
    """Return whether an id was made up by wandb or by us, unique without its project, and not chosen by a user."""
    is_random = any(letter.isdigit() for letter in found.run_id) or found.state in STATUSES
    return is_random and not found.is_guessed and DRAWN.fullmatch(found.run_id) is not None


def _origin(found: Recorded) -> Origin:
    """Return where a run is from; an id that a user chose counts within its project only."""
    if not found.file:
        is_plain = DRAWN.fullmatch(found.run_id) is not None or not found.project
        older = found.run_id if is_plain else f"{found.project}-{found.run_id}"
        claim = found.run_id if _is_drawn(found) or not found.project else f"{found.project}-{found.run_id}"
        return Origin(
            place=found.place,
            part=f"{found.project}/{found.run_id}",
            claim=claim,
            older=older_claims(claim, [older]),
            is_unique=_is_drawn(found),
        )
    return Origin(
        place=found.place,
        claim=found.run_id,
        older=older_claims(found.run_id, [claim_of(NAME, Path(found.file).stem)]),
        is_named_by_place=True,
    )


def _is_run_file(path: Path) -> bool:
    if path.suffix != ".wandb":
        return False
    with open(path, "rb") as file:
        return file.read(len(MARK)) == MARK


def _first_columns(path: Path) -> list[str]:
    """Return the column names of a CSV or JSON-lines file, none when it is something else."""
    if path.suffix not in (".csv", ".jsonl", ".ndjson"):
        return []
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        line = file.readline(LONGEST_LINE)
    if len(line) == LONGEST_LINE:
        return []
    try:
        first = next(csv.reader([line]), []) if path.suffix == ".csv" else json_of(line or "{}")
    except (csv.Error, ValueError):  # such as a cell of many kilobytes: whatever it is, no chart
        return []
    if isinstance(first, list) and path.suffix == ".csv":
        return first
    return list(first) if isinstance(first, dict) else []


def _is_history(path: Path) -> bool:
    names = _first_columns(path)
    return "_step" in names and not OF_RUNS & {name.lower() for name in names}  # else it is a table of many


def _is_chart(path: Path) -> bool:
    names = _first_columns(path)
    return len(names) > 1 and names[0] in ("Step", "_step") and all(" - " in name for name in names[1:])


def _run(found: Recorded, columns: PointColumns) -> FoundRun:
    origin = _origin(found)
    for metric, (steps, values, seconds) in found.curves.items():
        columns.add(origin.key, metric, steps, values, seconds)
    times = [seconds[-1] for _, _, seconds in found.curves.values() if seconds and not math.isnan(seconds[-1])]
    ended = max(times, default=None)
    summary = {our_metric(key): value for key, value in flat(found.summary, ".").items()}
    measured = {name: float(summary[name]) for name in MEASURED if isinstance(summary.get(name), int | float)}
    # What the curves end with counts before a summary, which may hold the best value instead of the last.
    if found.curves and found.state not in STATUSES:
        measured = {name: value for name, value in measured.items() if name not in ("loss", "validation_loss")}
    settings = flat(found.config, ".") | ({"group": found.group} if found.group else {})
    status, reason, error = _ending(found)
    return FoundRun(
        record=record_of(origin.key, settings, family=found.project, name=found.name or found.run_id, tags=found.tags),
        measured={"train_seconds": ended, **measured, "host": found.host or None},
        status=status,
        reason=reason,
        error=error,
        is_certain=found.state in STATUSES,
        started_at=utc(found.started),
        finished_at=utc(found.started + ended) if found.started and ended and found.exit_code is not None else None,
        origin=origin,
    )


def _ending(found: Recorded) -> tuple[str, str | None, str | None]:
    """Return status, reason and error; a run without an end on record is lost until its file has one."""
    if found.state in STATUSES:  # a folder that `isoflop export` wrote
        return found.state, found.reason, None
    if found.exit_code is None:
        return "lost", "no end on record", None
    return ("failed", "crash", f"exit code {found.exit_code}") if found.exit_code else ("finished", None, None)


def _read_run_folder(folder: Path, run_folder: Path) -> Recorded:
    """Read a run from the files that wandb keeps for reading: settings, summary and, where there is one, a history."""
    notes: list[str] = []
    about = _json(folder / "wandb-metadata.json", notes)
    found = Recorded(
        run_id=str(about.get("run_id") or run_folder.name.rpartition("-")[2]),
        place=_place(run_folder),
        is_guessed=not about.get("run_id") and RUN_FOLDER.fullmatch(run_folder.name) is None,
        project=about.get("project", ""),
        name=about.get("name") or about.get("run_id") or run_folder.name,
        host=about.get("host", ""),
        tags=list(about.get("tags", [])),
        config=_config(folder / "config.yaml", notes),
        summary={key: value for key, value in _json(folder / ABOUT[0], notes).items() if key not in OWN},
        exit_code=about.get("exit_code", 0),
        state=about.get("state"),
        reason=about.get("reason"),
        started=_seconds(about.get("startedAt")),
        notes=notes,
    )
    for name in HISTORIES:
        if (folder / name).is_file():
            found.curves = _read_history_file(folder / name).curves
            return found
    found.notes.append(f"{run_folder.name}: no .wandb file and no history, so no curves; only its last values came in")
    return found


def _read_history_file(path: Path) -> Recorded:
    """Read the history of one run from CSV or JSON lines."""
    real = real_path(path)
    found = Recorded(run_id=claim_of(NAME, real.stem), name=real.stem, exit_code=0, place=str(real), file=path.name)
    for number, row in _rows(path):
        step = step_of(_number(row.get("_step")))
        if step is None:
            raise FileError(path, number, "a history needs a number in '_step' in every row")
        values = {name: value for name, cell in flat(row, ".").items() if (value := _number(cell)) is not None}
        seconds = values.get("_runtime", math.nan)
        found.add(step, seconds, {name: value for name, value in values.items() if name not in OWN})
    return found


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the rows of a CSV or JSON-lines file with the numbers of their lines."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        if path.suffix == ".csv":
            try:
                yield from enumerate(csv.DictReader(file), start=2)  # the first line has the names
            except csv.Error as error:
                raise FileError(path, None, f"not a table: {error}") from error
            return
        for number, line in enumerate(file, start=1):
            try:
                row = json_of(line)
            except ValueError as error:
                raise FileError(path, number, f"not a line of JSON: {error}") from error
            if isinstance(row, dict):
                yield number, row


def _read_chart(path: Path) -> Landing:
    """Read a chart's CSV: a column for each run, named `RUN - METRIC`."""
    columns, runs = PointColumns(), {}
    rows = list(_rows(path))
    first = _first_columns(path)[0]
    for name in _first_columns(path)[1:]:
        run, _, metric = name.rpartition(" - ")
        if metric.endswith(BOUNDS) or metric == "_step":
            continue
        real = real_path(path)
        claim = claim_of(NAME, real.stem, run)
        older = older_claims(claim, [claim_of(NAME, path.stem, run)])
        origin = Origin(place=str(real), part=run, claim=claim, older=older)
        runs[origin.key] = FoundRun(record=record_of(origin.key, {}, family="", name=run), origin=origin)
        steps, values = [], []
        for number, row in rows:
            step, value = step_of(_number(row[first])), _number(row[name])
            if step is None:
                raise FileError(path, number, f"a chart needs a number in '{first}' in every row")
            if value is not None:
                steps.append(step)
                values.append(value)
        columns.add(origin.key, metric, steps, values)
    notes = ("a chart holds no settings of its runs; their offline run folders do",)
    return Landing(tuple(runs.values()), columns.points(), notes)


def _number(cell: Any) -> float | None:
    if cell is None or cell == "" or isinstance(cell, list | dict):
        return None
    try:
        return float(cell)
    except (ValueError, OverflowError, TypeError):
        return None


def _json(path: Path, notes: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        told = json_of(path.read_text())
    except (OSError, ValueError) as error:
        notes.append(f"{path}: left out, {error}")
        return {}
    return told if isinstance(told, dict) else {}


def _config(path: Path, notes: list[str]) -> dict[str, Any]:
    """Return the settings of a config.yaml, whose values stand under `value`."""
    return {
        key: entry["value"] if isinstance(entry, dict) and "value" in entry else entry
        for key, entry in yaml_of(path, notes).items()
        if key not in ("_wandb", "wandb_version")
    }


def _seconds(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
