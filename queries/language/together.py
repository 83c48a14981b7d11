"""Whether the rows of a source belong together: of one family, corpus, tokenizer and loss unit, each a run by itself.

Two short queries over the rows that a law can use. What tells rows apart and the statement itself names, in GROUP BY,
in WEIGHT BY, in the law or in its options, is left alone: whoever typed it knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import StatementError
from isoflop.lakehouse.models.contended import CONTENDED, CROWDED, said_of_contention
from isoflop.lakehouse.models.one_rate import STANDARD, said_of_one_rate
from isoflop.lakehouse.models.repeats import FEW_EPOCHS
from isoflop.lakehouse.models.work import WORK_COLUMNS
from isoflop.lakehouse.schema.views import ATTEMPT_COLUMNS
from isoflop.lakehouse.units import UNITS
from isoflop.queries.fitting.note import Note
from isoflop.queries.language.bind import Bound, Column
from isoflop.queries.language.column_effects import with_effect
from isoflop.queries.language.question import Own, Question
from isoflop.queries.language.reading import Piece, read_as_number, source_pieces, tokens_of
from isoflop.queries.language.syntax.nodes import Source
from isoflop.queries.language.syntax.tokens import quote_name
from isoflop.queries.language.whole_numbers import SourceColumns

Array = NDArray[np.float64]

APART = {"family": "families", "corpus": "corpora", "tokenizer": "tokenizers", "loss_unit": "loss units"}
LOSS_UNIT, LOSSES = "loss_unit", ("loss", "validation_loss", "irreducible_loss")
SHOWN = 4  # values of a column that a note names
# Who a run is, when and where it was trained, and what came out: none of it is a setting that a law could use.
NO_SETTING = frozenset(
    (*ATTEMPT_COLUMNS, "run_id", "name", "source", "config", "tags", "sweep_id", "status", "submitted_at", "last_step",
     "attempt", "point_attempt", "seconds", "id", "run", "memcpy_bytes", "params_non_embedding", "loss", *WORK_COLUMNS)
)  # fmt: skip
SEED = "seed"
# Settings whose every value may be another one, as rates that are tried around a size's best: not measured, but chosen.
CHOSEN = frozenset(
    (
        "learning_rate",
        "optimizer",
        "schedule",
        "batch_size",
        "batch_tokens",
        "weight_decay",
        "warmup_steps",
        "width",
        "depth",
        "heads",
    )
)


@dataclass(frozen=True)
class Together:
    """What is known of a source beyond its numbers.

    Parameters
    ----------
    notes : what tells its rows apart
    unit : of the target; empty where it is not known
    """

    notes: tuple[Note, ...]
    unit: str


def look_together(
    question: Question,
    bound: Bound,
    source: Source,
    known: SourceColumns,
    extra: Mapping[str, Column],
    inputs: Array,
    *,
    any_sign: bool = False,
    is_clustered: bool = False,
) -> Together:
    """Return whether the rows of a source belong together.

    Parameters
    ----------
    known : columns of the source
    extra : further columns that are read along, by the name they get
    inputs : (R, P) of the usable rows
    any_sign : whether rows whose target is zero or less are usable
    is_clustered : whether whole groups are resampled, which the note on seeds advises
    """
    named = _named(question, bound, source, extra)
    usable = _usable(question, bound, source, known, any_sign=any_sign)
    notes, unit = _apart(question, bound, source, known, named, usable)
    repeats = []
    if _has_repeats(inputs):
        repeats = _repeats(question, bound, source, known, named, usable, any_sign=any_sign, is_clustered=is_clustered)
    notes += _one_rate(question, bound, source, known, named, usable)
    notes += _contended(question, bound, source, known, named, usable)
    notes += _repeated_data(question, bound, source, known, named, usable)
    return Together((*notes, *repeats), unit)


def _named(question: Question, bound: Bound, source: Source, extra: Mapping[str, Column]) -> set[str]:
    """Return the names, in lower case, that stand in what is read."""
    weight = [] if source.weight is None else [source.weight]
    found: set[str] = set()
    for column in (bound.target, *bound.columns, *source.groups, *weight, *extra.values()):
        found |= {token.name.lower() for token in tokens_of(question, column) if token.is_name}
    return found


def _usable(question: Question, bound: Bound, source: Source, known: SourceColumns, *, any_sign: bool) -> list[Piece]:
    """Return the query of the usable rows: columns x0, x1, … and k0, k1, … of GROUP BY, and the source's."""
    pieces: list[Piece] = ["(SELECT *, (", *read_as_number(question, bound.target, known.without_flops), ") AS _y"]
    for position, column in enumerate(bound.columns):
        pieces += [", (", *read_as_number(question, column, known), f") AS _x{position}"]
    for position, group in enumerate(source.groups):
        pieces += [", (", group, f") AS _k{position}"]
    conditions = ["isfinite(_y::DOUBLE)"] if any_sign else ["_y > 0", "_y < 'inf'::DOUBLE"]
    for position, given in enumerate(bound.law.inputs[: len(bound.columns)]):
        conditions.append(f"_x{position} > 0" if given.positive else f"_x{position} IS NOT NULL")
    return [*pieces, *source_pieces(source), f") AS _rows WHERE {' AND '.join(conditions)}"]


