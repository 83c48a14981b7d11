"""FIT … GROUP BY … SHARING: one fit of all groups, as the parts that every answer about groups is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import EmptySelection, FitError, StatementError, UsageError, did_you_mean
from isoflop.queries.fitting.data import usable_rows
from isoflop.queries.fitting.record import Fit as FitRecord
from isoflop.queries.fitting.shared import fit_shared
from isoflop.queries.fitting.shared_law import SharedLaw
from isoflop.queries.language.bind import Bound
from isoflop.queries.language.clause_options import ClauseOptions
from isoflop.queries.language.question import Question
from isoflop.queries.language.rows import Rows
from isoflop.queries.language.syntax.nodes import Option, Source
from isoflop.queries.laws import Law

if TYPE_CHECKING:
    import pyarrow as pa


def check_sharing(question: Question, law: Law, source: Source, options: Sequence[Option]) -> None:
    """Check that a law has the coefficients that SHARING names, and that groups of it can be fitted together.

    Raises
    ------
    StatementError : with a caret under the name or the option
    """
    known = [coefficient.name for coefficient in law.coefficients]
    seen: set[str] = set()
    for name in source.sharing:
        if name.text not in known:
            hint = did_you_mean(name.text, known, f"it has {', '.join(known)}")
            raise question.error("Binder", f"{law.name} has no coefficient '{name.text}'", name, hint)
        if name.text in seen:
            raise question.error("Binder", f"SHARING names '{name.text}' twice", name)
        seen.add(name.text)
    if law.surrogate is not None or law.is_costly:
        message = f"{law.name} is slow to compute, and its groups cannot be fitted together"
        raise question.error("Binder", message, source.sharing[0], "leave SHARING out to fit each group alone")
    for option in options:
        if option.key.text.lower() == "forward" and option.value.text.lower() != "false":
            message = "groups that are fitted together have no forward check"
            raise question.error("Binder", message, option.key, "leave it out")


def shared_parts(
    question: Question,
    bound: Bound,
    source: Source,
    rows: Rows,
    groups: Sequence[tuple[str, NDArray[np.intp]]],
    together: list[Any] | None,
    options: ClauseOptions,
) -> list[tuple[Rows, FitRecord | None]]:
    """Return the rows of each group with what the fit of all says of it; None for a group without usable rows.

    Parameters
    ----------
    rows : of the source
    groups : the label of each group, and the positions of its rows among all
    together : (R,) labels of usable rows that are resampled as a whole, or None

    Raises
    ------
    StatementError : when there is nothing to fit
    """
    parts = [rows.take(indices) for _, indices in groups]
    number = np.full(rows.matched, np.nan)
    labels: list[str] = []
    for (label, indices), part in zip(groups, parts, strict=True):
        if len(part.kept):
            number[indices] = len(labels)
            labels.append(label)
    shared = [name.text for name in source.sharing]
    try:
        stacked = SharedLaw(bound.law, shared, labels)
        inputs = np.column_stack([rows.inputs, number[rows.kept]])
        data = usable_rows(stacked, inputs, rows.target, rows.weight, together, rows.name, options.objective)
        found = fit_shared(bound.law, data, labels, shared, options)
    except (EmptySelection, FitError, UsageError) as error:
        if isinstance(error, StatementError):
            raise
        raise question.error("Fit", error.message, bound.span, error.hint) from error
    for note in (*found.joint.notes, *([found.note] if found.note is not None else [])):
        question.note(note.message)
    if found.note is not None:
        found = found.noting(found.note)
    fits = iter(found.parts)
    return [(part, next(fits) if len(part.kept) else None) for part in parts]


def labels_of(keys: pa.Table, chosen: Sequence[NDArray[np.intp]]) -> list[str]:
    """Return what the groups are called: their values of GROUP BY, with commas between.

    Parameters
    ----------
    keys : the values of GROUP BY of each row
    chosen : the positions of the rows of each group
    """
    firsts = keys.take(np.array([indices[0] for indices in chosen], dtype=np.int64)).to_pylist()
    labels = [", ".join(_shown(value) for value in row.values()) for row in firsts]
    counts = Counter(labels)  # 'NULL' and NULL, or commas in a value: then texts are in quotes
    return [
        label if counts[label] == 1 else ", ".join(_quoted(value) for value in row.values())
        for label, row in zip(labels, firsts, strict=True)
    ]


def _quoted(value: Any) -> str:
    """Return a value of GROUP BY as a label has it that another value would have too."""
    return repr(value) if isinstance(value, str) else _shown(value)


def _shown(value: Any) -> str:
    """Return a value of GROUP BY as a label has it."""
    return "NULL" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
