"""What a corpus is: tokens with a held-out part, read in batches that depend on seed and step alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Tokens = NDArray[np.int64]


class Corpus(ABC):
    """An opened corpus.

    Parameters
    ----------
    vocabulary : number of different tokens; ids are 0 to vocabulary - 1
    content_hash : names the content, so that two corpora with one hash give the same losses
    """

    vocabulary: int
    content_hash: str

    @abstractmethod
    def batches(self, *, batch_size: int, sequence_length: int, seed: int, first_step: int = 0) -> Iterator[Tokens]:
        """Yield batches (batch_size, sequence_length + 1) without end: inputs and, one to the right, targets.

        The batch of a step depends on the seed and the step alone, so a resumed run sees what it would
        have seen.

        Raises
        ------
        RecordError : if the corpus is shorter than one sequence, or holds an id outside its vocabulary
        """

    @abstractmethod
    def validation(self, *, num_sequences: int, sequence_length: int) -> Tokens:
        """Return held-out sequences (at most num_sequences, sequence_length + 1), the same for every run."""

    def unique_tokens(self, sequence_length: int) -> int | None:
        """Return the tokens that are predicted once an epoch, None for a corpus without end."""
        return None

    def irreducible_loss(self, sequence_length: int) -> float | None:
        """Return the loss of the best possible predictor [nat/token], or None where it is not known."""
        return None


class CorpusSpec(BaseModel, ABC):
    """The description of a corpus in a sweep file; hashable, cheap, opened by the worker."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    @abstractmethod
    def label(self) -> str:
        """The short name shown in the column `corpus` of `runs`."""

    @property
    def known_vocabulary(self) -> int | None:
        """The vocabulary, where it is known without opening the corpus."""
        return None

    @property
    def known_bytes_per_token(self) -> float | None:
        """The bytes of text that a token stands for on average, where they are known."""
        return None

    def about_tokens(self) -> float | None:
        """Return about how many tokens there are to train on, from the sizes of files; None where none say so."""
        return None

    @abstractmethod
    def open(self) -> Corpus:
        """Return the corpus; opened once in a process and shared by its runs.

        Raises
        ------
        RecordError : if there is nothing to read
        """

    def flat(self, name: str = "corpus") -> dict[str, int | float | str | bool | None]:
        """Return the description as columns of `runs`: `corpus` and `corpus_<field>`."""
        return {name: self.label, **{f"{name}_{key}": value for key, value in self.model_dump().items()}}
