"""Rows that are not independent, found by what a law leaves of them: the fit is made again with resamples of groups.

What rows may belong together by, in this order: their run; the columns of the source that name things; an input that
several rows have one value of, or all inputs. Where everything is one curve, its neighboring points may be alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isoflop.queries.fitting.block_bootstrap import BlockBootstrap
from isoflop.queries.fitting.data import Data
from isoflop.queries.fitting.dependence import (
    FEWEST_GROUPS,
    Alike,
    Serial,
    alike_groups,
    are_apart,
    blocks,
    serial_curves,
)
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.record import Fit as FitRecord
from isoflop.queries.fitting.resampling import FEW
from isoflop.queries.language.bind import Bound
from isoflop.queries.language.block_columns import BLOCK
from isoflop.queries.language.clause_options import ClauseOptions
from isoflop.queries.language.rows import RUN, Rows
from isoflop.queries.laws.form_mixture import FormMixture

NUMBERED = ("id", "name", "source")  # columns that a row which is there twice has another value of
SHOWN = 4  # sources that a note names
STEPS = ("step", "steps")  # columns that only the points of a curve have
UNDO = "WITH (bootstrap = 'case') resamples them one by one"


@dataclass(frozen=True)
class Together:
    """How rows that are not independent are fitted.

    Parameters
    ----------
    data, options : the usable rows with their groups, and how they are resampled
    note : what is to be said of it
    by : what the rows of a group share, as SQL; empty for blocks of neighbors
    instead_of : the notes that this one says already
    """

    data: Data
    options: ClauseOptions
    note: Note
    by: str
    instead_of: str


def together_of(bound: Bound, rows: Rows, found: FitRecord, options: ClauseOptions) -> Together | None:
    """Return how rows are to be fitted whose residuals are alike in groups or along a curve; None where none are.

    Parameters
    ----------
    found : their fit, as if they were independent
    options : how they were fitted; whoever names a cluster or a bootstrap has chosen already
    """
    is_open = options.cluster is None and (options.resampling is None or options.bootstrap == "auto")
    residuals = found.solution.residuals
    if not (is_open and options.resamples and found.data.group is None and np.isfinite(residuals).all()):
        return None
    kept, num_free = found.data.kept, sum(each.fixed is None for each in found.law.coefficients)
    named = {
        name.removeprefix(BLOCK): [values[position] for position in kept]
        for name in rows.extra.column_names
        if name.startswith(BLOCK)
        for values in [rows.column(name)]
    }
    candidates = {name: labels for name, labels in named.items() if None not in labels}
    alike = alike_groups(residuals, candidates | _of_inputs(bound, found.data), num_free, first=RUN)
    if alike is not None:
        return _in_groups(found.data, options, alike, f"intra-class correlation of residuals {alike.correlation:.2f}")
    curves = _curves(bound, candidates, len(kept))
    serial = None if curves is None else serial_curves(residuals, found.data.inputs, curves, num_free)
    if serial is None or curves is None:
        return None
    if (count := len(set(curves))) >= FEWEST_GROUPS:
        number = {label: position for position, label in enumerate(dict.fromkeys(curves))}
        runs = Alike(RUN, np.array([number[label] for label in curves]), serial.correlation, count)
        return _in_groups(found.data, options, runs, f"correlation of neighboring residuals {serial.correlation:.2f}")
    return None if isinstance(found.law, FormMixture) else _in_blocks(found.data, options, serial)


def notes_on_sources(rows: Rows, found: FitRecord) -> list[Note]:
    """Return a note where runs of several imports or scripts were fitted as one, and lie apart.

    Parameters
    ----------
    found : a fit of the rows
    """
    name = f"{BLOCK}source"
    if name not in rows.extra.column_names or not np.isfinite(found.solution.residuals).all():
        return []
    values = rows.column(name)
    labels = [values[position] for position in found.data.kept]
    num_free = sum(each.fixed is None for each in found.law.coefficients)
    if not are_apart(found.solution.residuals, labels, num_free):
        return []
    counts = Counter(labels).most_common()
    shown = ", ".join(f"{label} {count}" for label, count in counts[:SHOWN]) + (", …" if len(counts) > SHOWN else "")
    first = str(counts[0][0]).replace("'", "''")
    message = (
        f"rows of {len(counts)} sources ({shown}) lie apart from each other about one law: do they belong together? "
        f"WHERE source = '{first}' or GROUP BY source"
    )
    return [Note("several_sources", message)]


def tells_repeats_apart(rows: Rows, found: FitRecord) -> bool:
    """Return whether rows with the same inputs and target differ in another column, so that none is there twice.

    Parameters
    ----------
    found : a fit of the rows
    """
    kept = found.data.kept
    known = list(map(tuple, np.column_stack([found.data.inputs, found.data.target]).tolist()))
    others = [name for name in rows.extra.column_names if name.removeprefix(BLOCK) not in (name, *NUMBERED)]
    values = [rows.column(name) for name in others]
    whole = [(*row, *(column[position] for column in values)) for row, position in zip(known, kept, strict=True)]
    return len(set(whole)) == len(whole)


def _of_inputs(bound: Bound, data: Data) -> dict[str, list[Any]]:
    """Return the values of each input of the rows, and of all of them, by their SQL."""
    texts = [column.text for column in bound.columns]
    found: dict[str, list[Any]] = {text: data.inputs[:, position].tolist() for position, text in enumerate(texts)}
    return found | {inputs_of(bound): list(map(tuple, data.inputs[:, : len(texts)].tolist()))}


def inputs_of(bound: Bound) -> str:
    """Return all inputs of a law as the SQL of one value."""
    texts = [column.text for column in bound.columns]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"


def _curves(bound: Bound, named: Mapping[str, list[Any]], count: int) -> list[Any] | None:
    """Return the curve of each row; None where nothing says that rows are points of one."""
    if RUN in named:
        return named[RUN] if len(set(named[RUN])) < count else None
    steps = [each for each in (*named, *(column.text.strip('"').lower() for column in bound.columns)) if each in STEPS]
    return [0] * count if steps else None


def _in_groups(data: Data, options: ClauseOptions, alike: Alike, why: str) -> Together:
    few = f"{alike.num_groups} groups by {alike.name}"
    how = f"{few} keep their place and change sign together" if alike.num_groups < FEW else f"whole {few} are drawn"
    message = (
        f"rows with the same {alike.name} lie off to the same side ({why}): {len(data)} rows are not independent, "
        f"and in resamples {how}; {UNDO}, WITH (cluster = …) by something else"
    )
    grouped = replace(data, group=alike.labels.astype(np.int64))
    return Together(
        grouped, replace(options, together=alike.name), Note("rows_together", message), alike.name, "small_sample"
    )


def _in_blocks(data: Data, options: ClauseOptions, serial: Serial) -> Together:
    bootstrap = BlockBootstrap.of(serial)
    message = (
        f"neighboring points of a curve lie off to the same side (residuals are alike over {serial.time:.3g} points): "
        f"{len(data)} rows say as much as {serial.effective:.0f} independent ones, and in resamples blocks of "
        f"{bootstrap.length} neighbors stay together; {UNDO}"
    )
    grouped = replace(data, group=blocks(serial, bootstrap.length).astype(np.int64))
    how = replace(options, resampling=bootstrap, together=f"blocks of {bootstrap.length}")
    return Together(grouped, how, Note("serial_blocks", message), "", "bootstrap")
