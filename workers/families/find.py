"""The families there are, by name: adding one is a file beside this one and a word here."""

from __future__ import annotations

import functools
from importlib.metadata import entry_points

from isoflop.lakehouse.errors import UsageError, did_you_mean
from isoflop.workers.families.attention_kernels import AttentionKernels
from isoflop.workers.families.command import Command
from isoflop.workers.families.deep_linear import DeepLinear
from isoflop.workers.families.experiment import Experiment
from isoflop.workers.families.feature_learning import FeatureLearning
from isoflop.workers.families.grokking import Grokking
from isoflop.workers.families.kernel_features import KernelFeatures
from isoflop.workers.families.linear_sgd import LinearSgd
from isoflop.workers.families.margin_growth import MarginGrowth
from isoflop.workers.families.mean_field import MeanField
from isoflop.workers.families.nearest_neighbours import NearestNeighbours
from isoflop.workers.families.plrf import Plrf
from isoflop.workers.families.random_features import RandomFeatures
from isoflop.workers.families.ridgeless import Ridgeless
from isoflop.workers.families.shaped_transformer import ShapedTransformer
from isoflop.workers.families.transformer import Transformer

GROUP = "isoflop.families"  # entry-point group; each entry names a subclass of Experiment

BUILT_IN = (
    Transformer,
    Plrf,
    RandomFeatures,
    LinearSgd,
    FeatureLearning,
    DeepLinear,
    KernelFeatures,
    Ridgeless,
    NearestNeighbours,
    MeanField,
    Grokking,
    MarginGrowth,
    ShapedTransformer,
    AttentionKernels,
    Command,
)
FAMILIES: dict[str, type[Experiment]] = {family.name: family for family in BUILT_IN}


def known_families() -> dict[str, type[Experiment]]:
    """Return every family by name: the built-in ones, then those of installed packages, which replace none.

    Raises
    ------
    UsageError : if an installed package declares something that is no family
    """
    return {**_outside_families(), **FAMILIES}


@functools.cache
def _outside_families() -> dict[str, type[Experiment]]:
    found: dict[str, type[Experiment]] = {}
    for entry in entry_points(group=GROUP):
        try:
            family = entry.load()
        except Exception as error:  # whatever a module of others raises while it is imported
            raise UsageError(
                f"entry point '{entry.name}' of group {GROUP} cannot be loaded: {type(error).__name__}: {error}",
                hint=f"repair or remove the package that declares {entry.value}",
            ) from error
        if not isinstance(family, type) or not issubclass(family, Experiment):
            kind = family.__name__ if isinstance(family, type) else type(family).__name__
            raise UsageError(
                f"entry point '{entry.name}' of group {GROUP} is {kind}, which is not a family",
                hint="it has to name a class derived from isoflop.workers.families.Experiment, "
                "such as PackedExperiment or GradientFamily",
            )
        found[family.name] = family
    return found


def find_family(name: str) -> type[Experiment]:
    """Return the family called `name`.

    Raises
    ------
    UsageError : if there is none, with the nearest name

    Example
    -------
    >>> find_family("transformer").__name__
    'Transformer'
    """
    if name in FAMILIES:  # these are found whatever other packages declare
        return FAMILIES[name]
    families = known_families()
    if name not in families:
        known = ", ".join(families)
        raise UsageError(f"family '{name}' does not exist", hint=did_you_mean(name, families, f"there are {known}"))
    return families[name]