# Families, corpora, tokenizers, loss units


def _apart(
    question: Question, bound: Bound, source: Source, known: SourceColumns, named: set[str], usable: list[Piece]
) -> tuple[list[Note], str]:
    """Return a note for each column that has several values in one fit, and the unit of the target."""
    target, is_loss = _target(bound), _is_loss(bound)
    usual = UNITS.get(target.lower(), "") if target is not None else ""
    looked = [name for name in APART if name in known and (name not in named or name == LOSS_UNIT)]
    if not looked:
        return [], usual if not is_loss or "tokens" in known else ""
    keys = [f"_k{position}" for position in range(len(source.groups))]
    columns = ", ".join([*keys, *(f"{quote_name(name)}::VARCHAR AS {name}" for name in looked)])
    tokens = "bool_or(tokens IS NOT NULL)" if "tokens" in known else "false"
    try:
        table = question.run(
            f"SELECT {columns}, {tokens} AS has_tokens, count(*) AS matched FROM ",
            *usable,
            " GROUP BY ALL ORDER BY ALL",
            place=source.relation,
        )
    except StatementError:  # a name that two joined tables have
        return [], "" if is_loss else usual
    rows = table.to_pylist()
    notes = [_mixed(rows, keys, name) for name in looked if name not in named]
    unit = usual
    if is_loss:
        has_tokens = any(row["has_tokens"] for row in rows)
        unit = _loss_unit(rows, LOSS_UNIT in looked) if LOSS_UNIT in looked else usual if has_tokens else ""
    return [note for note in notes if note is not None], unit


def _target(bound: Bound) -> str | None:
    """Return the column that is explained, None where it is an expression."""
    return bound.target.text.strip('"') if isinstance(bound.target, Own) else bound.target.column


def _is_loss(bound: Bound) -> bool:
    return (_target(bound) or "").lower() in LOSSES


def _loss_unit(rows: list[dict[str, Any]], is_known: bool) -> str:
    units = {row[LOSS_UNIT] for row in rows}
    return str(units.pop()) if is_known and len(units) == 1 and None not in units else ""


