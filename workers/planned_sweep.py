"""From planned runs to the sweep file that trains them.

A planned run names settings of a family. It may name `params` instead of a shape, as laws do, where the family knows a
shape for them: see `Experiment.shape_for`.

Runs planned more than once get different seeds: the second of each goes into a second sweep of the same file.

A plan counts FLOPs as 6 for each parameter and token where it knows no shape, a sweep as its family does. A run that
names the FLOPs it was planned with gets fewer tokens, or steps, where the sweep counts more, so that budgets hold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from isoflop.lakehouse.errors import FileError, UsageError
from isoflop.lakehouse.runs.records import RunRecord
from isoflop.workers.components import Scalar
from isoflop.workers.families import ConfigError, Experiment, find_family
from isoflop.workers.sweep import checked_sweeps, load_sweep
from isoflop.workers.sweep_file import dump, parse_documents
from isoflop.workers.sweep_keys import SweepKeys

RUNS = ("grid", "points", "sample", "method", "sample_seed", "seeds")  # keys that say which runs there are
LENGTHS = ("tokens", "steps")  # settings that say how long a run is, either of which may be lowered
LEAST = 0.75  # share of its length [1] that a run may be cut to; a family that counts FLOPs otherwise is only said to
ROUNDING = 1e-9  # relative excess of FLOPs [1] that is none
SAID = 0.001  # relative difference of tokens or FLOPs [1] from which the user is told
FAR = 0.1  # relative difference of params [1] from which the user should know
EXAMPLES = {"vocabulary": "50304"}  # what a setting may look like, in hints


class _Planned(NamedTuple):
    """A run to be, as a sweep file says it and as it is counted; None where it cannot be trained."""

    row: dict[str, Scalar]
    record: RunRecord | None

    @property
    def identity(self) -> str:
        """What it has in common with its repeats."""
        return str(sorted(self.row.items())) if self.record is None else self.record.run_id


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
    points : what each run is to have: settings of the family, and `params` in place of the shape; what is no
        setting is left out. `flops` is the most that a run may take, as the sweep counts it
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
    named: tuple[str, ...] = ()
    if like is not None:
        sweep = load_sweep(like)
        family = sweep.family.name
        named = sweep.variables if sweep.family.open_settings else ()
        base = {key: value for key, value in sweep.document.value.items() if key not in RUNS}
    kind = find_family(family)
    settings = (*kind.settings(), *named)
    given = _given(base)
    rows: list[dict[str, Scalar]] = []
    most: list[float] = []
    for point in points:
        row: dict[str, Scalar] = {
            key: _plain(value) for key, value in point.items() if key in settings and key != "seed"
        }
        if kind.shape_settings and "params" in point and not any(key in point for key in kind.shape_settings):
            row |= _shape(kind, point["params"], given)
        rows.append(row)
        most.append(point.get("flops", math.inf))
    if not rows or not all(rows):
        raise UsageError(
            f"the runs name no setting of the family '{family}'", hint=f"its settings are {', '.join(settings)}"
        )
    derive = base.get("derive")
    if isinstance(derive, Mapping):
        base["derive"] = {key: value for key, value in derive.items() if key not in rows[0]}
    base |= {"family": family}
    planned = [_within(row, flops, base) for row, flops in zip(rows, most, strict=True)]
    documents = []
    for round_, some in enumerate(_rounds(planned)):
        title = name if round_ == 0 else f"{name}-{round_ + 1}"
        documents.append(_document({**base, "name": title, "seeds": [round_], "points": some}))
    return "---\n".join(documents)


def _document(keys: Mapping[str, object]) -> str:
    """Return a sweep as its part of a file, the keys in their usual order."""
    return dump({key: keys[key] for key in SweepKeys.model_fields if key in keys})


def _within(row: dict[str, Scalar], flops: float, base: Mapping[str, object]) -> _Planned:
    """Return a run that takes no more FLOPs than it was planned with, in whole steps, where its length is its own."""
    planned = _counted(row, base)
    record, length = planned.record, next((key for key in LENGTHS if key in row), None)
    if record is None or length is None or not record.flops or not record.steps:
        return planned
    share = flops / record.flops
    if not LEAST <= share < 1 - ROUNDING:
        return planned
    steps = math.floor(record.steps * share)
    amount = steps if length == "steps" else math.floor(steps * (record.tokens or 0) / record.steps)
    return _counted({**row, length: amount}, base) if amount > 0 else planned


def _counted(row: dict[str, Scalar], base: Mapping[str, object]) -> _Planned:
    """Return a run with its counts."""
    text = _document({**base, "name": "planned", "seeds": [0], "points": [row]})
    try:
        (sweep,) = checked_sweeps(parse_documents(text))
        (record,) = sweep.expand().records
    except FileError:
        return _Planned(row, None)
    return _Planned(row, record)


def check_plan(text: str, path: Path | str, points: Sequence[Mapping[str, float]]) -> list[str]:
    """Return what the user should know about a planned sweep file; the file's runs are checked as `isoflop sweep` does.

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
    records = [record for plan in plans for record in plan.records]
    return notes + _costs(points, records)


