"""A sweep file as runs: read it, check it, expand its grid.

Pure functions from text to records; nothing here trains, opens a store or knows Ray.

    name: small-isoflop
    family: transformer
    corpus: {source: builtin, kind: bytes}
    grid:   {width: [64, 128, 256], depth: 2, budget: [3e9, 1e10]}   # a list is an axis, a scalar a constant
    derive: {heads: width / 32, tokens: budget / (6 * params)}       # SQL over the grid and the shape's counts
    exclude: tokens < 5e3
    seeds: 2
    resources: {cpus: 1, memory: 2 GiB}
    retries: {crash: 1}
    timeout: 20 min
    max_concurrent: 2                                                # runs at once
    timing: exclusive                                                # each alone on its machine, or on its GPUs
    checkpoint: {every: 5 min, at_most: 4 GiB, keep_final: true}     # or every: 1000 steps
    budget: {flops: 1e15}                                            # of all runs; or seconds, or dollars with a price

A grid variable that is no setting of the family, like `budget`, is a column of the runs but no part
of their identity: the same config reached by another road is the same run. `points` lists runs one by
one where they are no product of axes; `sample` draws them. Several sweeps share a file as documents separated by `---`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from isoflop.lakehouse.errors import FileError, did_you_mean
from isoflop.lakehouse.models.counts import COUNTS, SHAPE_OUTPUTS
from isoflop.workers.budget import Budget
from isoflop.workers.expansion import SweepPlan, expand
from isoflop.workers.families import FAMILIES, Experiment, GradientFamily, known_families
from isoflop.workers.grid_rows import settings_in
from isoflop.workers.resources import Resources
from isoflop.workers.saving import Saving
from isoflop.workers.stop_rules import StopWhen
from isoflop.workers.sweep_file import Document, Keys, override, read_documents
from isoflop.workers.sweep_keys import SweepKeys, parse_keys

__all__ = ["Resources", "Sweep", "SweepPlan", "checked_sweeps", "load_sweep", "load_sweeps"]


@dataclass(frozen=True)
class Sweep:
    """A checked sweep file; `expand` gives its runs."""

    name: str
    family: type[Experiment]
    document: Document = field(repr=False)
    keys: SweepKeys = field(repr=False)

    @property
    def text(self) -> str:
        """The sweep's part of the file, with `--set` values put in."""
        return self.document.text

    @property
    def retries(self) -> dict[str, int]:
        """How often a run is tried again, by cause."""
        return dict(self.keys.retries)

    @property
    def timeout_seconds(self) -> float | None:
        """How long one run may train [s]; None for no limit."""
        return self.keys.timeout

    @property
    def stops_at_failure(self) -> bool:
        """Whether the sweep ends when a run fails for good."""
        return self.keys.on_failure == "stop"

    @property
    def max_concurrent(self) -> int | None:
        """How many runs may train at once; None for as many as there is room for."""
        return self.keys.max_concurrent

    @property
    def is_timed_alone(self) -> bool:
        """Whether a run has its machine, or its GPUs, to itself."""
        return self.keys.timing == "exclusive"

    @property
    def stop_when(self) -> StopWhen | None:
        """When a run is ended before its last step; None for never."""
        return self.keys.rules()

    def saving(self, weights: Path) -> Saving:
        """Return when runs write checkpoints, and what of them is kept in the folder `weights`."""
        return self.keys.saving(weights)

    @property
    def budget(self) -> Budget | None:
        """What all runs may take together; None for no limit."""
        return self.keys.limits()

    @property
    def variables(self) -> tuple[str, ...]:
        """The names that the file sets for its runs, the seed last."""
        written = (item for part in (self.keys.grid, *self.keys.points) for item in part.items())
        each = ((name, value) for name, given in written for value in (given if isinstance(given, list) else [given]))
        settings = (name for pair in each for name, _, _ in settings_in(self.family, *pair, ()))
        return tuple(dict.fromkeys((*self.keys.apart(), *settings, *self.keys.derive, "seed")))

    @property
    def folder(self) -> Path:
        """Where commands run: the folder of the file, that of this process for a text that came without one."""
        path = Path(self.document.path)
        return path.absolute().parent if path.is_file() else Path.cwd()

    def expand(self) -> SweepPlan:
        """Return the runs of the grid.

        Raises
        ------
        FileError : if an expression or a config is wrong, at the line that says it
        """
        return expand(self.keys, self.family, self.document)


