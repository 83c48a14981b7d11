"""A synthetic language whose entropy rate is known exactly.

The next token depends on the last `order` tokens:

    P(j | context) ~ (j + 1)^-zipf_exponent * exp(contrast * g[context, j]),   g ~ N(0, 1)

Token frequencies are Zipf-like, `contrast` says how much a context tells (0: nothing), and the chain's
stationary law and entropy are computed, not estimated. Text never repeats: each step draws new tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from isoflop.workers.corpora.corpus import Corpus, CorpusSpec, Tokens

LARGEST_TABLE = 2**22  # transition probabilities, vocabulary^(order + 1)
DRAWN_TOGETHER = 2**18  # tokens a draw; long draws cost a tenth of short ones
TRAINING, VALIDATION = 0, 1  # streams of random numbers
STATIONARY_TOLERANCE = 1e-14  # largest change of the stationary law in one step of the chain

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class MarkovSpec(CorpusSpec):
    """A chain of a given order over a vocabulary, drawn from a seed."""

    kind: Literal["markov"] = "markov"
    order: int = Field(default=1, ge=1, description="tokens of context that matter")
    vocabulary: int = Field(default=64, ge=2, description="number of different tokens")
    zipf_exponent: float = Field(default=1.0, ge=0, description="of token frequency against rank")
    contrast: float = Field(default=1.5, ge=0, description="spread of log-probability between contexts [nat]")
    seed: int = Field(default=0, ge=0, description="of the chain itself, apart from the runs' seeds")

    @model_validator(mode="after")
    def _fits_in_a_table(self) -> Self:
        if self.vocabulary ** (self.order + 1) > LARGEST_TABLE:
            largest = int(LARGEST_TABLE ** (1 / (self.order + 1)))
            raise PydanticCustomError(
                "config",
                "{problem}",
                {
                    "field": "corpus.vocabulary",
                    "problem": f"'corpus.vocabulary' is {self.vocabulary}, too many for a chain of order {self.order}; "
                    f"choose at most {largest}",
                },
            )
        return self

    @property
    def label(self) -> str:
        """`markov:order1-v64-seed0`."""
        return f"markov:order{self.order}-v{self.vocabulary}-seed{self.seed}"

    @property
    def known_vocabulary(self) -> int:
        """The number of different tokens."""
        return self.vocabulary

    def open(self) -> MarkovCorpus:
        """Return the chain with its tables; made once a process."""
        return _open(self)


class MarkovCorpus(Corpus):
    """A chain with its transition probabilities (contexts, vocabulary) and stationary law (contexts,).

    A context is a number: its tokens are its digits in base `vocabulary`, the newest last.
    """

    def __init__(self, spec: MarkovSpec) -> None:
        self.vocabulary, self.order = spec.vocabulary, spec.order
        num_contexts = spec.vocabulary**spec.order
        ranks = np.arange(1, spec.vocabulary + 1)
        noise = np.random.default_rng(spec.seed).standard_normal((num_contexts, spec.vocabulary))
        scores = spec.contrast * noise - spec.zipf_exponent * np.log(ranks)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        self.transitions = weights / weights.sum(axis=1, keepdims=True)
        self.stationary = stationary_law(self.transitions, spec.vocabulary)
        self._first_context = np.cumsum(self.stationary)
        self._keep, self._other = alias_tables(self.transitions)
        self.content_hash = hashlib.sha256(repr(spec).encode()).hexdigest()

    def entropy_rate(self) -> float:
        """Return the entropy of a token given everything before it [nat/token]."""
        return float(-(self.stationary[:, None] * self.transitions * np.log(self.transitions)).sum())

    def irreducible_loss(self, sequence_length: int) -> float:
        """Return the mean entropy of the targets of a window [nat/token].

        The first targets of a window have fewer than `order` tokens before them and are harder: target t
        has entropy H(t + 1 tokens) - H(t tokens) until t reaches the order, and the entropy rate after.
        """
        blocks = [self._block_entropy(length) for length in range(1, self.order + 1)]
        short = [longer - shorter for shorter, longer in pairwise(blocks)][:sequence_length]
        return (sum(short) + self.entropy_rate() * (sequence_length - len(short))) / sequence_length

    def batches(self, *, batch_size: int, sequence_length: int, seed: int, first_step: int = 0) -> Iterator[Tokens]:
        """Yield batches of new sequences; see `Corpus.batches`."""
        together = max(1, DRAWN_TOGETHER // (batch_size * (sequence_length + 1)))
        step = first_step
        while True:
            draw, within = divmod(step, together)
            generator = np.random.default_rng([TRAINING, seed, draw])
            rows = self.sample(together * batch_size, sequence_length + 1, generator)
            for start in range(within * batch_size, len(rows), batch_size):
                yield rows[start : start + batch_size]
                step += 1

    def validation(self, *, num_sequences: int, sequence_length: int) -> Tokens:
        """Return sequences from a stream of their own; see `Corpus.validation`."""
        return self.sample(num_sequences, sequence_length + 1, np.random.default_rng([VALIDATION]))

    def sample(self, num_sequences: int, length: int, generator: np.random.Generator) -> Tokens:
        """Return independent sequences of the stationary chain, (num_sequences, length)."""
        drawn = np.searchsorted(
            self._first_context, generator.random(num_sequences) * self._first_context[-1], side="right"
        )
        context = np.minimum(drawn, len(self.stationary) - 1)
        tokens = np.empty((num_sequences, max(length, self.order)), np.int64)
        for place in range(self.order):
            tokens[:, place] = context // self.vocabulary ** (self.order - 1 - place) % self.vocabulary
        for place in range(self.order, length):
            column, is_kept = np.divmod(generator.random(num_sequences) * self.vocabulary, 1.0)
            cell = context * self.vocabulary + column.astype(np.int64)
            token = np.where(is_kept < self._keep[cell], cell % self.vocabulary, self._other[cell])
            tokens[:, place] = token
            context = (context * self.vocabulary + token) % len(self.stationary)
        return tokens[:, :length]

    def _block_entropy(self, length: int) -> float:
        """Entropy of `length` consecutive tokens, length <= order [nat]."""
        law = self.stationary.reshape(self.vocabulary**length, -1).sum(axis=1)
        known = law[law > 0]
        return float(-(known * np.log(known)).sum())


@lru_cache(maxsize=8)
def _open(spec: MarkovSpec) -> MarkovCorpus:
    return MarkovCorpus(spec)


def stationary_law(transitions: Floats, vocabulary: int) -> Floats:
    """Return how often each context occurs, (contexts,), by stepping the chain until nothing changes.

    Parameters
    ----------
    transitions : (contexts, vocabulary), rows sum to 1; contexts = vocabulary^order
    vocabulary : number of different tokens
    """
    num_contexts = len(transitions)
    law = np.full(num_contexts, 1.0 / num_contexts)
    for _ in range(10_000):
        # the oldest token (leading digit) is forgotten, the new one becomes the last digit
        pairs = (law[:, None] * transitions).reshape(vocabulary, num_contexts // vocabulary, vocabulary)
        stepped = pairs.sum(axis=0).reshape(-1)
        stepped /= stepped.sum()
        change = np.abs(stepped - law).max()
        law = stepped
        if change < STATIONARY_TOLERANCE:
            break
    return law


def alias_tables(probabilities: Floats) -> tuple[Floats, Ints]:
    """Return tables that draw from every row with one random number: Walker's alias method, all rows at once.

    Parameters
    ----------
    probabilities : (rows, V), rows sum to 1

    Returns
    -------
    keep, other : (rows * V,), draw a column j and a number u, and take j if u < keep[row*V + j], else
        other[row*V + j]

    Source: Vose 1991, A linear algorithm for generating random numbers with a given distribution.
    """
    num_rows, size = probabilities.shape
    order = np.argsort(probabilities, axis=1)  # poor columns first, rich ones last
    weight = np.take_along_axis(probabilities, order, axis=1) * size
    keep, other = np.ones((num_rows, size)), order.copy()
    rows = np.arange(num_rows)
    next_poor, donor = np.zeros(num_rows, np.int64), np.full(num_rows, size - 1)
    demoted = np.full(num_rows, -1)  # a donor that gave until it was poor itself
    for _ in range(size):
        poor = np.where(demoted >= 0, demoted, next_poor)
        is_open = (donor > next_poor) & (weight[rows, poor] < 1) | (demoted >= 0) & (donor >= next_poor)
        is_open &= donor >= 0
        if not is_open.any():
            break
        active, taker, giver = rows[is_open], poor[is_open], donor[is_open]
        keep[active, taker] = weight[active, taker]
        other[active, taker] = order[active, giver]
        weight[active, giver] -= 1 - weight[active, taker]
        next_poor[is_open] += demoted[is_open] < 0
        is_spent = weight[active, giver] < 1
        demoted[is_open] = np.where(is_spent, giver, -1)
        donor[is_open] -= is_spent
    flat_keep, flat_other = np.empty_like(keep), np.empty_like(other)
    np.put_along_axis(flat_keep, order, keep, axis=1)
    np.put_along_axis(flat_other, order, other, axis=1)
    return flat_keep.reshape(-1), flat_other.reshape(-1)