def _mixed(rows: list[dict[str, Any]], keys: list[str], name: str) -> Note | None:
    """Return the note on a column of which one fit has several values."""
    fits: dict[tuple[Any, ...], dict[str | None, int]] = {}
    for row in rows:
        counts = fits.setdefault(tuple(repr(row[key]) for key in keys), {})
        counts[row[name]] = counts.get(row[name], 0) + row["matched"]
    mixed = [counts for counts in fits.values() if len(counts.keys() - {None}) > 1]
    if not mixed:
        return None
    counts = mixed[0]
    ordered = sorted(counts.items(), key=lambda item: (item[0] is None, -item[1], str(item[0])))
    shown = ", ".join(f"{'unknown' if value is None else value} {count}" for value, count in ordered[:SHOWN])
    shown += ", …" if len(ordered) > SHOWN else ""
    number = len(counts.keys() - {None})
    whose = f"the {sum(counts.values())} rows" if not keys else f"the rows of {len(mixed)} of {len(fits)} groups"
    first = str(ordered[0][0]).replace("'", "''")
    said = f"{whose} are of {number} {APART[name]} ({shown})" if not keys else f"{whose} are of several {APART[name]}"
    todo = f"WHERE {name} = '{first}' or GROUP BY {name}" if not keys else f"GROUP BY {name} as well"
    return Note(f"several_{APART[name].replace(' ', '_')}", f"{said}: their losses may not be comparable; {todo}")


# One learning rate for all widths

RATED = ("parametrization", "width", "learning_rate")  # columns of runs that were trained by back-propagation


def _one_rate(
    question: Question, bound: Bound, source: Source, known: SourceColumns, named: set[str], usable: list[Piece]
) -> list[Note]:
    """Return a note where one fit has losses of several widths at one rate, in the parametrization that wants more."""
    if (
        not _is_loss(bound)
        or "learning_rate" in named
        or not all(name in known and known.is_plain(name) for name in RATED)
    ):
        return []
    keys = "".join(f", _k{position}" for position in range(len(source.groups)))
    try:
        table = question.run(
            f"SELECT min(width) AS least, max(width) AS most, min(learning_rate) AS rate{keys} FROM ", *usable,
            f" GROUP BY ALL HAVING min(learning_rate) = max(learning_rate) AND bool_and(parametrization = '{STANDARD}')"
            " ORDER BY most / least DESC LIMIT 1", place=source.relation,
        )  # fmt: skip
        said = [said_of_one_rate(row["least"], row["most"], row["rate"]) for row in table.to_pylist()]
    except (StatementError, TypeError):  # a name that two joined tables have, or a column of text
        return []
    return [Note("one_rate", text) for text in said if text is not None]


# Times of machines that were shared

NEIGHBORS = ("contention", "host_load")  # columns of runs that say what else their machine did


def _contended(
    question: Question, bound: Bound, source: Source, known: SourceColumns, named: set[str], usable: list[Piece]
) -> list[Note]:
    """Return a note where a law of step times has rows of runs alone and of others."""
    if _target(bound) != "step_seconds" or named & {*NEIGHBORS} or not all(name in known for name in NEIGHBORS):
        return []
    contended = f"coalesce(contention >= {CONTENDED}, false)"
    try:
        table = question.run(
            f"SELECT count(*) AS n, count(*) FILTER ({contended}) AS contended, "
            f"count(*) FILTER (NOT {contended} AND host_load >= {CROWDED}) AS crowded FROM ", *usable,
            place=source.relation,
        )  # fmt: skip
    except StatementError:  # a name that two joined tables have, or a column of text
        return []
    (row,) = table.to_pylist()
    said = said_of_contention(row["n"], row["contended"], row["crowded"])
    return [] if said is None else [Note("contended_times", said)]


# Data that were seen again

EPOCHS, UNIQUE = "epochs", "unique_tokens"


def _repeated_data(
    question: Question, bound: Bound, source: Source, known: SourceColumns, named: set[str], usable: list[Piece]
) -> list[Note]:
    """Return a note where a law that knows no epochs has rows of many epochs among others."""
    if not _is_loss(bound) or named & {EPOCHS, UNIQUE} or not (EPOCHS in known and known.is_plain(EPOCHS)):
        return []
    try:
        table = question.run(
            f"SELECT count(*) AS n, count(*) FILTER ({EPOCHS} > {FEW_EPOCHS}) AS many, max({EPOCHS}) AS most FROM ",
            *usable, place=source.relation,
        )  # fmt: skip
    except StatementError:  # a name that two joined tables have, or a column of text
        return []
    (row,) = table.to_pylist()
    if not 0 < row["many"] < row["n"]:
        return []
    message = (
        f"{row['many']} of {row['n']} rows have seen their data more than {FEW_EPOCHS:g} times, up to "
        f"{row['most']:.3g}; repeated tokens are worth less than new ones, for which this law takes them: WHERE "
        f"{EPOCHS} <= {FEW_EPOCHS:g}, or data_constrained(params, {UNIQUE}, {EPOCHS})"
    )
    return [Note("repeated_data", message)]


