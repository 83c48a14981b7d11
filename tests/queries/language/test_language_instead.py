"""Errors and notes that say what to type instead: a logged metric, a law that is no function, a diverging theory."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError
from isoflop.queries.laws.nqs import NoisyQuadratic
from isoflop.workers import Plrf
from tests.lakes import open_here

NOISY = "(p = 1.1, q = 0.6, P_1 = 3, Q_1 = 0.5, e = 0.3, R_1 = 8, r = 2.5)"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """Eight runs that log an accuracy, the computed law `noisy`, and two runs of random features, one diverging."""
    with open_here(tmp_path_factory.mktemp("instead") / "lake.duckdb") as opened:
        for k in range(8):
            with opened.run("mine", {"width": k}, params=1e6 * 2**k, tokens=1e9 * 3 ** (k % 4)) as run:
                run.log(step=1, loss=3 - 0.1 * k, val_accuracy=0.3 + 0.05 * k, **{"eval/loss": 3.5 - 0.1 * k})
        for rate in (0.1, 1e9):
            plrf = Plrf(width=8, spectrum_exponent=0.8, target_exponent=0.7, steps=300, learning_rate=rate)
            with opened.run("plrf", plrf.config(), steps=plrf.steps) as run:
                run.log(step=300, loss=1.0)
        with pytest.MonkeyPatch.context() as patch:
            patch.delattr(NoisyQuadratic, "macro")  # as of a law that knows no SQL
            opened.sql(f"CREATE LAW noisy AS nqs WITH COEFFICIENTS {NOISY}")
        yield opened


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("FIT val_accuracy ~ power(tokens) FROM runs", "val_accuracy", "'val_accuracy' is a metric that"),
        ('FIT "eval/loss" ~ power(tokens) FROM runs WHERE params > 0', '"eval/loss"', "'eval/loss' is a metric that"),
        ("FIT val_acuracy ~ power(tokens) FROM runs", "val_acuracy", "'val_acuracy' is no column of runs"),
        ("FIT loss ~ power(val_accuracy) FROM runs", "val_accuracy", "'val_accuracy' is a metric that"),
    ],
)  # fmt: skip
def test_a_logged_metric_comes_with_the_statement_that_fits_it(
    lake: Lakehouse, text: str, place: str, said: str
) -> None:
    with pytest.raises(StatementError) as refused:
        lake.sql(text)
    assert said in refused.value.message
    assert text[refused.value.start : refused.value.end] == place
    statement = str(refused.value.hint).partition("metric_curves: ")[2]
    (row,) = lake.sql(statement).records()
    assert row["rows"] == 8


def test_a_column_that_is_nothing_stays_duckdbs_error(lake: Lakehouse) -> None:
    for text in ("FIT nothing_at_all ~ power(tokens) FROM runs", "FIT val_accuracy ~ power(tokens) FROM (FROM runs)"):
        with pytest.raises(StatementError, match="not found in FROM clause"):
            lake.sql(text)


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("SELECT noisy(1e6, 32, 1e4)", "noisy"),
        ("SELECT 1, NOISY_lower(1e6, 32, 1e4) FROM runs", "NOISY_lower"),
        ("SELECT noisy(params, 32, 1e4) FROM (SHOW LAWS), runs", "noisy"),
        ("FIT loss ~ power(tokens) FROM (SELECT tokens, noisy(params, 32, 1e4) AS loss FROM runs)", "noisy"),
    ],
)
def test_a_law_that_sql_cannot_compute_says_what_predicts(lake: Lakehouse, text: str, called: str) -> None:
    with pytest.raises(StatementError) as refused:
        lake.sql(text)
    assert "law 'noisy' is no SQL function: SQL cannot compute it" in refused.value.message
    assert text[refused.value.start : refused.value.end] == called
    assert "PREDICT noisy FROM …" in str(refused.value.hint)


def test_a_function_that_is_no_law_stays_duckdbs_error(lake: Lakehouse) -> None:
    with pytest.raises(duckdb.CatalogException, match="nothing does not exist"):
        lake.sql("SELECT nothing(1)")


def test_predictions_that_are_not_finite_are_counted(lake: Lakehouse) -> None:
    notes = lake.sql("PREDICT RUNS BY volterra_plrf").notes
    (note,) = [note for note in notes if "no finite value" in note]
    wild = lake.query("SELECT run_id FROM runs WHERE learning_rate > 1").column("run_id").to_pylist()
    assert note.endswith(f"those of run {wild[0]}: the theory has the run diverge there")
    calm = lake.sql("PREDICT RUNS BY volterra_plrf FROM (FROM runs WHERE learning_rate < 1)").notes
    assert not [note for note in calm if "no finite value" in note]


@pytest.mark.parametrize(
    ("typed", "meant"), [("token", "tokens"), ("N", "params"), ('"Final Loss"', "loss"), ("compute", "flops")]
)
def test_a_name_that_tables_give_a_column_is_offered_as_ours(lake: Lakehouse, typed: str, meant: str) -> None:
    formula = f"{typed} ~ power(flops)" if meant == "loss" else f"loss ~ power({typed})"
    with pytest.raises(StatementError) as failed:
        lake.sql(f"FIT {formula} FROM runs")
    assert failed.value.hint == f"did you mean '{meant}'?"