def load_sweeps(path: Path | str, settings: Sequence[str] = ()) -> tuple[Sweep, ...]:
    """Read the sweeps of a file, one for each document in it.

    Parameters
    ----------
    path : sweep file; `-` reads standard input
    settings : `key.key=value` texts that replace parts of it, as `--set` gives them

    Raises
    ------
    FileError : if the file cannot be read or says something that no sweep has
    """
    return checked_sweeps(override(read_documents(path), settings))


def checked_sweeps(documents: Sequence[Document]) -> tuple[Sweep, ...]:
    """Return the sweeps of documents.

    Raises
    ------
    FileError : if one says something that no sweep has, or two have one name
    """
    sweeps = tuple(_checked(document) for document in documents)
    names = [sweep.name for sweep in sweeps]
    for position, sweep in enumerate(sweeps):
        if sweep.name in names[:position]:
            raise sweep.document.error(("name",), f"two sweeps of this file are called '{sweep.name}'")
    return sweeps


def load_sweep(path: Path | str, settings: Sequence[str] = ()) -> Sweep:
    """Read a file that holds one sweep.

    Raises
    ------
    FileError : as `load_sweeps`, or if the file holds several
    """
    sweeps = load_sweeps(path, settings)
    if len(sweeps) > 1:
        names = ", ".join(sweep.name for sweep in sweeps)
        raise FileError(
            path, None, f"holds {len(sweeps)} sweeps ({names}), expected one", hint="load_sweeps reads them all"
        )
    return sweeps[0]


def _checked(document: Document) -> Sweep:
    keys = parse_keys(document)
    family = FAMILIES.get(keys.family) or known_families().get(keys.family)
    if family is None:
        families = known_families()
        hint = did_you_mean(keys.family, families, f"families: {', '.join(sorted(families))}")
        raise document.error(("family",), f"there is no family '{keys.family}'", hint)
    _refuse_clashes(document, keys, family)
    _refuse_checkpoints(document, keys, family)
    return Sweep(keys.name, family, document, keys)


def _refuse_checkpoints(document: Document, keys: SweepKeys, family: type[Experiment]) -> None:
    """Refuse what a family does not save: a script its own state, a solvable family weights."""
    if keys.checkpoint is None:
        return
    if family.open_settings:
        raise document.error(
            ("checkpoint",), f"a run of '{family.name}' writes checkpoints of its own", "into its folder, {output}"
        )
    if keys.checkpoint.keep_final and not issubclass(family, GradientFamily):
        raise document.error(
            ("checkpoint", "keep_final"), f"a run of '{family.name}' has no weights to keep", "take keep_final out"
        )


def _refuse_clashes(document: Document, keys: SweepKeys, family: type[Experiment]) -> None:
    """Refuse names that are said twice, or that are not the grid's to set."""
    said: dict[str, Keys] = {}
    for name in keys.apart():
        said[family.aliases.get(name, name)] = (name,)
        if family.aliases.get(name, name) not in family.model_fields:
            raise document.error((name,), f"the family '{family.name}' has no {name}")
    for name in keys.given:
        if not family.open_settings:
            raise document.error(("given", name), f"the family '{family.name}' counts what its runs cost itself")
        if name not in COUNTS:
            raise document.error(
                ("given", name), f"'{name}' is no count", did_you_mean(name, COUNTS, f"counts: {', '.join(COUNTS)}")
            )
    written: list[tuple[str, object, Keys]] = [(name, value, ("grid", name)) for name, value in keys.grid.items()]
    written += [
        (name, value, keys.point_place(i, name)) for i, point in enumerate(keys.points) for name, value in point.items()
    ]
    places = [(name, place) for each in written for name, _, place in settings_in(family, *each)]
    places += [(name, (key, name)) for key, names in (("derive", keys.derive), ("given", keys.given)) for name in names]
    for name, place in places:
        if name == "seed":
            raise document.error(place, "'seed' is set by the key seeds", "seeds: 3, or seeds: [0, 1, 2]")
        if name in SHAPE_OUTPUTS and not family.open_settings:
            raise document.error(place, f"'{name}' follows from the shape: it can be used, not set")
        before = said.setdefault(name, place)
        if before[0] != place[0]:
            where = f"{before[0]} (line {document.lines[before]})" if before in document.lines else before[0]
            raise document.error(place, f"'{name}' is set in {where} already", "take one of the two out")
