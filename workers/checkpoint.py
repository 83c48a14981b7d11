"""Checkpoints that are there whole or not at all, one file a run, replaced by each newer one.

Each ends in a checksum of all before it, so that a byte that has changed is noticed and never trained on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

LAYOUT = 2  # raised when older checkpoints cannot be continued
MARK = b"isoflop2"  # in front of the checksum
DIGEST_BYTES = 32
CHUNK = 2**20  # bytes read at once for a checksum
ASIDE = ".unreadable"  # added to the name of a file that is kept for whoever wants to look at it


class BrokenCheckpoint(Exception):
    """A file that no run can go on from, with why."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write; when the block ends it is on disk and in the place of `path`, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def save_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors, numbers and lists of them."""
    import torch

    with replacing(path) as partial:
        torch.save({"layout": LAYOUT, **content}, partial)
        _seal(partial)


def load_tensors(path: Path) -> dict[str, Any] | None:
    """Return what `save_tensors` wrote, on the CPU, or None where there is no file.

    Raises
    ------
    BrokenCheckpoint : if the file is not as it was written, or another layout
    OSError, MemoryError : if it cannot be read now; what it holds may be right
    """
    import torch

    if not path.is_file():
        return None
    _check_seal(path)
    return _of_this_layout(lambda: torch.load(path, map_location="cpu", weights_only=True))


def save_arrays(path: Path, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write JSON values and arrays, without torch."""
    text = json.dumps({"layout": LAYOUT, **values})
    with replacing(path) as partial:
        with open(partial, "wb") as file:
            np.savez(file, _values=np.array(text), **arrays)  # type: ignore[arg-type]  # numpy's own keyword is in the way
        _seal(partial)


def load_arrays(path: Path) -> dict[str, Any] | None:
    """Return the values and arrays of `save_arrays` under their names, or None where there is no file.

    Raises
    ------
    BrokenCheckpoint, OSError, MemoryError : as `load_tensors`
    """

    def read() -> dict[str, Any]:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != "_values"}
            return {**json.loads(str(file["_values"])), **arrays}

    if not path.is_file():
        return None
    _check_seal(path)
    return _of_this_layout(read)


def set_aside(path: Path) -> Path:
    """Rename a checkpoint that cannot be continued, so that nothing overwrites it, and return its new path."""
    aside = path.with_name(path.name + ASIDE)
    os.replace(path, aside)
    return aside


def _of_this_layout(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        content = read()
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever wrote it, it was not this code
        raise BrokenCheckpoint(f"cannot be read ({type(error).__name__})") from error
    if content.get("layout") != LAYOUT:
        raise BrokenCheckpoint("was written by another version of isoflop")
    return content


def _seal(path: Path) -> None:
    """Add the checksum of a file to its end, which readers of archives pass over."""
    digest = _digest(path, path.stat().st_size)
    with open(path, "ab") as file:
        file.write(MARK + digest)


def _check_seal(path: Path) -> None:
    """Make sure that a file is, to the byte, what was sealed.

    Raises
    ------
    BrokenCheckpoint : if it is not
    """
    length = path.stat().st_size - len(MARK) - DIGEST_BYTES
    with open(path, "rb") as file:
        file.seek(max(0, length))
        mark, digest = file.read(len(MARK)), file.read()
    if length < 0 or mark != MARK:
        raise BrokenCheckpoint("has no checksum: it is cut off, or not a checkpoint")
    if digest != _digest(path, length):
        raise BrokenCheckpoint("differs from its checksum: some of its bytes have changed")


def _digest(path: Path, length: int) -> bytes:
    """Return the SHA-256 of the first bytes of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while length > 0 and (part := file.read(min(length, CHUNK))):
            digest.update(part)
            length -= len(part)
    return digest.digest()
