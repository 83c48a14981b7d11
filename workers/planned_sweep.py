"""From planned runs to the sweep file that trains them.

A planned run names settings of a family. For a transformer it may name `params` instead of a shape, as laws do; the
shape is then the one whose counted params come closest, and of all within two per cent of them the one whose width is
nearest to 64 times its depth. Widths are multiples of 32, below 128 of 8; layers are 1 to 128.

Runs planned more than once get different seeds: the second of each goes into a second sweep of the same file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import UsageError
from isoflop.lakehouse.models.counts import transformer_params
from isoflop.workers.families import ConfigError, Transformer, find_family
from isoflop.workers.sweep import checked_sweeps, load_sweep
from isoflop.workers.sweep_file import dump, parse_documents
from isoflop.workers.sweep_keys import SweepKeys

ASPECT = 64.0  # width over depth [1]; Kaplan et al. 2020 (arXiv:2001.08361) find 10 to 300 alike within 3 %
CLOSE = 0.02  # relative difference of params [1] within which a shape is as good as another
FAR = 0.1  # from which it is no shape for these params
WIDTHS = (*range(8, 128, 8), *range(128, 32769, 32))
DEPTHS = tuple(range(1, 129))
SHAPE = ("width", "depth")

Cell = int | float | str | bool


def planned_sweep(
    points: Sequence[Mapping[str, float]],
    *,
    name: str,
    family: str = "transformer",
    like: Path | str | None = None,
) -> str:
    """Return the text of a sweep file that trains planned runs.

    Parameters
    ----------
    points : what each run is to have: settings of the family, and `params` in place of a transformer's shape; what
        is no setting is left out
    name : of the sweep
    family : that is trained, unless `like` says it
    like : a sweep file whose other keys are taken over: corpus, derived settings, resources, limits

    Raises
    ------
    FileError : when `like` cannot be read, or the runs lack a setting that only it could give
    UsageError : when a family does not exist, or has no shape with the params of a run

    Example
    -------
    >>> print(planned_sweep([{"params": 3.3e6, "tokens": 4.1e7}], name="next"))
    name: next
    family: transformer
    points:
    - {tokens: 41000000, width: 256, depth: 4}
    seeds: [0]
    <BLANKLINE>
    """
    base: dict[str, object] = {}
    if like is not None:
        sweep = load_sweep(like)
        family = sweep.family.name
        base = {key: value for key, value in sweep.document.value.items() if key not in ("grid", "points", "seeds")}
    fields = find_family(family).model_fields
    vocabulary = _vocabulary(base) if family == Transformer.name and any(_needs_shape(one) for one in points) else 0
    rows: list[dict[str, Cell]] = []
    for point in points:
        row = {key: _plain(value) for key, value in point.items() if key in fields and key != "seed"}
        if family == Transformer.name and _needs_shape(point):
            row |= dict(zip(SHAPE, transformer_shape(point["params"], vocabulary), strict=True))
        rows.append(row)
    if not rows or not all(rows):
        raise UsageError(
            f"the runs name no setting of the family '{family}'", hint=f"its settings are {', '.join(fields)}"
        )
    derive = base.get("derive")
    if isinstance(derive, Mapping):
        base["derive"] = {key: value for key, value in derive.items() if key not in rows[0]}
    documents = []
    for round_, some in enumerate(_rounds(rows)):
        title = name if round_ == 0 else f"{name}-{round_ + 1}"
        keys: dict[str, object] = {**base, "name": title, "family": family, "seeds": [round_], "points": some}
        order = [key for key in SweepKeys.model_fields if key in keys]
        documents.append(dump({key: keys[key] for key in order}))
    return "---\n".join(documents)


def transformer_shape(params: float, vocabulary: int) -> tuple[int, int]:
    """Return the width and depth of a decoder with about so many params, its feed-forward 4 widths wide.

    Parameters
    ----------
    params : every matrix counted, embedding and head among them, as `isoflop.lakehouse.models.counts` counts

    Raises
    ------
    UsageError : when none is within a tenth of them

    Example
    -------
    >>> transformer_shape(1e9, 50304)
    (1632, 26)
    """
    widths, depths = (axis.ravel() for axis in np.meshgrid(WIDTHS, DEPTHS, indexing="ij"))
    # The counting functions are plain arithmetic, for arrays as for numbers.
    counted: NDArray[np.int64] = transformer_params(width=widths, depth=depths, vocabulary=vocabulary)  # type: ignore[assignment]
    off = np.abs(np.log(counted / params))
    if not off.min() < FAR:
        least = transformer_params(width=WIDTHS[0], depth=1, vocabulary=vocabulary)
        message = f"no transformer with a vocabulary of {vocabulary} has about {params:g} params"
        raise UsageError(message, hint=f"the smallest has {least:g}; give OVER a width and a depth instead")
    close = np.flatnonzero(off <= max(CLOSE, float(off.min())))
    aspect = np.abs(np.log(widths[close] / depths[close] / ASPECT))
    best = close[np.lexsort((off[close], aspect.round(6)))[0]]
    return int(widths[best]), int(depths[best])


def check_plan(text: str, path: Path | str, points: Sequence[Mapping[str, float]]) -> list[str]:
    """Return what a person should know about a planned sweep file; the file's runs are checked as `isoflop sweep` does.

    Raises
    ------
    FileError : if a run cannot be trained
    """
    notes = []
    plans = [sweep.expand() for sweep in checked_sweeps(parse_documents(text, str(path)))]
    counted = sorted(record.params for plan in plans for record in plan.records if record.params is not None)
    wanted = sorted(float(point["params"]) for point in points if "params" in point)
    if len(wanted) == len(counted):
        off = max((abs(math.log(have / want)) for have, want in zip(counted, wanted, strict=True)), default=0.0)
        if off > FAR:
            notes.append(f"the shapes differ from the params asked for by up to {math.expm1(off):.0%}")
    return notes


def _needs_shape(point: Mapping[str, float]) -> bool:
    return "params" in point and not any(key in point for key in SHAPE)


def _plain(value: float) -> Cell:
    """Return a number as a file says it: whole where it is whole, else to the six digits that matter."""
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded.is_integer() else rounded


def _vocabulary(base: Mapping[str, object]) -> int:
    """Return the vocabulary of the runs: the one the file gives, else the corpus's."""
    given: dict[str, object] = {"width": 64, "depth": 1, "steps": 1}
    derive = base.get("derive")
    fixed = derive.get("vocabulary") if isinstance(derive, Mapping) else None
    given |= {"corpus": base["corpus"]} if "corpus" in base else {}
    given |= {"vocabulary": fixed} if isinstance(fixed, int) else {}
    try:
        return Transformer.parse(given).vocabulary
    except ConfigError as error:
        raise UsageError(error.message, hint="say it in the file of --like: derive: {vocabulary: 50304}") from None


def _rounds(rows: Sequence[dict[str, Cell]]) -> list[list[dict[str, Cell]]]:
    """Return the rows with every repeat in a list of its own round."""
    rounds: list[list[dict[str, Cell]]] = []
    for row in rows:
        for some in rounds:
            if row not in some:
                some.append(row)
                break
        else:
            rounds.append([row])
    return rounds
