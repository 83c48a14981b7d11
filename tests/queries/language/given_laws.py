"""What the tests of laws of given coefficients share: a law of numbers, and short ways to ask."""

from __future__ import annotations

from typing import Any

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import IsoflopError

NUMBERS = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
COEFFICIENTS = f"WITH COEFFICIENTS ({', '.join(f'{name} = {number}' for name, number in NUMBERS.items())})"
PAPER = f"CREATE OR REPLACE LAW paper AS chinchilla(params, tokens) {COEFFICIENTS}"
SURE = (
    f"CREATE OR REPLACE LAW sure AS chinchilla(params, tokens) {COEFFICIENTS} "
    "STANDARD ERRORS (E = 0.01, alpha = 0.0005) WITH (residual_scale = 0.02)"
)
PLACE = "params = 7e10, tokens = 1.4e12"
BUDGET = 1e21
OVER = f"OVER params IN [1e7, 1e13] LOG, tokens IN [1e8, 1e15] LOG SUBJECT TO 6 * params * tokens <= {BUDGET:g}"


def loss(params: float, tokens: float) -> float:
    return NUMBERS["E"] + NUMBERS["A"] / params ** NUMBERS["alpha"] + NUMBERS["B"] / tokens ** NUMBERS["beta"]


def one(lake: Lakehouse, text: str, **parameters: Any) -> dict[str, Any]:
    (row,) = lake.sql(text, parameters or None).records()
    return row


def message(lake: Lakehouse, text: str) -> str:
    with pytest.raises(IsoflopError) as found:
        lake.sql(text)
    assert "^" in str(found.value)
    return str(found.value)


def under(lake: Lakehouse, text: str) -> str:
    """What an error has its caret under."""
    with pytest.raises(IsoflopError) as found:
        lake.sql(text)
    error: Any = found.value
    return text[error.start : error.end]
