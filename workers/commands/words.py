"""A command as a sweep file writes it: words with `{name}` where a setting goes.

There is no shell. A text is cut into words first and filled in afterwards, so that a value with blanks, quotes or
semicolons stays one argument. What is in braces but no name, `{"a": 1}`, stands for itself, and so does `{{name}}`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from isoflop.lakehouse.runs.records import canonical_json

PLACE = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)\}")  # {{name}}, which is no place, or {name}
WORKERS_OWN = ("config", "output")  # what the worker fills in: paths of the run's settings and of its folder


def command_text(words: str | Sequence[object]) -> str:
    """Return a command as one text, whichever way it was written, so that both are the same run.

    Raises
    ------
    ValueError : for quotes that are not closed, no words, and words that are neither text nor numbers

    Example
    -------
    >>> command_text("python  train.py --name 'a b'"), command_text(["python", "train.py", "--width", "{width}"])
    ("python train.py --name 'a b'", 'python train.py --width {width}')
    """
    try:
        found = shlex.split(words) if isinstance(words, str) else [_checked_word(word) for word in words]
    except ValueError as error:
        raise ValueError(f"is no list of words: {str(error).lower()}") from None
    if not found or not found[0]:
        raise ValueError("is empty; give the words of a command, such as python train.py --width {width}")
    return " ".join(word if _is_plain(word) else shlex.quote(word) for word in found)


def _checked_word(word: object) -> str:
    if not isinstance(word, str | int | float) or isinstance(word, bool):
        raise ValueError(f"{word!r} is neither text nor a number")
    return word if isinstance(word, str) else shown(word)


def _is_plain(word: str) -> bool:
    """Return whether a word may stand without quotes: braces need none where there is no shell."""
    try:
        return shlex.split(word) == [word]
    except ValueError:
        return False


def places(text: str) -> Iterator[str]:
    """Yield the names in braces, in their order.

    Example
    -------
    >>> list(places('train --width {width} --as {{this}} --json {"a": 1} lr={rate}'))
    ['width', 'rate']
    """
    return (match[2] for match in PLACE.finditer(text) if match[2])


def filled(text: str, values: Mapping[str, object]) -> str:
    """Return a text with its places filled in.

    Example
    -------
    >>> filled("{root}/{{root}}/{tokens}", {"root": "a b", "tokens": 1e6})
    'a b/{root}/1000000'
    """
    return PLACE.sub(lambda match: f"{{{match[1]}}}" if match[1] else shown(values[match[2]]), text)


def command_words(text: str, values: Mapping[str, object]) -> list[str]:
    """Return the arguments of a command: a value is part of one word, whatever is in it.

    Example
    -------
    >>> command_words("train --name {name} lr={rate}", {"name": "a; rm -rf 'b'", "rate": 0.01})
    ['train', '--name', "a; rm -rf 'b'", 'lr=0.01']
    """
    return [filled(word, values) for word in shlex.split(text)]


def shown(value: object) -> str:
    """Return a setting as an argument: text as it is, whole numbers without a point, everything else as JSON.

    Example
    -------
    >>> [shown(value) for value in (1e6, 3e-4, True, "adam", [1, 2])]
    ['1000000', '0.0003', 'true', 'adam', '[1,2]']
    """
    return value if isinstance(value, str) else canonical_json(value)
