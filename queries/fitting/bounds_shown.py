"""Whether rows show an upper bound: a curve that is flat where it begins and falls later."""

from __future__ import annotations

import numpy as np

from isoflop.queries.fitting.data import Data

FEWEST = 12  # rows from which a third of them has a slope worth comparing
FLATTER = 0.5  # slope of the smallest third in units of that of the middle third [1] up to which rows are flat there


def shows_upper_bound(data: Data) -> bool:
    """Return whether the smallest rows of one input are flatter than the middle ones, on the scale of the scatter.

    Parameters
    ----------
    data : usable rows of one positive input
    """
    if data.inputs.shape[1] != 1 or len(data) < FEWEST:
        return False
    order = np.argsort(data.inputs[:, 0], kind="stable")
    logs, values = np.log(data.inputs[order, 0]), data.scatter.on_scale(data.target[order])
    third = len(order) // 3
    first, middle = _slope(logs[:third], values[:third]), _slope(logs[third : 2 * third], values[third : 2 * third])
    return bool(middle < 0 and first > FLATTER * middle)


def _slope(logs: np.ndarray, values: np.ndarray) -> float:
    """Median slope of pairs of rows, which a few wild ones do not move; 0 where all have one size."""
    left, right = np.triu_indices(len(logs), 1)
    apart = logs[right] - logs[left]
    usable = apart > 0
    return float(np.median((values[right] - values[left])[usable] / apart[usable])) if usable.any() else 0.0
