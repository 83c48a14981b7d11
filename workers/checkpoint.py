"""Checkpoints that are there whole or not at all, one file a run, replaced by each newer one."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

LAYOUT = 1  # raised when older checkpoints cannot be continued


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


def load_tensors(path: Path) -> dict[str, Any] | None:
    """Return what `save_tensors` wrote, on the CPU, or None where there is nothing that can be continued."""
    import torch

    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # not written by this code: whatever it is, the run begins anew
        return None
    return content if content.get("layout") == LAYOUT else None


def save_arrays(path: Path, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write JSON values and arrays, without torch."""
    text = json.dumps({"layout": LAYOUT, **values})
    with replacing(path) as partial, open(partial, "wb") as file:
        np.savez(file, _values=np.array(text), **arrays)  # type: ignore[arg-type]  # numpy's own keyword is in the way


def load_arrays(path: Path) -> dict[str, Any] | None:
    """Return the values and arrays of `save_arrays` under their names, or None."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {
                **json.loads(str(file["_values"])),
                **{name: file[name] for name in file.files if name != "_values"},
            }
    except Exception:  # not written by this code: whatever it is, the run begins anew
        return None
    return content if content.get("layout") == LAYOUT else None
