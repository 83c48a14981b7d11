"""The statements that the language was specified with, asked of a lake with trained and imported runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.exchange import import_path
from tests.lakes import open_here
from tests.queries.language.conftest import planted_points

GLANCE = (
    "law", "form", "rows", "dropped", "objective", "r2", "rmse_log", "aicc", "bic", "condition", "status", "notes",
    "coefficients", "support",
)  # fmt: skip
PREDICTION = ("predicted_loss", "lower", "upper", "level", "interval", "ratio", "in_support")
FOLDS = (
    "fold", "n_train", "n_test", "train_max", "test_max", "mape", "rmse_log", "bias", "coverage", "coefficients",
)  # fmt: skip
COMPARED = ("rank", "law", "k", "aicc", "cv_mape", "cv_coverage", "delta_aicc", "weight")
OPTIMUM = ("budget", "params", "tokens", "predicted_loss", "lower", "upper", "slack", "binding", "multiplier")
COEFFICIENTS = ("coefficient", "estimate", "std_error", "lower", "upper", "level", "at_bound")
CREATE = """
CREATE OR REPLACE LAW chin AS
FIT loss ~ E + A / params ^ alpha + B / tokens ^ beta
    PARAMETERS (E IN [0, 3], A > 0, B > 0, alpha IN [0, 1] INIT 0.35, beta IN [0, 1])
FROM runs WHERE status = 'finished' AND corpus = 'web'
WITH (objective = 'huber_log', delta = 1e-3, resamples = 1000, seed = 0)
"""
EXTRAPOLATE = "EXTRAPOLATE chin TO params = [7e9, 7e10], tokens = 20 * params"
COMPARE = "COMPARE chin, (loss ~ kaplan(params, tokens)), (loss ~ bnsl(params)) FROM runs HOLDOUT LARGEST 2 BY params"
OPTIMIZE = """
OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG
    SUBJECT TO 6 * params * tokens <= $budget FOR EACH budget IN [1e20, 1e21, 1e22]
"""

# A statement, the columns of its answer in their order, and how many rows it has.
STATEMENTS = (
    (CREATE, GLANCE, 1),
    ("FIT loss ~ chinchilla(params, tokens) FROM runs GROUP BY optimizer", ("optimizer", *GLANCE), 2),
    (
        f"FROM ({EXTRAPOLATE}) SELECT params, predicted_loss, lower, upper",
        ("params", "predicted_loss", "lower", "upper"),
        2,
    ),
    (EXTRAPOLATE, ("params", "tokens", *PREDICTION), 2),
    (
        "SELECT r.run_id, x.predicted_loss - r.loss FROM runs r JOIN (PREDICT chin FROM runs) x USING (run_id)",
        ("run_id", "(x.predicted_loss - r.loss)"),
        84,
    ),
    ("PREDICT chin FROM runs", ("run_id", "loss", "params", "tokens", *PREDICTION), 84),
    ("CROSS VALIDATE loss ~ chinchilla(params, tokens) FROM runs HOLDOUT LARGEST 2 BY params", FOLDS, 1),
    (f"{COMPARE} WITH (resamples = 0)", COMPARED, 3),
    (OPTIMIZE, OPTIMUM, 3),
    (f"CREATE TABLE frontier AS {OPTIMIZE}; FROM frontier", OPTIMUM, 3),
    (
        "COPY (EXTRAPOLATE chin TO params = 1e12, tokens = 2e13) TO 'FOLDER/p.parquet'; FROM 'FOLDER/p.parquet'",
        ("params", "tokens", *PREDICTION),
        1,
    ),
    ("SELECT corr(ln(params), residual) FROM (RESIDUALS chin)", ("corr(ln(params), residual)",), 1),
    ("RESIDUALS chin", ("run_id", "loss", "predicted_loss", "residual", "std_residual", "leverage"), 42),
    ("EXPLAIN FIT loss ~ power(params) FROM runs", ("step", "detail"), 19),
    ("SHOW LAWS", ("name", "version", "form", "status"), 1),
    ("DESCRIBE LAW chin", COEFFICIENTS, 5),
)  # fmt: skip


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lakehouse, Path]]:
    """A lake with 24 runs that were logged and 60 that were imported, and a folder for files."""
    folder = tmp_path_factory.mktemp("reference")
    generator = np.random.default_rng(1)
    with open_here(folder / "lake.duckdb") as lake:
        for k in range(24):
            params, tokens = 10.0 ** (7 + k % 6 / 2), 10.0 ** (9 + k // 6)
            loss = (1.7 + 400 / params**0.34 + 410 / tokens**0.28) * np.exp(0.002 * generator.standard_normal())
            config = {"corpus": "web" if k % 2 else "books", "optimizer": "adam" if k % 3 else "sgd", "k": k}
            with lake.run("net", config, params=params, tokens=tokens) as run:
                run.log(step=1, loss=loss)
        lake.drain()
        table = planted_points()
        optimizers = ["adam" if k % 3 else "sgd" for k in range(table.num_rows)]
        table = table.drop_columns(["id", "flops"]).append_column("optimizer", [optimizers])
        pyarrow.csv.write_csv(table, folder / "points.csv")
        import_path(lake, folder / "points.csv")
        assert lake.query("SELECT count(*) FILTER (status = 'finished') AS n FROM runs").to_pylist() == [{"n": 84}]
        lake.sql(CREATE)
        yield lake, folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "columns", "num_rows"), STATEMENTS, ids=[" ".join(each[0].split())[:50] for each in STATEMENTS]
)
def test_the_statement_answers_with_its_columns(
    asked: tuple[Lakehouse, Path], statement: str, columns: tuple[str, ...], num_rows: int
) -> None:
    lake, folder = asked
    answer = lake.sql(statement.replace("FOLDER", str(folder)))
    assert tuple(name for name in answer.columns if name in columns) == columns
    assert len(answer) == num_rows


@pytest.mark.long  # resamples of a law with breaks
def test_laws_are_compared_with_intervals(asked: tuple[Lakehouse, Path]) -> None:
    lake, _ = asked
    assert all(row["cv_coverage"] is not None for row in lake.sql(COMPARE).records())


def test_a_group_that_cannot_be_fitted_is_a_row_of_the_same_columns(asked: tuple[Lakehouse, Path]) -> None:
    lake, _ = asked
    text = "FIT loss ~ chinchilla(params, tokens) FROM (FROM runs ORDER BY k NULLS LAST LIMIT 7) GROUP BY optimizer"
    answer = lake.sql(text)
    assert tuple(answer.columns) == ("optimizer", *GLANCE)
    assert {row["status"] for row in answer.records()} == {"too_few_rows"}