def _costs(points: Sequence[Mapping[str, float]], records: Sequence[RunRecord]) -> list[str]:
    """Return what keeping to the FLOPs of the plan has taken from its runs, and by how much they exceed it still.

    Parameters
    ----------
    points : as planned, with their `flops` where these are known
    records : of the sweep file
    """
    notes = []
    for length in LENGTHS:
        wanted = sorted(float(point[length]) for point in points if length in point)
        had = sorted(float(getattr(record, length)) for record in records if getattr(record, length) is not None)
        if len(wanted) == len(had) == len(points):
            less = max(1 - have / want for have, want in zip(had, wanted, strict=True))
            if less > SAID and all("flops" in point for point in points):
                notes.append(
                    f"runs have up to {less:.1%} fewer {length} than planned, so that their FLOPs, as the sweep counts "
                    "them in their shapes, are no more than the plan's"
                )
            break
    counted = math.fsum(record.flops or 0.0 for record in records)
    planned = math.fsum(point.get("flops", math.inf) for point in points)
    if counted > planned * (1 + SAID):
        notes.append(f"the file takes {counted:.4g} FLOPs, {counted / planned - 1:.1%} more than the plan")
    return notes


def _plain(value: float) -> int | float:
    """Return a number as a file says it: whole where it is whole, else to the six digits that matter."""
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded.is_integer() else rounded


def _given(base: Mapping[str, object]) -> dict[str, object]:
    """Return what a sweep file says of every run: the corpus, and derived settings that are numbers."""
    derive = base.get("derive")
    numbers = derive.items() if isinstance(derive, Mapping) else ()
    corpus = {"corpus": base["corpus"]} if "corpus" in base else {}
    return {**corpus, **{key: value for key, value in numbers if isinstance(value, int | float)}}


def _shape(family: type[Experiment], params: float, given: Mapping[str, object]) -> dict[str, Scalar]:
    """Return the shape that a family gives so many params."""
    try:
        return family.shape_for(params, given)
    except ConfigError as error:
        example = f"derive: {{{error.field}: {EXAMPLES.get(error.field or '', '…')}}}"
        raise UsageError(error.message, hint=f"say it in the file of --like: {example}") from None


def _rounds(planned: Sequence[_Planned]) -> list[list[dict[str, Scalar]]]:
    """Return the rows with every repeat of a run in a list of its own round."""
    rounds: list[dict[str, dict[str, Scalar]]] = []
    for run in planned:
        for some in rounds:
            if run.identity not in some:
                some[run.identity] = run.row
                break
        else:
            rounds.append({run.identity: run.row})
    return [list(some.values()) for some in rounds]
