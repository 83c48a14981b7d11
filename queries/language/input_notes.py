"""Inputs that are probably not what the law takes them for: in another order, of another unit, or in billions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.units import UNITS
from isoflop.queries.fitting.note import Note
from isoflop.queries.language.bind import Bound, Column, with_names
from isoflop.queries.language.question import Own
from isoflop.queries.language.scaled import scaled_column
from isoflop.queries.language.syntax.tokens import quote_name
from isoflop.queries.laws import Law, known_laws

Array = NDArray[np.float64]

COUNTED = ("params", "tokens")
MOST_BILLIONS = 10.0  # largest count up to which millions are unlikely: models of ten million and less
SIZES_IN_WORDS = {1e3: "thousands", 1e6: "millions", 1e9: "billions", 1e12: "trillions"}
TINY = 1e4  # count below which, with fractions, it can only be a number of millions or more
CALLED = {  # what tables call the two counts, beside our own words
    "params": frozenset(("n", "parameters", "num_params", "n_params", "num_parameters", "n_parameters", "model_size")),
    "tokens": frozenset(("d", "num_tokens", "n_tokens", "training_tokens", "train_tokens", "tokens_seen")),
}


def notes_on_inputs(bound: Bound, inputs: Array) -> list[Note]:
    """Return notes on inputs in the wrong order or of the wrong size.

    Parameters
    ----------
    inputs : (R, P) of the usable rows
    """
    names = [_column_name(column) for column in bound.columns]
    own = known_laws().get(bound.form)
    is_own = own is not None and len(own.inputs) == len(names) and _takes_its_own(bound, own)
    notes = _order(own, bound.columns, inputs) if own is not None and is_own else []
    wanted = [given.name for given in own.inputs] if own is not None and is_own else names
    for position, (name, meant) in enumerate(zip(names, wanted, strict=True)):
        if name is not None and (_meaning(name) or meant) in COUNTED and len(inputs):
            notes += _billions(name, inputs[:, position])
    return notes


def _takes_its_own(bound: Bound, own: Law) -> bool:
    """Return whether a law has the inputs of its form; one that was fitted on expressions has their columns instead."""
    return bound.law.text == with_names(own, [given.name for given in bound.law.inputs], bound.target_name).text


def _read_from(column: Column) -> str | None:
    """Return the column that an input is read from, as it is or in another unit; None for another expression."""
    found = scaled_column(column)
    return None if found is None or (isinstance(column, Own) and not found[0].isidentifier()) else found[0]


def _column_name(column: Column) -> str | None:
    """Return the column that an input is read from; None for an expression."""
    if not isinstance(column, Own):
        return column.column
    name = column.text.strip('"')
    return name if name.isidentifier() else None


def _meaning(name: str) -> str | None:
    """Return which of the counts a column is, by its name."""
    lower = name.lower()
    return next((count for count, names in CALLED.items() if lower == count or lower in names), None)


def _order(law: Law, columns: Sequence[Column], inputs: Array) -> list[Note]:
    """Return the note on inputs of a law that are read from columns of other inputs, or of another unit."""
    own, names = [given.name for given in law.inputs], [_read_from(column) for column in columns]
    typed = [column.text.strip() for column in columns]
    meant = [None if name is None else name.lower() if name.lower() in own else _meaning(name) for name in names]
    wrong = [p for p, name in enumerate(meant) if name is not None and name in own and name != own[p]]
    if wrong:
        places = {name: text for name, text in zip(meant, typed, strict=True) if name is not None}
        right = ", ".join(places.get(name, "…") for name in own)
        message = (
            f"{law.name} takes {', '.join(own)}, in this order, and its {own[wrong[0]]} are read from "
            f"{names[wrong[0]]}: {law.name}({right})"
        )
        return [Note("swapped_inputs", message)]
    for given, name in zip(law.inputs, names, strict=True):
        unit = "" if name is None else UNITS.get(name.lower(), "")
        if unit and given.unit not in ("", "any", "1") and unit.lower() != given.unit.lower():
            message = f"{law.name} takes {given.name} in {given.unit}, and {name} is in {unit}: is it the column meant?"
            return [Note("other_unit", message)]
    is_plain = [_column_name(column) is not None for column in columns[:2]]
    if own[:2] == list(COUNTED) and len(inputs) > 1 and not any(meant[:2]) and all(is_plain):
        if inputs[:, 0].min() > inputs[:, 1].max():
            message = (
                f"{law.name} takes params before tokens, and {names[0]} is larger than {names[1]} in every row: "
                f"if they are swapped, {law.name}({', '.join(map(str, [names[1], names[0], *names[2:]]))})"
            )
            return [Note("swapped_inputs", message)]
    return []


def _billions(name: str, values: Array) -> list[Note]:
    """Return the note on counts that are none: small, and with fractions."""
    if values.max() >= TINY or values.min() <= 0 or not (values != np.round(values)).any():
        return []
    from isoflop.lakehouse.exchange.headings import factor_of, written

    heading = factor_of(name)  # such as that of "Params (M)"
    likely = heading or (1e9 if values.max() <= MOST_BILLIONS else None)
    shown = name if name.isidentifier() else quote_name(name)
    unit = "in millions or billions" if likely is None else f"in {SIZES_IN_WORDS[likely]}"
    times = "1e6 or 1e9" if likely is None else written(likely)
    message = (
        f"{name} are between {values.min():.3g} and {values.max():.3g}: are they {unit}? "
        f"They are counts here, so {shown} * {times} says the same as other laws and macros mean"
    )
    return [Note("counts_in_billions", message)]
