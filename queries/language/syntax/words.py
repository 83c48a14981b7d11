"""The words that verbs begin with: which verb is spelled at a token, and which texts hold one at all.

The verbs are handed in; what is derived from them here is all that the search for clauses knows of a verb.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from isoflop.queries.language.syntax.tokens import Token, matching


@dataclass(frozen=True, kw_only=True, eq=False)
class Spelled:
    """How a verb is spelled, and where it may stand.

    Parameters
    ----------
    words : the verb as it is known, like `SHOW LAWS`
    starts : what a clause of it begins with, where that is not its words alone
    called : what messages call it, where that is not its words
    is_statement : whether it is a whole statement only; the others are relations as well
    is_prefix : whether another verb follows its words, as with EXPLAIN
    needs : what the token behind its words has to be
    opens : what that token has to be where a parenthesis opens the clause
    takes_list : whether a comma may follow the first name in it, so that `(COMPARE a, b …)` is no list of columns
    """

    words: str
    starts: tuple[str, ...] = ()
    called: str = ""
    is_statement: bool = False
    is_prefix: bool = False
    needs: Callable[[Token], bool] | None = None
    opens: Callable[[Token], bool] | None = None
    takes_list: bool = False

    @property
    def key(self) -> str:
        """The name of its rule.

        Example
        -------
        >>> Spelled(words="CROSS VALIDATE").key
        'cross_validate'
        """
        return self.words.replace(" ", "_").lower()


V = TypeVar("V", bound=Spelled)


@dataclass(frozen=True)
class Opening(Generic[V]):
    """A verb that is spelled at a token.

    Parameters
    ----------
    verb : the verb; of EXPLAIN and its like the one that stands first
    called : what messages call it, with the verb that follows behind EXPLAIN
    is_single : whether one word spells it, which may be the name of a column as well
    behind : the verb that follows a prefix, else None
    """

    verb: V
    called: str
    is_single: bool
    behind: V | None = None


class Words(Generic[V]):
    """Verbs by what they begin with.

    Parameters
    ----------
    verbs : all of them
    """

    def __init__(self, verbs: Sequence[V]) -> None:
        self.verbs = tuple(verbs)
        self._by_first: dict[str, list[tuple[tuple[str, ...], V]]] = {}
        for verb in verbs:
            for start in verb.starts or (verb.words,):
                phrase = tuple(start.split(" "))
                others = self._by_first.setdefault(phrase[0], [])
                if any(phrase == other and verb.needs is known.needs for other, known in others):
                    raise ValueError(f"two verbs begin with {start}")
                others.append((phrase, verb))
        for phrases in self._by_first.values():
            phrases.sort(key=lambda found: -len(found[0]))  # the longest that fits is meant
        self._any = re.compile(rf"\b(?:{'|'.join(_telling(verbs)) or '(?!)'})\b", re.IGNORECASE)

    def may_be_in(self, text: str) -> bool:
        """Return whether a text can hold a verb; a cheap test that lets plain SQL through."""
        return self._any.search(text) is not None

    def at(self, tokens: Sequence[Token], index: int) -> Opening[V] | None:
        """Return the verb that is spelled at a token, or None."""
        for phrase, verb in self._by_first.get(tokens[index].upper, ()):
            behind = index + len(phrase)
            if tuple(token.upper for token in tokens[index:behind]) != phrase:
                continue
            if verb.needs is not None and not verb.needs(tokens[behind]):
                continue
            if not verb.is_prefix:
                return Opening(verb, verb.called or verb.words, len(phrase) == 1)
            if behind < len(tokens) and tokens[behind].text == "(":  # EXPLAIN (ANALYZE) FIT …
                behind = matching(tokens, behind) + 1
            following = self.at(tokens, behind) if behind < len(tokens) else None
            if following is not None and not following.verb.is_prefix:
                return Opening(verb, f"{' '.join(phrase)} {following.called}", False, following.verb)
        return None

    def is_single(self, word: str) -> bool:
        """Return whether one word in capitals spells a verb."""
        return any(phrase == (word,) for phrase, _ in self._by_first.get(word, ()))


def _telling(verbs: Sequence[Spelled]) -> list[str]:
    """Return words one of which stands in every clause, few of them: the last of each verb that has none yet."""
    found: list[str] = []
    for verb in sorted((verb for verb in verbs if not verb.is_prefix), key=lambda verb: verb.words.count(" ")):
        words = verb.words.split(" ")
        if not set(words) & set(found):
            found.append(words[-1])
    return found
