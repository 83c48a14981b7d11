"""Import TensorBoard logs: a folder with event files is a run, its scalars are curves.

Settings come from the hparams plug-in and from a `hparams.yaml` beside the events (Lightning writes
one). Three habits of writers are undone: the child folder in which PyTorch puts hyperparameters belongs
to its parent, so do `train` and `validation` children, and in a folder with several event files a later
file replaces the steps from which it starts again, as TensorBoard shows it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.exchange.binary.event_file import Events, read_events
from isoflop.lakehouse.exchange.guarded import yaml_of
from isoflop.lakehouse.exchange.landing import FoundRun, Landing, utc
from isoflop.lakehouse.exchange.naming import counted, flat, record_of, setting
from isoflop.lakehouse.exchange.origin import Origin, claim_of, older_claims, real_path
from isoflop.lakehouse.exchange.points import PointColumns

NAME = "tensorboard"
MARK = "tfevents"
SPLITS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
          "eval": "validation", "test": "test"}  # fmt: skip
Curve = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]  # wall times [s since 1970], steps, values


@dataclass
class Folder:
    """What the event files of one folder say; `real` is where they lie, links followed, `part` which is read alone."""

    path: Path
    first_file: str
    real: Path
    part: str = ""
    is_read: bool = False
    curves: dict[str, Curve] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    status: str | None = None
    notes: list[str] = field(default_factory=list)


def is_event_file(name: str) -> bool:
    """Return whether a file name is one that TensorBoard looks for."""
    return MARK in name


def finds(path: Path, files: list[Path]) -> bool:
    """Return whether there are event files."""
    return any(is_event_file(file.name) for file in files)


def read(path: Path) -> Landing:
    """Return the runs below a folder, or the one of an event file."""
    root = path if path.is_dir() else path.parent
    folders = list({found.real: found for found in starmap(_read_folder, reversed(_event_folders(path)))}.values())[
        ::-1
    ]
    if path.is_file() and len(beside := [name for name in os.listdir(root) if is_event_file(name)]) > 1:
        folders[0].part = path.name
        folders[0].notes.append(f"{path.name}: one of {len(beside)} event files beside it; the folder is the whole run")
    columns, runs, notes = PointColumns(), [], []
    notes += [note for found in folders if not found.is_read for note in found.notes]
    for found in _joined([found for found in folders if found.is_read], root):
        notes += found.notes
        runs.append(_run(found, root, columns))
    return Landing(tuple(runs), columns.points(), tuple(notes))


def _event_folders(path: Path) -> list[tuple[Path, list[str]]]:
    if path.is_file():
        return [(path.parent, [path.name])]
    found = []
    for folder, below, names in os.walk(path):
        below.sort()
        events = sorted(name for name in names if is_event_file(name) and (Path(folder) / name).is_file())
        if events:
            found.append((Path(folder), events))
    return found


def _read_folder(folder: Path, names: list[str]) -> Folder:
    found = Folder(folder, names[0], real_path(folder / names[0]).parent)
    replaced = 0
    for name in names:
        events = read_events(folder / name)
        if not events.is_one:
            found.notes.append(f"{folder / name}: not an event file, left out")
            continue
        found.is_read = True
        found.settings |= events.hparams
        found.status = events.status or found.status
        found.notes += [f"{folder.name}: {note}" for note in events.notes]
        replaced += _take_over(found, events)
    if replaced:
        found.notes.append(
            f"{folder.name}: {counted(replaced, 'point')} logged again by a later event file, which counts"
        )
    found.settings |= flat(yaml_of(folder / "hparams.yaml", found.notes), ".")
    return found


def _take_over(found: Folder, events: Events) -> int:
    """Add a later file's curves; its first step ends what earlier files say. Returns how many points gave way."""
    replaced = 0
    for tag in events.scalars:
        walls, steps, values = events.columns(tag)
        if tag in found.curves:
            before = found.curves[tag]
            keeps = before[1] < steps.min()
            replaced += int((~keeps).sum())
            walls, steps, values = (
                np.concatenate([old[keeps], new]) for old, new in zip(before, (walls, steps, values), strict=True)
            )
        found.curves[tag] = walls, steps, values
    return replaced


def _joined(folders: list[Folder], root: Path) -> list[Folder]:
    """Put child folders that are no runs of their own into their parents."""
    by_path = {folder.path: folder for folder in folders}
    for folder in sorted(folders, key=lambda found: -len(found.path.parts)):
        parent = by_path.get(folder.path.parent)
        only_ends = all(len(steps) == 1 for _, steps, _ in folder.curves.values())
        if parent is not None and folder.path != root and folder.settings and only_ends and not parent.settings:
            _absorb(parent, folder, "")
            del by_path[folder.path]
    for folder in list(by_path.values()):
        above = folder.path.parent
        siblings = [other for other in by_path.values() if other.path.parent == above and other.path.name in SPLITS]
        is_split = folder.path.name in SPLITS and (above in by_path or len(siblings) > 1)
        if is_split and root in (above, *above.parents):
            parent = by_path.setdefault(above, Folder(above, folder.first_file, real_path(above)))
            _absorb(parent, folder, f"{SPLITS[folder.path.name]}/")
            del by_path[folder.path]
    return sorted(by_path.values(), key=lambda found: found.path)


def _absorb(parent: Folder, child: Folder, prefix: str) -> None:
    for tag, curve in child.curves.items():
        parent.curves.setdefault(prefix + tag, curve)
    parent.settings = child.settings | parent.settings
    parent.status = parent.status or child.status
    parent.notes += child.notes


def _run(found: Folder, root: Path, columns: PointColumns) -> FoundRun:
    """Return the run of a folder."""
    origin = _origin(found)
    walls = [curve[0] for curve in found.curves.values() if len(curve[0])]
    start, end = (min(w.min() for w in walls), max(w.max() for w in walls)) if walls else (None, None)
    for tag, (wall, steps, values) in found.curves.items():
        columns.add(origin.key, tag, steps, values, wall - start)
    settings = {name: setting(value) if isinstance(value, str) else value for name, value in found.settings.items()}
    name = real_path(found.path).name if found.path == root else found.path.relative_to(root).as_posix()
    return FoundRun(
        record=record_of(origin.key, settings, family="", name=name),
        measured={"train_seconds": None if start is None or end is None else float(end - start)},
        status="finished" if found.status is None else found.status,
        started_at=utc(start),
        finished_at=utc(end) if found.status != "running" else None,
        origin=origin,
    )


def _origin(found: Folder) -> Origin:
    """Return where a run is from; it claims to be the run of its folder's name and first event file."""
    claim = claim_of(NAME, found.real.name, found.first_file)
    return Origin(
        place=str(found.real),
        part=found.part,
        claim=claim,
        older=older_claims(claim, [claim_of(NAME, found.path.name, found.first_file)]),
        is_named_by_place=True,
    )
