"""Numbers as users write them, read by SQL expressions: 70M, 1.4T, 400,000,000, 1_000, 12 %, 3,5.

DuckDB reads the cells, so that a million of them take a moment. What is not a number to anybody stays NULL here, and
whoever asked says in which row it stands.
"""

from __future__ import annotations

from isoflop.lakehouse.units import SIZES

# Words for "nothing here" among numbers. In a column of text they are text.
NOTHING = ("", "-", "--", "–", "—", ".", "?", "na", "n/a", "#n/a", "none", "null", "nil", "missing", "tbd", "not run")
NOUNS = "params?|parameters?|tokens?|tok|flops?"
PLAIN = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
GROUPED = r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?"  # 400,000,000
SPACED = r"[+-]?[0-9]{1,3}([ _''  ][0-9]{3})+(\.[0-9]*)?"  # 400 000 000, also with thin spaces; 1_000
WITH_COMMA = r"[+-]?[0-9]{1,3}(\.[0-9]{3})+(,[0-9]*)?|[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?"  # 1.300,5 and 3,5
INFINITE = r"[+-]?(inf|infinity)|nan"


def is_nothing(cell: str) -> str:
    """Return the SQL of whether a text cell says that there is no value."""
    words = ", ".join(f"'{word}'" for word in NOTHING)
    return f"lower(trim({cell})) IN ({words})"


def as_number(cell: str, *, has_commas: bool = False) -> str:
    """Return the SQL of the number that a text cell says, DOUBLE; NULL where it says none.

    Parameters
    ----------
    cell : SQL of the text
    has_commas : whether the file writes 3,5 for 3.5, as spreadsheets of many countries do

    Example
    -------
    >>> import duckdb
    >>> cells = ["70M", "1.4T", "400,000,000", "1_000", "12 %", "7e9", "1.3B params", "-", "abc", "nan"]
    >>> numbers = ", ".join(as_number(f"'{cell}'") for cell in cells)
    >>> duckdb.sql(f"SELECT {numbers}").fetchone()
    (70000000.0, 1400000000000.0, 400000000.0, 1000.0, 0.12, 7000000000.0, 1300000000.0, None, None, nan)
    >>> duckdb.sql(f"SELECT {as_number(repr('1.300,5'), has_commas=True)}").fetchone()
    (1300.5,)
    """
    word = rf"trim(regexp_replace(trim({cell}), '\s*({NOUNS})$', '', 'i'))"
    last = f"lower(right({word}, 1))"
    sizes = " ".join(f"WHEN '{letter}' THEN {factor:g}" for letter, factor in SIZES.items())
    body = f"trim(left({word}, -1))"
    bare = _bare(word, has_commas)
    return (
        f"CASE WHEN regexp_full_match({word}, '{INFINITE}', 'i') THEN TRY_CAST({word} AS DOUBLE) "
        f"WHEN {last} = '%' THEN {_bare(body, has_commas)} / 100 "
        f"WHEN {last} IN ({', '.join(repr(letter) for letter in SIZES)}) "
        f"THEN {_bare(body, has_commas)} * CASE {last} {sizes} END ELSE {bare} END"
    )


def _bare(word: str, has_commas: bool) -> str:
    """Return the SQL of a number without percent sign and size."""
    comma = (
        f"WHEN regexp_full_match({word}, '{WITH_COMMA}') "
        f"THEN TRY_CAST(replace(replace({word}, '.', ''), ',', '.') AS DOUBLE) "
    )
    grouped = f"WHEN regexp_full_match({word}, '{GROUPED}') THEN TRY_CAST(replace({word}, ',', '') AS DOUBLE) "
    return (
        f"CASE WHEN regexp_full_match({word}, '{PLAIN}') THEN TRY_CAST({word} AS DOUBLE) "
        f"{comma if has_commas else grouped}"
        f"WHEN regexp_full_match({word}, '{SPACED}') "
        rf"THEN TRY_CAST(regexp_replace({word}, '[^0-9.+-]', '', 'g') AS DOUBLE) END"
    )
