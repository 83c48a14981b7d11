"""A folder for what is expensive to read twice, shared by the processes of one user."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder: `$ISOFLOP_CACHE`, else `$XDG_CACHE_HOME/isoflop`, else `~/.cache/isoflop`.

    A machine without a writable home gets a private folder under the temporary one.
    """
    named = os.environ.get("ISOFLOP_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(base) if base else Path.home() / ".cache") / "isoflop"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # no home, or one that cannot be written
        pass
    folder = Path(tempfile.gettempdir()) / f"isoflop-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        return Path(tempfile.mkdtemp(prefix="isoflop-"))
    return folder


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder `name` of the cache, made by `make` unless it is there.

    `make` writes into a folder of its own, which then takes its place in one rename: readers find all of
    it or nothing, and of two processes that make it at once one wins.
    """
    final = cache_folder() / name
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    try:
        make(making)
        try:
            os.rename(making, final)
        except OSError:
            if not final.is_dir():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return final
