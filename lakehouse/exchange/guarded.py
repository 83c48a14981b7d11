"""Values and documents out of strangers' files: what fits the lake, or nothing, within a bounded time."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from isoflop.lakehouse.errors import FileError

DEEPEST = 100  # lists and mappings within one another
MOST_NODES = 100_000  # of a YAML document, its aliases followed
CHUNK = 2**22  # bytes of a file that are looked at together
PACKED = {".gz": "gzip", ".zst": "zstd"}
HEAD = 2**16  # bytes in which an encoding shows
LONGEST_LINE = 2**24  # bytes; DuckDB takes objects of JSON up to this length
LARGEST_YAML = 2**25  # bytes; MOST_NODES nodes are a tenth of it
MOST_UNPACKED = 2**28  # bytes that any packed file may become
MOST_TIMES = 200  # its size: numbers in text are packed 3 to 20 times, a table of equal rows a thousand
MOST_KEYS = 2**15  # different names in a JSON file: 8 times the columns that a table can have, some are keys of maps
KEY = re.compile(rb'"([^"\\]{1,200})"\s*:')
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


def chunks_of(path: Path) -> Generator[bytes, None, None]:
    """Yield the bytes of a file, unpacked where its name says that it is packed.

    Raises
    ------
    FileError : if it cannot be unpacked, or becomes so many times its size that it holds no runs
    """
    import pyarrow as pa

    size, total = max(path.stat().st_size, 1), 0
    kind = PACKED.get(path.suffix.lower())
    try:
        with pa.CompressedInputStream(pa.OSFile(str(path)), kind) if kind else open(path, "rb") as file:
            while chunk := bytes(file.read(CHUNK)):
                total += len(chunk)
                if kind and total > MOST_UNPACKED and total > MOST_TIMES * size:
                    raise FileError(
                        path,
                        None,
                        f"more than {total // size:,} times its size when unpacked, which no table of runs is",
                        hint="unpack it and import what it holds",
                    )
                yield chunk
    except (OSError, pa.ArrowException) as error:
        raise FileError(path, None, f"cannot be read{f' as {kind}' if kind else ''}: {error}") from error


def check_text(path: Path, *, has_lines: bool) -> None:
    """Refuse a text file that its reader would not come to an end with: endless lines, countless keys, other encodings.

    Parameters
    ----------
    has_lines : a row of the table is a line

    Raises
    ------
    FileError : with what is wrong with it, and where
    """
    length, line, head = 0, 1, b""
    is_read = has_lines or path.suffix.lower() in PACKED
    with contextlib.closing(chunks_of(path)) as chunks:
        for chunk in chunks if is_read else itertools.islice(chunks, 1):
            if not head:
                head = chunk[:HEAD]
                _check_encoding(path, head)
            if not has_lines:
                continue  # only unpacked, to see what it becomes
            if b"\n" not in chunk:
                chunk = chunk.replace(b"\r", b"\n")  # the line ends of old spreadsheets
            first, last = chunk.find(b"\n"), chunk.rfind(b"\n")
            length = length + len(chunk) if first < 0 else length + first
            if length > LONGEST_LINE:
                raise FileError(path, line, f"a line of more than {LONGEST_LINE:,} bytes, which no row of a table is")
            if first >= 0:
                line += chunk.count(b"\n")
                length = len(chunk) - 1 - last


def _check_encoding(path: Path, head: bytes) -> None:
    is_utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff")) or (head[1:64:2].count(0) > 8 or head[0:64:2].count(0) > 8)
    if is_utf16:
        raise FileError(
            path, None, "is UTF-16 or no text at all; tables are read as UTF-8",
            hint=f"iconv -f UTF-16 -t UTF-8 {path} > utf8{path.suffix}, and import that",
        )  # fmt: skip


def has_many_keys(path: Path) -> bool:
    """Return whether a JSON file names more fields than a table can have columns, seen in its first bytes."""
    with contextlib.closing(chunks_of(path)) as chunks:
        head = b"".join(itertools.islice(chunks, 4))
    return head.count(b'":') > MOST_KEYS and len(set(KEY.findall(head))) > MOST_KEYS


def is_deep_json(path: Path) -> bool:
    """Return whether a JSON or JSON-lines file nests deeper than settings do, seen without parsing it.

    DuckDB's reader overruns its stack on such a file, which ends the process.
    """
    depth, is_inside, rest = 0, False, b""
    with contextlib.closing(chunks_of(path)) as chunks:
        for chunk in chunks:
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
        if path.stat().st_size > LARGEST_YAML:
            raise ValueError(f"larger than the {LARGEST_YAML:,} bytes that settings take")
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
