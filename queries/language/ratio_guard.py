"""What DESIGN keeps to where nothing was said: runs whose tokens per parameter are of the kind that is forecast.

Where a law is slightly wrong, runs at far ends of that ratio tell its coefficients best and its forecast worst: there
the law errs in another way than at the target.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.planning.problem import Condition, Variable

Array = NDArray[np.float64]

PARAMS, TOKENS = "params", "tokens"
AROUND = 10.0  # times the ratio that is forecast [1], either way, within which runs are chosen


def ratio_guard(
    inputs: Sequence[str], variables: Sequence[Variable], said: Sequence[str], forecast: Array
) -> tuple[tuple[Condition, ...], str | None]:
    """Return the conditions on tokens per parameter, and the note that says them; none where they do not apply.

    Parameters
    ----------
    inputs : names of the law's P inputs
    variables : what is chosen for each run
    said : conditions on each run as they were typed; one on both columns takes the place of the guard
    forecast : (T, P) inputs of what is forecast
    """
    names = [variable.name.lower() for variable in variables]
    law = [name.lower() for name in inputs]
    if any(PARAMS not in each or TOKENS not in each for each in (names, law)) or any(map(_is_on_both, said)):
        return (), None
    ratios = forecast[:, law.index(TOKENS)] / forecast[:, law.index(PARAMS)]
    if not (np.isfinite(ratios).all() and (ratios > 0).all()):
        return (), None
    low, high = float(ratios.min()) / AROUND, float(ratios.max()) * AROUND
    params, tokens = names.index(PARAMS), names.index(TOKENS)
    conditions = (
        Condition(
            f"tokens >= {low:.3g} * params",
            lambda points: points[:, tokens],
            lambda points: low * points[:, params],
            ">=",
        ),
        Condition(
            f"tokens <= {high:.3g} * params", lambda points: points[:, tokens], lambda points: high * points[:, params]
        ),
    )
    note = (
        f"runs have {low:.3g} to {high:.3g} tokens per parameter, within {AROUND:g} times what is forecast: further "
        f"off a law errs in other ways; a condition of your own on both, as tokens <= {high * AROUND:.3g} * params,"
        " takes its place"
    )
    return conditions, note


def _is_on_both(text: str) -> bool:
    words = {word.lower() for word in re.findall(r"\w+", text)}
    return {PARAMS, TOKENS} <= words
