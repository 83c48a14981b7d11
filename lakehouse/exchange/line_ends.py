"""Why a text table that DuckDB cannot read cannot be read: its lines end in different ways, or it is not UTF-8."""

from __future__ import annotations

import codecs
import contextlib
import re
from pathlib import Path

from isoflop.lakehouse.errors import FileError
from isoflop.lakehouse.exchange.guarded import chunks_of

_MARK = re.compile(rb'"|\r\n|\r(?=.)|\n', re.DOTALL)  # a CR at the end of a chunk may have its LF in the next one
_NAMES = {b"\r\n": "CR LF", b"\n": "LF", b"\r": "CR"}


def unread(path: Path, said: str) -> FileError:
    """Return the error of a text table that DuckDB has refused.

    Parameters
    ----------
    said : DuckDB's words, which are shown where nothing better is known
    """
    found = _mixed(path)
    if found is not None:
        line, first, other = found
        command = f"tr '\\r' '\\n' < {path}" if b"\r" in (first, other) else f"sed 's/\\r$//' {path}"
        return FileError(
            path, line, f"ends in {_NAMES[other]}, and the lines before it in {_NAMES[first]}",
            hint=f"{command} > clean{path.suffix}, and import that",
        )  # fmt: skip
    hint = None if _is_utf8(path) else f"iconv -f LATIN1 -t UTF-8 {path} > utf8{path.suffix}, and import that"
    return FileError(path, None, f"cannot be read: {said}", hint=hint)


def _mixed(path: Path) -> tuple[int, bytes, bytes] | None:
    """Return the first line that ends otherwise than the first one, with both ends; None where all end alike."""
    first, line, is_inside, rest = None, 1, False, b""
    with contextlib.closing(chunks_of(path)) as chunks:
        for chunk in chunks:
            text = rest + chunk
            rest = text[-1:] if text.endswith(b"\r") else b""
            for mark in _MARK.finditer(text):
                end = mark.group()
                if end == b'"':
                    is_inside = not is_inside
                elif not is_inside:
                    first = first or end
                    if end != first:
                        return line, first, end
                    line += 1
    return None


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with contextlib.closing(chunks_of(path)) as chunks:
        try:
            for chunk in chunks:
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True
