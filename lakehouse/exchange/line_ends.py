"""Text tables that DuckDB refuses: lines that end in LF here and in CR LF there are made alike, others are explained.

A CR of its own among other line ends may be part of a cell, so such a file is refused with the command that mends it.
"""

from __future__ import annotations

import codecs
import contextlib
import re
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

from isoflop.lakehouse.errors import FileError
from isoflop.lakehouse.exchange.guarded import chunks_of

_MARK = re.compile(rb'"|\r\n|\r|\n')
_NAMES = {b"\r\n": "CR LF", b"\n": "LF", b"\r": "CR"}


@contextlib.contextmanager
def alike(path: Path) -> Iterator[Path | None]:
    """Give a copy of a text table whose lines all end in LF, for as long as it is read.

    Yields None where that is not what the file needs: its lines end alike, or in a CR of its own. Cells between quotes
    keep their line ends.
    """
    ends: set[bytes] = set()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "alike.csv"
        with open(copy, "wb") as file, contextlib.closing(_pieces(path)) as pieces:
            for text, end in pieces:
                file.write(text + (b"\n" if end else b""))
                ends |= {end} - {b""}
        yield copy if ends == {b"\n", b"\r\n"} else None


def unread(path: Path, said: str) -> FileError:
    """Return the error of a text table that DuckDB has refused.

    Parameters
    ----------
    said : DuckDB's words, which are shown where nothing better is known
    """
    found = _mixed(path)
    if found is not None:
        line, first, other = found
        return FileError(
            path, line, f"ends in {_NAMES[other]}, and the lines before it in {_NAMES[first]}",
            hint=f"tr '\\r' '\\n' < {path} > clean{path.suffix}, and import that",
        )  # fmt: skip
    hint = None if _is_utf8(path) else f"iconv -f LATIN1 -t UTF-8 {path} > utf8{path.suffix}, and import that"
    return FileError(path, None, f"cannot be read: {said}", hint=hint)


def _mixed(path: Path) -> tuple[int, bytes, bytes] | None:
    """Return the first line that ends in a CR where the first does not, or the other way, with both ends."""
    first, line = None, 1
    with contextlib.closing(_pieces(path)) as pieces:
        for _, end in pieces:
            if end:
                first = first or end
                if end != first and b"\r" in (end, first):  # LF and CR LF are read beside each other
                    return line, first, end
                line += 1
    return None


def _pieces(path: Path) -> Generator[tuple[bytes, bytes], None, None]:
    """Yield text with the line end behind it that stands in no quotes; without one where a chunk ends before it."""
    is_inside, rest = False, b""
    with contextlib.closing(chunks_of(path)) as chunks:
        for chunk in chunks:
            text = rest + chunk
            rest = text[-1:] if text.endswith(b"\r") else b""  # whose LF may begin the next chunk
            text = text.removesuffix(rest)
            start = 0
            for mark in _MARK.finditer(text):
                if mark.group() == b'"':
                    is_inside = not is_inside
                elif not is_inside:
                    yield text[start : mark.start()], mark.group()
                    start = mark.end()
            yield text[start:], b""
    yield (b"", rest) if rest and not is_inside else (rest, b"")


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
