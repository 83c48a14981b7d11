"""The further laws in statements: fitted, stored as macros, extrapolated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.queries.laws import find_law
from tests.lakes import open_here

CASES = {
    "bounded_power": ("n", (1.2, 4.6, 900.0, 0.35, 0.8)),
    "bnsl": ("n", (0.4, 30.0, 0.12, 0.35, 3e7, 0.3)),
    "overtraining": ("n, m", (1.8, 166.0, 287.0, 0.27)),
    "data_constrained": ("n, u, m", (1.87, 521.0, 1488.0, 0.353, 0.353, 15.4, 5.31)),
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake with the table `points`: inputs n, u, m and a column of losses for every case."""
    generator = np.random.default_rng(0)
    table = {name: np.exp(generator.uniform(*ends, 60)) for name, ends in (("n", (16, 23)), ("u", (18, 25)))}
    table["m"] = generator.uniform(1, 60, 60)
    for law, (columns, coefficients) in CASES.items():
        inputs = np.column_stack([table[one] for one in columns.split(", ")])
        table[f"loss_{law}"] = find_law(law).predict(np.array(coefficients), inputs)
    with open_here(Path(tmp_path_factory.mktemp("lake")) / "laws.duckdb") as lake:
        lake.write([("CREATE TABLE points AS FROM _points", None)], {"_points": pa.table(table)})
        yield lake


@pytest.mark.slow
@pytest.mark.parametrize("law", sorted(CASES))
def test_a_fitted_law_is_a_macro_that_gives_the_losses_back(lake: Lakehouse, law: str) -> None:
    columns, coefficients = CASES[law]
    statement = f"FIT loss_{law} ~ {law}({columns}) FROM points WITH (resamples = 20, forward = false)"
    lake.sql(f"CREATE LAW my_{law} AS {statement}")
    estimates = lake.sql(f"DESCRIBE LAW my_{law}").table.column("estimate").to_numpy()
    np.testing.assert_allclose(estimates, coefficients, rtol=1e-6)
    rows = lake.query(f"SELECT my_{law}({columns}) AS found, loss_{law} AS wanted FROM points")
    np.testing.assert_allclose(rows.column("found").to_numpy(), rows.column("wanted").to_numpy(), rtol=1e-9)
    values = ", ".join(f"{one} = 20" for one in columns.split(", "))
    (row,) = lake.sql(f"EXTRAPOLATE my_{law} TO {values}").records()
    assert np.isfinite(row["predicted_loss" if "predicted_loss" in row else f"predicted_loss_{law}"])


def test_two_laws_are_compared_on_the_same_rows(lake: Lakehouse) -> None:
    rows = lake.sql("COMPARE (loss_bnsl ~ bnsl(n)), (loss_bnsl ~ power(n)) FROM points WITH (resamples = 0)").records()
    assert len(rows) == 2