# Rows with the same inputs


def _has_repeats(inputs: Array) -> bool:
    return inputs.shape[1] > 0 and len(inputs) > 1 and len(np.unique(inputs, axis=0)) < len(inputs)


def _repeats(
    question: Question,
    bound: Bound,
    source: Source,
    known: SourceColumns,
    named: set[str],
    usable: list[Piece],
    *,
    any_sign: bool,
    is_clustered: bool,
) -> list[Note]:
    """Return a note on the settings, or the seed, in which rows with the same inputs differ."""
    settings = [name for name in known.types if name not in NO_SETTING | named and known.is_plain(name)]
    if not settings or not bound.columns:
        return []
    keys = ", ".join([f"_x{p}" for p in range(len(bound.columns))] + [f"_k{p}" for p in range(len(source.groups))])
    varies = ", ".join(
        f"min({quote_name(name)}) IS DISTINCT FROM max({quote_name(name)}) AS _v{k}" for k, name in enumerate(settings)
    )
    found = ", ".join(f"bool_or(_v{k}) AS _v{k}" for k in range(len(settings)))
    try:
        table = question.run(
            f"SELECT sum(_n - 1) AS again, {found} FROM (SELECT count(*) AS _n, {varies} FROM ", *usable,
            f" GROUP BY {keys}) WHERE _n > 1", place=source.relation,
        )  # fmt: skip
        (row,) = table.to_pylist()
        differing = [name for k, name in enumerate(settings) if row[f"_v{k}"]]
        used = _settings(question, source, differing, usable)
        labels = [name for name in used if name.lower() not in CHOSEN and name != SEED and name not in APART]
        if labels:
            telling = with_effect(question, source, usable, keys, labels, any_sign=any_sign)
            used = [name for name in used if name not in labels or name in telling]
    except StatementError:
        return []
    again = int(row["again"] or 0)
    same = " and ".join(given.name for given in bound.law.inputs)
    rows = f"{again} row{'s have' if again > 1 else ' has'} the same {same} as another one"
    others = [name for name in used if name != SEED and name not in APART]
    if others:
        names = ", ".join(others[:SHOWN]) + (", …" if len(others) > SHOWN else "")
        message = (
            f"{rows} and another {names}, which the law does not use: WHERE {others[0]} = …, GROUP BY {others[0]}, "
            f"or a law of {others[0]} too"
        )
        return [Note("unused_column", message)]
    if SEED in used and not is_clustered:
        inputs = ", ".join(given.name for given in bound.law.inputs)
        several = f"({inputs})" if len(bound.law.inputs) > 1 else inputs
        message = (
            f"{rows} and another seed: what a size has of its own, several seeds do not show; "
            f"WITH (cluster = {several}) resamples all seeds of a size together, and "
            f"FROM (SELECT {inputs}, avg({bound.target_name}) AS {bound.target_name} … GROUP BY {inputs}) averages them"
        )
        return [Note("repeated_runs", message)]
    return []


def _settings(question: Question, source: Source, names: list[str], usable: list[Piece]) -> list[str]:
    """Return those of some columns that have few values for the rows there are: a measurement has many."""
    if not names:
        return []
    counts = ", ".join(f"count(DISTINCT {quote_name(name)}) AS _c{k}" for k, name in enumerate(names))
    (row,) = question.run(f"SELECT {counts}, count(*) AS _n FROM ", *usable, place=source.relation).to_pylist()
    return [
        name for k, name in enumerate(names) if name == SEED or name.lower() in CHOSEN or 2 * row[f"_c{k}"] <= row["_n"]
    ]
