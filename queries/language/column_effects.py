"""Columns that tell rows with the same inputs apart: those whose values go with the target, and not any label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.language.question import Question
from isoflop.queries.language.reading import Piece
from isoflop.queries.language.syntax.nodes import Source
from isoflop.queries.language.syntax.tokens import quote_name

Array = NDArray[np.float64]

MOST_ROWS = 100_000  # that are looked at
FEWEST_EACH = 3  # rows of a value on average from which its mean says something
BY_CHANCE = 0.01  # probability [1] of an effect as large as this without any, above which there is none


def with_effect(
    question: Question, source: Source, usable: list[Piece], keys: str, names: Sequence[str], *, any_sign: bool
) -> list[str]:
    """Return those of some columns whose values go with the target among rows that have the same inputs.

    A column whose values hardly repeat cannot be looked at so, and stays.

    Parameters
    ----------
    usable : the query of the usable rows, with the target as _y
    keys : columns of it that rows with the same inputs share
    any_sign : whether the target may be zero or less, so that differences are plain and not relative

    Raises
    ------
    StatementError : when DuckDB cannot answer

    Source: the F test of one factor beside blocks, Fisher 1935, The Design of Experiments.
    """
    texts = ", ".join(f"{quote_name(name)}::VARCHAR AS _c{k}" for k, name in enumerate(names))
    table = question.run(
        f"SELECT dense_rank() OVER (ORDER BY {keys}) AS _cell, _y::DOUBLE AS _y, {texts} FROM ", *usable,
        f" LIMIT {MOST_ROWS}", place=source.relation,
    )  # fmt: skip
    values = table.column("_y").to_numpy()
    cells = np.unique(table.column("_cell").to_numpy(), return_inverse=True)[1]
    values = values if any_sign else np.log(values)
    found = []
    for k, name in enumerate(names):
        labels = np.array(["" if text is None else text for text in table.column(f"_c{k}").to_pylist()])
        chance = chance_of(values, cells, np.unique(labels, return_inverse=True)[1])
        if chance is None or chance < BY_CHANCE:
            found.append(name)
    return found


def chance_of(values: Array, cells: NDArray[np.intp], labels: NDArray[np.intp]) -> float | None:
    """Return how probable it is that labels without an effect differ as much within cells; None where not known.

    Parameters
    ----------
    values : (R,)
    cells : (R,) number of the cell of each, from 0
    labels : (R,) number of the label of each, from 0

    Example
    -------
    >>> cells, labels = np.repeat(np.arange(4), 4), np.tile([0, 0, 1, 1], 4)
    >>> noise = np.tile([0.1, -0.1, -0.1, 0.1], 4)
    >>> round(chance_of(cells + noise, cells, labels), 3), chance_of(cells + labels + noise, cells, labels) < 1e-6
    (1.0, True)
    """
    from scipy.stats import f

    sizes = np.bincount(cells)
    shared = sizes[cells] > 1
    values, cells, labels = values[shared], np.unique(cells[shared], return_inverse=True)[1], labels[shared]
    labels = np.unique(labels, return_inverse=True)[1]
    count, groups = len(values), int(labels.max(initial=-1)) + 1
    spare = count - len(np.unique(cells)) - (groups - 1)
    if groups < 2 or count < FEWEST_EACH * groups or spare < 1:
        return None
    within = values - (np.bincount(cells, weights=values) / np.bincount(cells))[cells]
    within = within / max(float(np.abs(within).max()), 1e-300)  # whose squares are numbers, whatever the values are
    means = np.bincount(labels, weights=within) / np.bincount(labels)
    explained = float(np.sum(means[labels] ** 2))
    left = float(np.sum((within - means[labels]) ** 2))
    if explained <= 0:
        return 1.0
    return float(f.sf(explained / (groups - 1) / max(left / spare, 1e-300), groups - 1, spare))
