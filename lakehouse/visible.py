"""Text of strangers as it may reach a terminal: characters that steer one, or hide, are written out."""

from __future__ import annotations

import re

# What Unicode calls control (Cc), format (Cf), surrogate (Cs) and line or paragraph separators, but newline and tab,
# and but the signs that Arabic and Kaithi write before numbers, which can be seen.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    r"""Return a text with every control character as an escape; newlines and tabs stay.

    Escape sequences, C1 controls, carriage returns, overrides of the writing direction, zero-width characters and lone
    surrogates become what Python would write for them, so that a name cannot clear the screen or pass for another.

    Example
    -------
    >>> print(visible("run\x1b[2J\r1"), visible("a\u202eb\u200b"), visible("損失"))
    run\x1b[2J\r1 a\u202eb\u200b 損失
    """
    return text if text.isprintable() else _STEERING.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def visible_line(text: str) -> str:
    r"""Return a text as `visible`, with newlines and tabs written out too, for a place that has one line.

    Example
    -------
    >>> print(visible_line("run\n1"))
    run\n1
    """
    return visible(text).replace("\n", r"\n").replace("\t", r"\t")
