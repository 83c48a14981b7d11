"""Rows that the fitting tests share."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from run_samples import Runs

from isoflop.queries.laws import CHINCHILLA


@pytest.fixture(scope="session")
def published() -> Runs:
    """The 240 runs of the Chinchilla replication, without its five outliers."""
    from isoflop.lakehouse.exchange.published import find_published

    with Path(find_published("chinchilla_epoch")).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["outlier"] == "0"]
    inputs = np.array([[float(row["params"]), float(row["tokens"])] for row in rows])
    return Runs(inputs, np.array([float(row["loss"]) for row in rows]))


@pytest.fixture(scope="session")
def planted_rows() -> Runs:
    """60 runs of a known Chinchilla law with 0.3 % noise: E 1.8, A 400, B 2000, alpha 0.34, beta 0.36."""
    generator = np.random.default_rng(7)
    inputs = np.exp(generator.uniform([17.5, 20.5], [24.0, 27.0], (60, 2)))
    clean = CHINCHILLA.predict(np.array([1.8, 400.0, 2000.0, 0.34, 0.36]), inputs)
    return Runs(inputs, clean * np.exp(generator.normal(0, 0.003, 60)))
