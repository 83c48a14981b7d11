"""Values and documents out of strangers' files: what fits the lake, or nothing, within a bounded time."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from isoflop.lakehouse.errors import FileError

DEEPEST = 100  # lists and mappings within one another
MOST_NODES = 100_000  # of a YAML document, its aliases followed
CHUNK = 2**22  # bytes of a file that are looked at together
ESCAPED = re.compile(rb"\\.", re.DOTALL)
STEPS = range(-(2**63), 2**63)  # what a step can be in the lake


def step_of(value: Any) -> int | None:
    """Return a step that the lake can hold; None for what is none.

    Example
    -------
    >>> [step_of(value) for value in (3, 4.0, "x", 1e23, float("nan"))]
    [3, 4, None, None, None]
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if int(value) in STEPS else None


def number_of(value: Any) -> float | None:
    """Return a number as a float; None for what is none, or larger than a float.

    Example
    -------
    >>> [number_of(value) for value in (3, "3", True, 10**400)]
    [3.0, None, None, None]
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def json_of(text: str | bytes) -> Any:
    """Return what a JSON text says.

    Raises
    ------
    ValueError : if it is no JSON, or nested deeper than settings are
    """
    try:
        told = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"nested more than {DEEPEST} deep") from error
    opened = text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
    if opened > DEEPEST:
        _check(told, math.inf)
    return told


def json_file(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds; one that holds something else is empty.

    Raises
    ------
    FileError : if it cannot be read, or is no JSON
    """
    try:
        told = json_of(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FileError(path, None, f"cannot be read: {error}") from error
    return told if isinstance(told, dict) else {}


def is_deep_json(path: Path) -> bool:
    """Return whether a JSON or JSON-lines file nests deeper than settings do, seen without parsing it.

    DuckDB's reader overruns its stack on such a file, which ends the process.
    """
    depth, is_inside, rest = 0, False, b""
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            text = rest + chunk
            escapes = len(text) - len(text.rstrip(b"\\"))
            rest = text[-1:] if escapes % 2 else b""
            data = np.frombuffer(ESCAPED.sub(b"", text[:-1] if rest else text), dtype=np.uint8)
            quotes = np.cumsum(data == ord('"'), dtype=np.int64) + is_inside
            is_outside = quotes % 2 == 0
            steps = ((data == ord("[")) | (data == ord("{"))).astype(np.int64)
            steps -= (data == ord("]")) | (data == ord("}"))
            depths = depth + np.cumsum(steps * is_outside)
            if len(data):
                if depths.max() > DEEPEST:
                    return True
                depth, is_inside = int(depths[-1]), not is_outside[-1]
    return False


def yaml_of(path: Path, notes: list[str] | None = None) -> dict[str, Any]:
    """Return the mapping that a YAML file holds; nothing, and a note, where it is none of a bounded size."""
    import yaml

    if not path.is_file():
        return {}
    try:
        told = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        _check(told, MOST_NODES)
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        if notes is not None:
            notes.append(f"{path}: left out, {' '.join(str(error).split())[:200]}")
        return {}
    return {str(key): value for key, value in told.items()} if isinstance(told, dict) else {}


def _check(told: Any, most: float) -> None:
    """Raise ValueError for a document that is too deep or, with its aliases followed, too large."""
    count, level, depth = 0, [told], 0
    while level:
        count += len(level)
        if depth > DEEPEST or count > most:
            raise ValueError(f"nested more than {DEEPEST} deep, or too large once its aliases are followed")
        below: list[Any] = []
        for node in level:
            children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
            below.extend(children)
            if len(below) > most:
                break
        level, depth = below, depth + 1
