"""From planned runs to the sweep file that trains them.

A planned run names settings of a family. It may name `params` instead of a shape, as laws do, where the family knows a
shape for them: see `Experiment.shape_for`.

Runs planned more than once get different seeds: the second of each goes into a second sweep of the same file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from isoflop.lakehouse.errors import UsageError
from isoflop.workers.components import Scalar
from isoflop.workers.families import ConfigError, Experiment, find_family
from isoflop.workers.sweep import checked_sweeps, load_sweep
from isoflop.workers.sweep_file import dump, parse_documents
from isoflop.workers.sweep_keys import SweepKeys

RUNS = ("grid", "points", "sample", "method", "sample_seed", "seeds")  # keys that say which runs there are
FAR = 0.1  # relative difference of params [1] from which the user should know
EXAMPLES = {"vocabulary": "50304"}  # what a setting may look like, in hints


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
        setting is left out
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
    for point in points:
        row: dict[str, Scalar] = {
            key: _plain(value) for key, value in point.items() if key in settings and key != "seed"
        }
        if kind.shape_settings and "params" in point and not any(key in point for key in kind.shape_settings):
            row |= _shape(kind, point["params"], given)
        rows.append(row)
    if not rows or not all(rows):
        raise UsageError(
            f"the runs name no setting of the family '{family}'", hint=f"its settings are {', '.join(settings)}"
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


def _rounds(rows: Sequence[dict[str, Scalar]]) -> list[list[dict[str, Scalar]]]:
    """Return the rows with every repeat in a list of its own round."""
    rounds: list[list[dict[str, Scalar]]] = []
    for row in rows:
        for some in rounds:
            if row not in some:
                some.append(row)
                break
        else:
            rounds.append([row])
    return rounds
