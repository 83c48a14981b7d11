"""How runs are made: trainable families, corpora, the training of one run, and sweeps of many."""

from isoflop.workers.families import FAMILIES, Experiment, Family, Plrf, Transformer, find_family
from isoflop.workers.train import Outcome, TrainOptions, train, train_packed

__all__ = [
    "FAMILIES",
    "Experiment",
    "Family",
    "Outcome",
    "Plrf",
    "TrainOptions",
    "Transformer",
    "find_family",
    "train",
    "train_packed",
]
