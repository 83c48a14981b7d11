"""A lake with runs whose law is known, shared by the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from isoflop.lakehouse import Lakehouse
from tests.lakes import open_here
from tests.queries.language.given_laws import PAPER, SURE

PLANTED = {"E": 1.7, "A": 400.0, "B": 410.0, "alpha": 0.34, "beta": 0.28}
NOISE = 0.002  # of log loss [1]


def planted_points() -> pa.Table:
    """60 runs on a grid of 6 sizes and 10 lengths, in two corpora."""
    params, tokens = (
        axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e12, 10), indexing="ij")
    )
    loss = PLANTED["E"] + PLANTED["A"] / params ** PLANTED["alpha"] + PLANTED["B"] / tokens ** PLANTED["beta"]
    loss = loss * np.exp(NOISE * np.random.default_rng(0).standard_normal(loss.size))
    return pa.table(
        {
            "id": np.arange(loss.size),
            "name": [f"run {k}" for k in range(loss.size)],
            "corpus": ["web" if k % 2 else "books" for k in range(loss.size)],
            "params": params,
            "tokens": tokens,
            "flops": 6 * params * tokens,
            "loss": loss,
        }
    )


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake with the table `points`, a copy `holes` with unusable rows, and the law `chin`."""
    with open_here(tmp_path_factory.mktemp("lake") / "planted.duckdb") as lake:
        lake.write([("CREATE TABLE points AS FROM _points", None)], {"_points": planted_points()})
        lake.write(
            [
                (
                    "CREATE TABLE holes AS SELECT * REPLACE ("
                    "CASE id WHEN 0 THEN NULL WHEN 1 THEN 'nan'::DOUBLE WHEN 2 THEN -1 ELSE loss END AS loss, "
                    "CASE id WHEN 3 THEN 0 ELSE tokens END AS tokens) FROM points",
                    None,
                )
            ]
        )
        lake.sql("CREATE LAW chin AS FIT loss ~ chinchilla(params, tokens) FROM points WITH (resamples = 50)")
        yield lake


@pytest.fixture(scope="module")
def given(planted: Lakehouse) -> Iterator[Lakehouse]:
    """The lake of `points`, with the laws `paper` and `sure`."""
    planted.sql(PAPER)
    planted.sql(SURE)
    yield planted
    planted.sql("DROP LAW paper")
    planted.sql("DROP LAW sure")
