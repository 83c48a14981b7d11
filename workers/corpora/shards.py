"""Tokenised files from elsewhere: memory-mapped `.bin` and `.npy` shards."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

import numpy as np
from pydantic import Field

from isoflop.lakehouse.errors import RecordError
from isoflop.workers.corpora.corpus import Corpus, CorpusSpec, Tokens
from isoflop.workers.corpora.windows import TokenArray, Windows

SUFFIXES = (".bin", ".npy")
DEFAULT_VALIDATION_FRACTION = 0.05  # of a single shard
SCANNED_TOKENS = 2**24  # from the start of each shard, when it is opened; the rest as it is read
HASHED_BYTES = 2**20  # from the start and from the end of each shard


class ShardsSpec(CorpusSpec):
    """A file, a folder or a glob of token files; the last one is held out.

    `.bin` files are raw little-endian ids of `dtype`, `.npy` files are one-dimensional integer arrays.
    With `validation_fraction` the end of the last shard is held out instead of all of it; a single shard
    always gives up its end.
    """

    kind: Literal["shards"] = "shards"
    source: str = Field(min_length=1, description="file, folder, or a pattern such as data/*.bin")
    dtype: Literal["uint16", "uint32"] = Field(default="uint16", description="of .bin files")
    vocabulary: int | None = Field(default=None, ge=1, description="number of different ids")
    validation_fraction: float | None = Field(default=None, ge=0, lt=1, description="of the last shard")
    bytes_per_token: float | None = Field(default=None, gt=0, description="of the text, for losses in bits per byte")

    @property
    def label(self) -> str:
        """`shards:<name of the file or folder>`."""
        return f"shards:{Path(self.source).name}"

    @property
    def known_vocabulary(self) -> int | None:
        """The vocabulary, if the description says it: the files do not."""
        return self.vocabulary

    @property
    def known_bytes_per_token(self) -> float | None:
        """What the description says: the files hold no text."""
        return self.bytes_per_token

    def about_tokens(self) -> float | None:
        """Return the ids that the sizes of all files make room for, without those that are held out."""
        try:
            sizes = [path.stat().st_size / self._id_bytes(path) for path in _find_shards(self.source)]
        except (OSError, ValueError, RecordError):  # the machine that trains may have them
            return None
        return sum(sizes[:-1]) + (1 - _held_out(self.validation_fraction, len(sizes))) * sizes[-1]

    def _id_bytes(self, path: Path) -> int:
        is_array = path.suffix == ".npy"
        return int(
            np.load(path, mmap_mode="r", allow_pickle=False).itemsize if is_array else np.dtype(self.dtype).itemsize
        )

    def open(self) -> ShardCorpus:
        """Return the corpus with every shard mapped.

        Raises
        ------
        RecordError : if there is no shard, one is not a token file, or an id is outside the vocabulary
        """
        return _open(self)


class ShardCorpus(Corpus):
    """Mapped shards; no window crosses from one shard to the next."""

    def __init__(self, spec: ShardsSpec, paths: list[Path]) -> None:
        self._paths = paths
        shards = [_map_shard(path, spec.dtype) for path in paths]
        self.vocabulary = spec.vocabulary if spec.vocabulary is not None else 1 + max(_largest(s) for s in shards)
        for path, shard in zip(paths, shards, strict=True):
            self._check(path, shard[:SCANNED_TOKENS])
        self._label = spec.label
        self.content_hash = _fingerprint(paths)
        *whole, last = shards
        cut = len(last) - int(_held_out(spec.validation_fraction, len(shards)) * len(last))
        self._train: list[TokenArray] = [*whole, last[:cut]]
        self._validation: list[TokenArray] = [last[cut:]]

    def batches(self, *, batch_size: int, sequence_length: int, seed: int, first_step: int = 0) -> Iterator[Tokens]:
        """Yield batches of windows; see `Corpus.batches`."""
        for batch in self._windows(sequence_length).batches(batch_size=batch_size, seed=seed, first_step=first_step):
            self._check(None, batch)
            yield batch

    def unique_tokens(self, sequence_length: int) -> int:
        """Return the tokens of all windows."""
        return len(self._windows(sequence_length)) * sequence_length

    def _windows(self, sequence_length: int) -> Windows:
        return Windows(self._train, sequence_length, f"corpus {self._label}")

    def validation(self, *, num_sequences: int, sequence_length: int) -> Tokens:
        """Return held-out windows; see `Corpus.validation`."""
        held_out = Windows(self._validation, sequence_length, f"corpus {self._label}").spread(num_sequences)
        self._check(self._paths[-1], held_out)
        return held_out

    def _check(self, path: Path | None, tokens: TokenArray) -> None:
        if tokens.size and (tokens.max() >= self.vocabulary or tokens.min() < 0):
            worst = int(tokens.max()) if tokens.max() >= self.vocabulary else int(tokens.min())
            where = f"shard '{path}'" if path else f"corpus {self._label}"
            raise RecordError(
                f"{where} holds the id {worst}, but its vocabulary is {self.vocabulary}; expected ids from 0 to "
                f"{self.vocabulary - 1}",
                hint="give the vocabulary of the tokeniser, and for .bin files check dtype",
            )


def _held_out(fraction: float | None, num_shards: int) -> float:
    """Return the share of the last shard that is held out: all of it where nothing is said and there are others."""
    if fraction is not None:
        return fraction
    return 1.0 if num_shards > 1 else DEFAULT_VALIDATION_FRACTION


@lru_cache(maxsize=8)
def _open(spec: ShardsSpec) -> ShardCorpus:
    return ShardCorpus(spec, _find_shards(spec.source))


def _find_shards(source: str) -> list[Path]:
    """Return the token files a source names, sorted."""
    path = Path(source).expanduser()
    if path.is_dir():
        found = [file for file in path.iterdir() if file.suffix in SUFFIXES]
    elif path.is_file():
        found = [path]
    else:
        found = [Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file()]
    if not found:
        raise RecordError(
            f"no token files at '{source}'; expected a file, a folder or a pattern of {' or '.join(SUFFIXES)} files"
        )
    return sorted(found)


def _map_shard(path: Path, dtype: str) -> TokenArray:
    """Map one shard as a one-dimensional integer array."""
    if path.suffix == ".npy":
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise RecordError(f"shard '{path}' is not an .npy array: {error}") from error
        if array.ndim != 1 or array.dtype.kind not in "ui":
            raise RecordError(
                f"shard '{path}' is an array of {array.dtype} with {array.ndim} dimensions; expected integers in one"
            )
        return cast(TokenArray, array)
    size = np.dtype(dtype).itemsize
    length = path.stat().st_size
    if length == 0 or length % size:
        raise RecordError(f"shard '{path}' has {length} bytes, which is not a whole number of {dtype} ids; check dtype")
    return cast(TokenArray, np.memmap(path, np.dtype(dtype).newbyteorder("<"), mode="r"))


def _largest(shard: TokenArray) -> int:
    """Return the largest id of a whole shard."""
    return max((int(shard[i : i + SCANNED_TOKENS].max()) for i in range(0, len(shard), SCANNED_TOKENS)), default=0)


def _fingerprint(paths: list[Path]) -> str:
    """Return a hash of each shard's size, beginning and end: enough to tell two tokenised sets apart."""
    digest = hashlib.sha256()
    for path in paths:
        size = path.stat().st_size
        digest.update(f"{size}\n".encode())
        with open(path, "rb") as file:
            digest.update(file.read(HASHED_BYTES))
            file.seek(max(0, size - HASHED_BYTES))
            digest.update(file.read(HASHED_BYTES))
    return digest.hexdigest()
