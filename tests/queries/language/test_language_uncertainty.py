"""FIT with a named bootstrap or intervals, and averages of laws."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError
from isoflop.queries.fitting import FitOptions, average_laws, find_bootstrap, fit_law, shared_data
from isoflop.queries.laws import CHINCHILLA, KAPLAN

GLANCE = [
    "law", "form", "rows", "dropped", "objective", "r2", "rmse_log", "aicc", "bic", "condition", "status", "notes",
    "coefficients", "support",
]  # fmt: skip
ASKED = ["bootstrap", "intervals", "std_error", "lower", "upper"]
PREDICTED = ["predicted_loss", "lower", "upper", "level", "interval", "ratio", "in_support"]
FIT = "FIT loss ~ chinchilla(params, tokens) FROM points"
QUICK = "resamples = 30, forward = false"


@pytest.fixture(scope="module")
def lake(planted: Lakehouse) -> Lakehouse:
    """The planted lake with the same rows as points of 20 runs, and three more laws."""
    planted.write([("CREATE TABLE shared AS SELECT *, id // 3 AS run_id FROM points", None)])
    for name, form, source in (
        ("kap", "kaplan(params, tokens)", "points"),
        ("elsewhere", "power(params)", "shared"),
        ("fewer", "power(params)", "points WHERE params > 2e7"),
    ):
        planted.sql(f"CREATE LAW {name} AS FIT loss ~ {form} FROM {source} WITH (resamples = 0, forward = false)")
    return planted


def test_the_answer_shows_what_was_asked_for(lake: Lakehouse) -> None:
    assert lake.sql(f"{FIT} WITH ({QUICK})").columns == GLANCE
    answer = lake.sql(f"{FIT} WITH (bootstrap = 'auto', {QUICK})")
    (row,) = answer.records()
    assert answer.columns == [*GLANCE, *ASKED]
    assert (row["bootstrap"], row["intervals"]) == ("case", "percentile")
    assert list(row["lower"]) == ["E", "A", "B", "alpha", "beta"] == list(row["std_error"])
    assert row["lower"]["alpha"] < row["coefficients"]["alpha"] < row["upper"]["alpha"]
    assert row["notes"][0].startswith("bootstrap: case bootstrap, because 60 rows on their own")
    assert answer.notes[0].startswith("case bootstrap, because 60 rows on their own")


def test_rows_of_one_run_are_drawn_together(lake: Lakehouse) -> None:
    (row,) = lake.sql(f"{FIT.replace('points', 'shared')} WITH (bootstrap = auto, {QUICK})").records()
    together = f"WITH (bootstrap = 'cluster', cluster = run_id, {QUICK})"
    (named,) = lake.sql(f"{FIT.replace('points', 'shared')} {together}").records()
    assert row["bootstrap"] == named["bootstrap"] == "cluster" and row["lower"] == named["lower"]
    assert "60 rows come in 20 groups" in row["notes"][0]


@pytest.mark.parametrize("bootstrap", ["auto", "wild", "residual"])
def test_a_statement_gives_what_python_gives(lake: Lakehouse, bootstrap: str) -> None:
    (row,) = lake.sql(f"{FIT} WITH (bootstrap = '{bootstrap}', {QUICK})").records()
    rows = lake.query("SELECT params, tokens, loss FROM points ORDER BY loss, params, tokens")
    inputs = np.column_stack([rows.column("params"), rows.column("tokens")])
    fit = fit_law(CHINCHILLA, inputs, rows.column("loss"), resamples=30, resampling=find_bootstrap(bootstrap))
    assert fit.resampled.bootstrap == row["bootstrap"]
    np.testing.assert_allclose(list(row["upper"].values()), fit.upper, rtol=1e-9)


@pytest.mark.parametrize(("kind", "columns"), [("profile", ASKED), ("jackknife", [*ASKED, "bias"])])
def test_a_law_keeps_the_intervals_it_was_made_with(lake: Lakehouse, kind: str, columns: list[str]) -> None:
    made = lake.sql(f"CREATE OR REPLACE LAW kept AS {FIT} WITH (bootstrap = 'case', intervals = '{kind}', {QUICK})")
    (row,) = made.records()
    assert made.columns == [*GLANCE, *columns] and row["intervals"] == kind
    described = lake.sql("DESCRIBE LAW kept")
    assert {one["coefficient"]: one["lower"] for one in described.records()} == row["lower"]
    assert any(note.startswith("intervals: 95% ") for note in described.notes)
    (options,) = lake.sql("SELECT options FROM store.laws WHERE name = 'kept' ORDER BY version DESC LIMIT 1").rows()[0]
    assert (json.loads(options)["bootstrap"], json.loads(options)["intervals"]) == ("case", kind)


def test_explain_says_what_would_be_drawn(lake: Lakehouse) -> None:
    steps = dict(lake.sql(f"EXPLAIN {FIT} WITH (bootstrap = 'auto', intervals = 'profile')").rows())
    assert steps["bootstrap"] == "auto, chosen by the residuals" and steps["intervals of coefficients"] == "profile"


def test_an_average_answers_as_extrapolate_does_and_says_its_weights(lake: Lakehouse) -> None:
    text = f"EXTRAPOLATE AVERAGE OF chin, kap TO params = [1e11, 1e12], tokens = 20 * params WITH ({QUICK})"
    answer = lake.sql(text)
    assert answer.columns == ["params", "tokens", *PREDICTED] and len(answer) == 2
    assert answer.notes[0].endswith("share of 30 paired resamples whose left-out rows each predicts best")
    assert answer.notes[0].startswith("chin 100%, kap 0%") and answer.units["predicted_loss"] == "nat/token"
    assert any(note.startswith("extrapolates 100x beyond the largest params") for note in answer.notes)
    rows = lake.query("SELECT params, tokens, loss FROM points ORDER BY loss, params, tokens")
    inputs = np.column_stack([rows.column("params"), rows.column("tokens")])
    laws = [CHINCHILLA, KAPLAN]
    found = average_laws(laws, shared_data(laws, inputs, rows.column("loss")), FitOptions(resamples=30))
    predicted = found.predict([[1e11, 2e12], [1e12, 2e13]])
    np.testing.assert_allclose(answer.table.column("predicted_loss"), predicted.predicted, rtol=1e-9)
    np.testing.assert_allclose(answer.table.column("lower"), predicted.lower, rtol=1e-9)


def test_an_average_is_a_relation(lake: Lakehouse, tmp_path: Path) -> None:
    average = "EXTRAPOLATE AVERAGE OF chin, (loss ~ power(6 * params * tokens)) FROM points WHERE params > 2e7"
    tail = f"TO params = 1e11, tokens = 2e12 WITH ({QUICK})"
    (inside,) = lake.sql(f"SELECT predicted_loss FROM ({average} {tail})").rows()
    (behind,) = lake.sql(f"WITH a AS ({average} {tail}) SELECT predicted_loss FROM a").rows()
    file = tmp_path / "average.csv"
    lake.sql(f"COPY ({average} {tail}) TO '{file}'")
    (copied,) = lake.sql(f"SELECT predicted_loss FROM '{file}'").rows()
    assert inside == behind == pytest.approx(copied)


def test_an_average_by_the_criterion_with_the_interval_of_the_curve(lake: Lakehouse) -> None:
    ask = "EXTRAPOLATE AVERAGE OF chin, kap TO params = 1e11, tokens = 2e12 WITH (resamples = 30, forward = false, "
    runs, curve = (lake.sql(f"{ask} weighing = 'aicc', interval = '{kind}')") for kind in ("prediction", "confidence"))
    assert "exp(-aicc / 2)" in runs.notes[0]
    (wide,), (narrow,) = runs.records(), curve.records()
    assert narrow["upper"] - narrow["lower"] < wide["upper"] - wide["lower"] and narrow["interval"] == "confidence"


@pytest.mark.parametrize(
    ("laws", "message"),
    [
        ("chin, elsewhere", "the laws of an average were fitted to points and shared"),
        ("chin, fewer", "law 'fewer' was fitted to other rows of points than 'chin'"),
    ],
)
def test_saved_laws_of_other_rows_are_not_averaged_unless_the_rows_are_said(
    lake: Lakehouse, laws: str, message: str
) -> None:
    with pytest.raises(StatementError) as caught:
        lake.sql(f"EXTRAPOLATE AVERAGE OF {laws} TO params = 1e11, tokens = 2e12")
    assert message in str(caught.value) and f"EXTRAPOLATE AVERAGE OF {laws} FROM points TO …" in str(caught.value)
    second = laws.partition(", ")[2]
    assert str(caught.value).splitlines()[3].strip() == "^" * len(second)
    said = f"EXTRAPOLATE AVERAGE OF {laws} FROM points TO params = 1e11, tokens = 2e12 WITH ({QUICK})"
    assert len(lake.sql(said)) == 1
    with pytest.raises(StatementError, match="cluster reads rows, and no FROM says which"):
        lake.sql("EXTRAPOLATE AVERAGE OF chin, kap TO params = 1e11, tokens = 2e12 WITH (cluster = corpus)")


def test_a_law_called_average_stays_a_law(lake: Lakehouse) -> None:
    lake.sql("CREATE OR REPLACE LAW average AS FIT loss ~ power(params) FROM points WITH (resamples = 0)")
    assert len(lake.sql("EXTRAPOLATE average TO params = 1e11")) == 1
    assert lake.sql("COMPARE average, chin FROM points WITH (resamples = 0)").records()[0]["law"] == "chin"


def test_compare_prints_the_weights_of_an_average(lake: Lakehouse) -> None:
    plain = lake.sql("COMPARE chin, kap FROM points")
    weighed = lake.sql("COMPARE chin, kap FROM points WITH (weighing = 'resamples', resamples = 30)")
    assert weighed.columns == plain.columns
    assert [row["weight"] for row in weighed.records()] == [1.0, 0.0]
    assert [note for note in plain.notes if "of 2 corpora" not in note] == []
    assert weighed.notes[0].startswith("chin 100%, kap 0%: share of 30 paired resamples")
