"""FIT finds rows that are not independent, resamples them together, says so, and does it again in REFIT."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

import isoflop
from isoflop.lakehouse import Lakehouse
from tests.bench import bench_dependence as worlds

QUICK = "resamples = 60, forward = false, intervals = 'percentile'"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    made = {world.__name__: world(np.random.default_rng(3)) for world, _, _ in worlds.WORLDS.values()}
    with isoflop.open(tmp_path_factory.mktemp("dependence") / "lake.duckdb") as lake:
        for name, table in made.items():
            lake.write([(f"CREATE TABLE {name} AS FROM _rows", None)], {"_rows": table})
        yield lake


def width(lake: Lakehouse, fit: str, options: str = "") -> float:
    row = lake.sql(f"FIT loss ~ {fit} WITH ({QUICK}{options})").records()[0]
    return float(row["upper"]["alpha"] - row["lower"]["alpha"])


@pytest.mark.parametrize(
    ("fit", "said", "bootstrap"),
    [
        ("power(params) FROM sizes", "rows with the same params lie off to the same side", "cluster"),
        ("power(params) FROM seeds", "whole 20 groups by seed are drawn", "cluster"),
        ("chinchilla(params, tokens) FROM points", "whole 20 groups by run_id are drawn", "cluster"),
        ("power(step) FROM curve", "200 rows say as much as", "block"),
    ],
)
def test_rows_that_are_alike_are_resampled_together(lake: Lakehouse, fit: str, said: str, bootstrap: str) -> None:
    answer = lake.sql(f"FIT loss ~ {fit} WITH ({QUICK})")
    assert said in "\n".join(answer.notes) and "WITH (bootstrap = 'case')" in "\n".join(answer.notes)
    row = answer.records()[0]
    assert row["bootstrap"] == bootstrap
    undone = lake.sql(f"FIT loss ~ {fit} WITH ({QUICK}, bootstrap = 'case')")
    assert said not in "\n".join(undone.notes) and undone.records()[0]["bootstrap"] == "case"
    assert undone.records()[0]["coefficients"] == row["coefficients"]


def test_intervals_of_a_curve_and_of_sizes_are_wider_for_it(lake: Lakehouse) -> None:
    for fit in ("power(step) FROM curve", "power(params) FROM sizes"):
        assert width(lake, fit) > 1.3 * width(lake, fit, ", bootstrap = 'case'")


def test_independent_rows_are_resampled_as_ever(lake: Lakehouse) -> None:
    fit = "FIT loss ~ power(params) FROM independent"
    plain, named = (lake.sql(f"{fit} WITH ({QUICK}{more})") for more in ("", ", bootstrap = 'case'"))
    assert plain.records()[0]["lower"] == named.records()[0]["lower"]
    assert not any(kind in note for kind in ("rows_together", "serial_blocks") for note in plain.records()[0]["notes"])


def test_a_cluster_that_is_named_is_the_one_that_is_taken(lake: Lakehouse) -> None:
    answer = lake.sql(f"FIT loss ~ power(params) FROM seeds WITH ({QUICK}, cluster = params)")
    assert "by seed" not in "\n".join(answer.notes)


@pytest.mark.parametrize(
    ("fit", "by"),
    [("power(params) FROM seeds", "seed"), ("power(step) FROM curve", "blocks of ")],
    ids=["seed", "curve"],
)
def test_what_was_found_is_kept_and_refit_repeats_it(lake: Lakehouse, fit: str, by: str) -> None:
    lake.sql(f"CREATE OR REPLACE LAW again AS FIT loss ~ {fit} WITH (resamples = 60, forward = false)")
    before = lake.sql("DESCRIBE LAW again").records()
    kept = "SELECT options->>'together', notes FROM laws WHERE name = 'again' ORDER BY version DESC LIMIT 1"
    ((together, notes),) = lake.sql(kept).rows()
    assert together.startswith(by)
    lake.sql("REFIT LAW again")
    assert lake.sql("DESCRIBE LAW again").records() == before
    assert lake.sql(kept).rows() == [(together, notes)]


def test_each_group_of_a_fit_is_looked_at_by_itself(lake: Lakehouse) -> None:
    both = "(SELECT *, 'own' AS part FROM seeds UNION ALL BY NAME SELECT *, 'none' AS part FROM independent)"
    rows = lake.sql(f"FIT loss ~ power(params) FROM {both} GROUP BY part WITH ({QUICK})").records()
    found = {row["part"]: any(note.startswith("rows_together") for note in row["notes"]) for row in rows}
    assert found == {"own": True, "none": False}


def test_rows_that_another_column_tells_apart_are_no_repeated_ones(lake: Lakehouse) -> None:
    size = np.tile(np.geomspace(1e6, 1e9, 12).round(), 2)
    loss = np.round(1.7 + 400 / size**0.34, 3)
    table = pa.table({"params": size, "seed": np.repeat([0, 1], 12), "loss": loss})
    lake.write([("CREATE OR REPLACE TABLE rounded AS FROM _rows", None)], {"_rows": table})
    kinds = "list_transform(notes, x -> split_part(x, ':', 1))"
    fit = f"SELECT {kinds} AS kinds FROM (FIT loss ~ power(params) FROM {{}} WITH (resamples = 0))"
    assert "repeated_rows" not in lake.sql(fit.format("rounded")).records()[0]["kinds"]
    once = "(SELECT params, loss FROM rounded)"
    assert "repeated_rows" in lake.sql(fit.format(once)).records()[0]["kinds"]
    twice = "(FROM rounded UNION ALL FROM rounded)"
    assert "repeated_rows" in lake.sql(fit.format(twice)).records()[0]["kinds"]
