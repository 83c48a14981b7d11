"""Files as bytes: 256 tokens, no tokeniser, and a corpus on every machine that has Python."""

from __future__ import annotations

import hashlib
import json
import os
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from isoflop.lakehouse.errors import RecordError
from isoflop.workers.corpora.cache import cached
from isoflop.workers.corpora.corpus import Corpus, CorpusSpec, Tokens
from isoflop.workers.corpora.windows import TokenArray, Windows

BUILTIN = "builtin"
BETWEEN_FILES = b"\0"  # ends a document; no text holds it
LARGEST_BLOCK = 65_536  # bytes; validation is made of whole blocks from all over the corpus
SMALLEST_NUMBER_OF_BLOCKS = 200  # so that a small folder has held-out text from several places too
# Folders of the standard library that are tests, generated tables or packages of others.
NOT_LIBRARY = frozenset(
    {
        "site-packages",
        "dist-packages",
        "test",
        "tests",
        "idle_test",
        "__pycache__",
        "pydoc_data",
        "lib2to3",
        "encodings",
    }
)


class BytesSpec(CorpusSpec):
    """Every file under a folder, in sorted order, as bytes.

    `source` is a folder, a file, or `builtin`: the source code of Python's own standard library. Names
    that begin with a dot are left out.
    """

    kind: Literal["bytes"] = "bytes"
    source: str = Field(default=BUILTIN, min_length=1, description="folder, file, or 'builtin'")
    validation_fraction: float = Field(default=0.05, ge=0, lt=1, description="of the blocks, held out")

    @property
    def label(self) -> str:
        """`bytes:builtin`, `bytes:<folder name>`."""
        return f"bytes:{Path(self.source).name or self.source}"

    @property
    def known_vocabulary(self) -> int:
        """Every byte is a token."""
        return 256

    @property
    def known_bytes_per_token(self) -> float:
        """Every token is a byte."""
        return 1.0

    def about_tokens(self) -> float | None:
        """Return the bytes of all files without the part that is held out."""
        try:
            _, files = _list_files(self.source)
        except (OSError, RecordError):  # the machine that trains may have them
            return None
        return (1 - self.validation_fraction) * sum(status.st_size for _, status in files)

    def open(self) -> ByteCorpus:
        """Return the corpus; read once a process, and once a machine while the files stay the same.

        Raises
        ------
        RecordError : if the source does not exist, cannot be read, or holds nothing
        """
        return _open(self)


class ByteCorpus(Corpus):
    """Bytes, memory-mapped: every k-th block is held out, the rest is for training."""

    vocabulary = 256

    def __init__(self, label: str, train: TokenArray, validation: TokenArray, content_hash: str) -> None:
        self._label = label
        self.train_tokens, self.validation_tokens = train, validation
        self.content_hash = content_hash

    def batches(self, *, batch_size: int, sequence_length: int, seed: int, first_step: int = 0) -> Iterator[Tokens]:
        """Yield batches of windows; see `Corpus.batches`."""
        return self._windows(sequence_length).batches(batch_size=batch_size, seed=seed, first_step=first_step)

    def unique_tokens(self, sequence_length: int) -> int:
        """Return the tokens of all windows."""
        return len(self._windows(sequence_length)) * sequence_length

    def _windows(self, sequence_length: int) -> Windows:
        return Windows([self.train_tokens], sequence_length, f"corpus {self._label}")

    def validation(self, *, num_sequences: int, sequence_length: int) -> Tokens:
        """Return held-out windows; see `Corpus.validation`."""
        return Windows([self.validation_tokens], sequence_length, f"corpus {self._label}").spread(num_sequences)


@lru_cache(maxsize=8)
def _open(spec: BytesSpec) -> ByteCorpus:
    root, files = _list_files(spec.source)
    listing = json.dumps([[str(file.relative_to(root)), status.st_size, status.st_mtime_ns] for file, status in files])
    key = hashlib.sha256(f"{root}\n{spec.validation_fraction}\n{listing}".encode()).hexdigest()[:24]
    folder = cached(f"corpora/bytes-{key}", lambda making: _write(making, [file for file, _ in files], spec))
    about = json.loads((folder / "about.json").read_text())
    return ByteCorpus(
        spec.label, _map(folder / "train.bin"), _map(folder / "validation.bin"), str(about["content_hash"])
    )


def _map(path: Path) -> TokenArray:
    """Map a file; an empty one cannot be mapped."""
    return np.memmap(path, np.uint8, mode="r") if path.stat().st_size else np.empty(0, np.uint8)


def _list_files(source: str) -> tuple[Path, list[tuple[Path, os.stat_result]]]:
    """Return the root and its files with their sizes and times, sorted by path."""
    root = Path(sysconfig.get_path("stdlib")) if source == BUILTIN else Path(source).expanduser()
    if root.is_file():
        return root.parent, [(root, root.stat())]
    if not root.is_dir():
        raise RecordError(f"corpus source '{source}' does not exist; expected a folder, a file or '{BUILTIN}'")
    found: list[Path] = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [
            name for name in subfolders if not name.startswith(".") and not (source == BUILTIN and name in NOT_LIBRARY)
        ]
        found += [
            Path(folder, name)
            for name in names
            if not name.startswith(".") and (source != BUILTIN or name.endswith(".py"))
        ]
    files = [
        (path, path.stat())
        for path in sorted(found, key=lambda path: path.relative_to(root).as_posix())
        if path.is_file()
    ]
    if not files:
        raise RecordError(f"corpus folder '{source}' holds no files")
    return root, files


def _write(folder: Path, files: list[Path], spec: BytesSpec) -> None:
    """Write the two parts of the corpus and what is known about it."""
    try:
        content = BETWEEN_FILES.join(file.read_bytes() for file in files)
    except OSError as error:
        raise RecordError(f"corpus file '{error.filename}' cannot be read: {error.strerror}") from error
    block = max(1, min(LARGEST_BLOCK, len(content) // SMALLEST_NUMBER_OF_BLOCKS))
    every = round(1 / spec.validation_fraction) if spec.validation_fraction else 0
    with open(folder / "train.bin", "wb") as train, open(folder / "validation.bin", "wb") as validation:
        for number, start in enumerate(range(0, len(content), block)):
            is_held_out = every and number % every == every - 1
            (validation if is_held_out else train).write(content[start : start + block])
    about = {"content_hash": hashlib.sha256(content).hexdigest(), "bytes": len(content), "files": len(files)}
    (folder / "about.json").write_text(json.dumps(about))
