"""A law that SQL cannot compute, called as if it were a function: what to ask in its place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import StatementError, UnknownName

if TYPE_CHECKING:
    from isoflop.lakehouse import Asked
    from isoflop.queries.language.text import Text

_MISSING = re.compile(r"(?:Scalar|Table|Aggregate|Macro)? ?Function with name \"?(?P<name>[^\n]+?)\"? does not exist!")


def said_of_law(lake: Asked, typed: Text, error: Exception) -> StatementError | None:
    """Return what to say of a call of a law that is no SQL function; None for another error.

    Parameters
    ----------
    error : what DuckDB, or the statement around it, has raised
    """
    found = _MISSING.search(str(error))
    if found is None:
        return None
    called = found["name"].lower()
    rows = lake.query("SELECT name, inputs FROM laws ORDER BY version").to_pylist()
    names = {row["name"].lower(): row for row in rows}
    stems = (called, called.removesuffix("_lower"), called.removesuffix("_upper"))
    row = next((names[stem] for stem in stems if stem in names), None)
    token = next((token for token in typed.tokens if token.name.lower() == called), None)
    if row is None or token is None:
        return None
    name, inputs = row["name"], ", ".join(f"{each} = …" for each in row["inputs"])
    return UnknownName(
        "Catalog", f"law '{name}' is no SQL function: SQL cannot compute it", typed.text, token.start, token.end,
        hint=f"PREDICT {name} FROM … predicts the rows of a query, EXTRAPOLATE {name} TO {inputs} single points",
    )  # fmt: skip
