"""What can be run: one file each, a frozen config that `train` turns into a run."""

from isoflop.workers.families.attention_kernels import AttentionKernels
from isoflop.workers.families.command import Command
from isoflop.workers.families.deep_linear import DeepLinear
from isoflop.workers.families.experiment import Experiment
from isoflop.workers.families.family import Family
from isoflop.workers.families.feature_learning import FeatureLearning
from isoflop.workers.families.find import FAMILIES, find_family, known_families
from isoflop.workers.families.gradient import GradientFamily
from isoflop.workers.families.grokking import Grokking
from isoflop.workers.families.kernel_features import KernelFeatures
from isoflop.workers.families.linear_sgd import LinearSgd
from isoflop.workers.families.margin_growth import MarginGrowth
from isoflop.workers.families.mean_field import MeanField
from isoflop.workers.families.nearest_neighbours import NearestNeighbours
from isoflop.workers.families.packed import PackedExperiment, PackedFamily, Program
from isoflop.workers.families.plrf import Plrf
from isoflop.workers.families.random_features import RandomFeatures
from isoflop.workers.families.refusal import ConfigError
from isoflop.workers.families.ridgeless import Ridgeless
from isoflop.workers.families.shaped_transformer import ShapedTransformer
from isoflop.workers.families.transformer import Transformer

__all__ = [
    "FAMILIES",
    "AttentionKernels",
    "Command",
    "ConfigError",
    "DeepLinear",
    "Experiment",
    "Family",
    "FeatureLearning",
    "GradientFamily",
    "Grokking",
    "KernelFeatures",
    "LinearSgd",
    "MarginGrowth",
    "MeanField",
    "NearestNeighbours",
    "PackedExperiment",
    "PackedFamily",
    "Plrf",
    "Program",
    "RandomFeatures",
    "Ridgeless",
    "ShapedTransformer",
    "Transformer",
    "find_family",
    "known_families",
]
