"""What killed processes leave beside a lake: half-written files, and spools beside a link to the lake.

A file that is being written is named after its process: `NAME.HOST-PID-START.partial`, where HOST is a
digest of the machine's name and START tells two processes of one number apart.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from isoflop.lakehouse.address import FileAddress, spool_of
from isoflop.lakehouse.runs.provenance import process_space, process_start
from isoflop.lakehouse.runs.records import digest

HOST_LENGTH = 6  # characters that stand for a machine in the name of a file
OLD_SECONDS = 3600.0  # a half-written file of unknown origin has no writer any more when it is this old
PARTIAL = re.compile(r".+\.(?P<host>[a-z2-7]{6})-(?P<pid>\d+)-(?P<start>\d+|x)\.partial(?:\.wal)?")
ANONYMOUS = re.compile(r"(?:\.schema-\d+\.backup|\.serving)?\.(?P<pid>\d+)(?:\.\w+)?\.partial(?:\.wal)?")


def partial_of(path: Path) -> Path:
    """Return where this process writes what becomes `path` when it is whole."""
    start = process_start(os.getpid()) or "x"
    owner = f"{digest(process_space(), HOST_LENGTH)}-{os.getpid()}-{start if start.isdigit() else 'x'}"
    return path.with_name(f"{path.name}.{owner}.partial")


def remove_leftovers(path: Path) -> None:
    """Remove the half-written files of dead processes from the folder of a lake; a living one's stay."""
    for left, is_dead in _partials(path):
        if is_dead:
            with contextlib.suppress(OSError):
                left.unlink()


def find_leftovers(path: Path) -> list[Path]:
    """Return the half-written files beside a lake that no process here is writing."""
    return [left for left, is_dead in _partials(path) if is_dead is not False]


def _partials(path: Path) -> Iterator[tuple[Path, bool | None]]:
    """Yield each half-written file with whether its process is gone; None when that cannot be told."""
    here = digest(process_space(), HOST_LENGTH)
    try:
        with os.scandir(path.parent) as entries:
            found = sorted(entry.name for entry in entries if entry.name.endswith((".partial", ".partial.wal")))
    except OSError:
        return
    for name in found:
        left = path.with_name(name)
        if (named := PARTIAL.fullmatch(name)) is not None:
            if named["host"] == here:
                start = process_start(int(named["pid"]))
                yield left, start is None or (start.isdigit() and named["start"] not in ("x", start))
            elif name.startswith(path.name + "."):
                yield left, None
        elif name.startswith(path.name) and (named := ANONYMOUS.fullmatch(name[len(path.name) :])) is not None:
            is_gone = process_start(int(named["pid"])) is None
            yield left, (True if _is_old(left) else None) if is_gone else False


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > OLD_SECONDS
    except OSError:
        return False


def adopt_spools(place: FileAddress) -> int:
    """Move the batches that wait beside a link to a lake into the lake's own spool, and return how many."""
    moved = 0
    for folder in stray_spools(place):
        own = spool_of(place.path)
        for batch in sorted(folder.glob("*.parquet")):
            with contextlib.suppress(OSError):
                own.mkdir(exist_ok=True)
                target = own / batch.name
                if not target.exists():
                    arriving = target.with_name(f"{target.name}.{os.getpid()}.partial")
                    shutil.copyfile(batch, arriving)
                    os.replace(arriving, target)
                    batch.unlink()
                    moved += 1
    return moved


def stray_spools(place: FileAddress) -> list[Path]:
    """Return the spools with batches beside links to a lake: the one it is asked for by, and those in its folder."""
    own = spool_of(place.path)
    links = [place.given, *_links_beside(place.path)]
    folders = dict.fromkeys(spool_of(link) for link in links if link is not None and link != place.path)
    return [
        folder
        for folder in folders
        if folder.is_dir() and folder.resolve() != own.resolve() and any(folder.glob("*.parquet"))
    ]


def _links_beside(path: Path) -> Iterator[Path]:
    """Yield the links in a lake's own folder that lead to it."""
    try:
        with os.scandir(path.parent) as entries:
            links = [path.with_name(entry.name) for entry in entries if entry.is_symlink()]
    except OSError:
        return
    yield from (
        link for link in links if os.path.realpath(link) == str(path)
    )  # which bears links that lead in a circle
