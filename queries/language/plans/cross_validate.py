"""CROSS VALIDATE: a law judged on rows it has not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.folds import Fold
from isoflop.queries.language.bind import Bound
from isoflop.queries.language.describe import bound_steps, interval_steps, on_one_line, row_steps, search_steps
from isoflop.queries.language.own_rows import with_own_rows
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import known
from isoflop.queries.language.select import (
    BY,
    Splits,
    bind_subject,
    fold_options,
    read_usable,
    run_folds,
    split_rows,
)
from isoflop.queries.language.syntax.nodes import CrossValidate, Name
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN_FOLDS = 12  # of which EXPLAIN prints a line each


class CrossValidatePlan:
    """A law, its rows, and how they are split."""

    def __init__(self, question: Question, node: CrossValidate) -> None:
        source = node.source
        if source is None:
            assert isinstance(node.subject, Name)
            question, node = with_own_rows(question, node, [node.subject], "CROSS VALIDATE", node.subject.end)
            source = node.source
        assert source is not None
        self._question, self._node, self._source = question, node, source
        self._bound = bind_subject(question, node.subject)
        self._options = fold_options(question, node, self._bound, "CROSS VALIDATE")
        self._rows = read_usable(question, self._bound, source, node.holdout, self._options, "CROSS VALIDATE")
        self._splits = split_rows(question, node.holdout, self._rows, self._options.seed)

    def steps(self) -> Steps:
        """Return the law, the rows and the folds."""
        parts, holdout = self._splits.parts, self._node.holdout
        steps = [*bound_steps(self._bound), *row_steps(self._source, self._rows)]
        steps += search_steps(self._bound, self._rows, self._options)
        steps.append(("folds", f"{len(parts)}: {on_one_line(self._question, holdout)}"))
        for fold, (train, test) in enumerate(parts[:SHOWN_FOLDS], 1):
            steps.append((f"fold {fold}", f"fitted to {len(train)} rows, judged on {len(test)}"))
        if len(parts) > SHOWN_FOLDS:
            steps.append(("further folds", str(len(parts) - SHOWN_FOLDS)))
        return steps + interval_steps(self._options)

    def run(self) -> pa.Table:
        """Return one row for each fold: what the law, fitted to the other rows, makes of it."""
        import pyarrow as pa

        folds = run_folds(self._question, self._bound, self._rows, self._splits, self._options)
        number = pa.float64()
        order_type = self._rows.extra.column(BY).type if self._splits.order is not None else number
        schema = pa.schema(
            {
                "fold": pa.int64(),
                "n_train": pa.int64(),
                "n_test": pa.int64(),
                "train_max": order_type,
                "test_max": order_type,
                "mape": number,
                "rmse_log": number,
                "bias": number,
                "coverage": number,
                "status": pa.string(),
                "coefficients": pa.struct([(coefficient.name, number) for coefficient in self._bound.law.coefficients]),
            }
        )
        return pa.Table.from_pylist([_fold_row(self._bound, self._splits, fold) for fold in folds], schema=schema)


def _fold_row(bound: Bound, splits: Splits, fold: Fold) -> dict[str, Any]:
    def largest(positions: NDArray[np.int64]) -> Any:
        if splits.order is None or not len(positions):
            return None
        return max(splits.order[int(position)] for position in positions)

    row: dict[str, Any] = {"fold": fold.fold, "n_train": fold.n_train, "n_test": fold.n_test, "status": fold.status}
    row |= {"train_max": largest(fold.train), "test_max": largest(fold.test)}
    row |= {name: known(getattr(fold, name)) for name in ("mape", "rmse_log", "bias", "coverage")}
    values = zip(bound.law.coefficients, fold.coefficients, strict=True)
    return {**row, "coefficients": {coefficient.name: known(value) for coefficient, value in values}}
