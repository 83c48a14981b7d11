"""Trainable families: one file each, a frozen config that `train` turns into a run."""

from isoflop.workers.families.family import ConfigError, Family, GradientFamily, PackedFamily, Program
from isoflop.workers.families.find import FAMILIES, find_family
from isoflop.workers.families.plrf import Plrf
from isoflop.workers.families.transformer import Transformer

__all__ = [
    "FAMILIES",
    "ConfigError",
    "Family",
    "GradientFamily",
    "PackedFamily",
    "Plrf",
    "Program",
    "Transformer",
    "find_family",
]
