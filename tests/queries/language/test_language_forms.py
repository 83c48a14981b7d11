"""Statements with the forms of the field: mixtures of any number of domains, and an accuracy behind a loss."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError, UsageError
from isoflop.queries.laws import CHINCHILLA, TASK_ACCURACY, find_law, known_laws, listed_laws
from isoflop.queries.laws.mixture import FEWEST, MOST, mixture, mixture_additive
from tests.lakes import open_here

ADDITIVE = (1.2, 300.0, 900.0, 0.32, 0.35, 2.5, 1.2, 0.6, 0.3, 0.6, 0.9)
SIZES = (1.8, 480.0, 2000.0, 0.35, 0.37)
ACCURACY = (-0.6, 4.0, 2.5, 0.85)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """Sixty runs on mixtures of three domains, some without one of them, and 80 of one mixture with an accuracy."""
    generator = np.random.default_rng(0)
    shares = generator.dirichlet([1, 1, 1], 60).round(3)
    shares[:3] = [[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5]]
    shares[:, 2] = 1 - shares[:, 0] - shares[:, 1]
    sizes = np.exp(generator.uniform(np.log([1e8, 2e9]), np.log([1e10, 2e11]), (60, 2)))
    noise = np.exp(0.002 * generator.standard_normal((2, 60)))
    one_size = (1.9 + 1.6 * np.exp(shares @ [-2.0, 0.5, -0.3])) * noise[0]
    columns = {f"{name}": shares[:, k] for k, name in enumerate(("web", "code", "books"))}
    columns |= {"params": sizes[:, 0], "tokens": sizes[:, 1], "loss": one_size}
    additive = find_law("mixture_additive3").predict(np.array(ADDITIVE), np.column_stack([sizes, shares]))
    columns["final"] = additive * noise[1]
    others = np.exp(generator.uniform(np.log([1e7, 1e9]), np.log([1e10, 1e12]), (80, 2)))
    loss = CHINCHILLA.predict(np.array(SIZES), others) * np.exp(0.002 * generator.standard_normal(80))
    right = TASK_ACCURACY.predict(np.array(ACCURACY), loss[:, None]) * np.exp(0.005 * generator.standard_normal(80))
    runs = pa.table({"params": others[:, 0], "tokens": others[:, 1], "loss": loss, "accuracy": right})
    with open_here(tmp_path_factory.mktemp("forms") / "forms.duckdb") as opened:
        opened.write([("CREATE TABLE mixed AS FROM _mixed", None)], {"_mixed": pa.table(columns)})
        opened.write([("CREATE TABLE tasks AS FROM _tasks", None)], {"_tasks": runs})
        yield opened


def test_a_mixture_with_one_domain_left_out_is_compared_with_it(lake: Lakehouse) -> None:
    lake.sql("CREATE OR REPLACE LAW blend AS FIT loss ~ mixture2(web, code) FROM mixed WITH (resamples = 100)")
    rows = {row["coefficient"]: row for row in lake.sql("DESCRIBE LAW blend").records()}
    right = {"c": 1.9, "k": 1.6 * np.exp(-0.3), "t_1": -1.7, "t_2": 0.8}  # against books
    assert set(rows) == set(right)
    for name, value in right.items():
        assert abs(rows[name]["estimate"] - value) <= 4 * rows[name]["std_error"]
    (answer,) = lake.sql("SELECT blend(0.2, 0.3) AS one, blend(0, 0) AS other").records()
    assert answer["one"] == pytest.approx(1.9 + 1.6 * np.exp(0.2 * -2 + 0.3 * 0.5 - 0.5 * 0.3), rel=0.003)
    assert answer["other"] == pytest.approx(1.9 + 1.6 * np.exp(-0.3), rel=0.003)  # all of it books
    (row,) = lake.sql("EXTRAPOLATE blend TO web = 0.2, code = 0.3").records()
    assert row["predicted_loss"] == pytest.approx(answer["one"], rel=1e-9)
    assert row["lower"] < answer["one"] < row["upper"]


def test_proportions_that_make_a_whole_are_said_not_to_be_told_apart(lake: Lakehouse) -> None:
    answer = lake.sql("FIT loss ~ mixture3(web, code, books) FROM mixed WITH (resamples = 0, forward = false)")
    (row,) = answer.records()
    assert row["status"] == "singular"
    assert any("web + code + books is one in every row" in note and "leave one out" in note for note in answer.notes)
    assert any("do not determine k, t_1, t_2, t_3" in note for note in answer.notes)
    (fitted,) = lake.sql("FIT loss ~ mixture2(web, code) FROM mixed WITH (resamples = 0, forward = false)").records()
    assert row["objective"] == pytest.approx(fitted["objective"], rel=1e-6)  # the same curves


def test_the_additive_mixture_takes_all_domains_and_rows_without_one(lake: Lakehouse) -> None:
    lake.sql(
        "CREATE OR REPLACE LAW all_of_it AS FIT final ~ mixture_additive3(params, tokens, web, code, books) FROM mixed "
        "WITH (resamples = 100, forward = false)"
    )
    rows = lake.sql("DESCRIBE LAW all_of_it").records()
    for row, value in zip(rows, ADDITIVE, strict=True):
        assert abs(row["estimate"] - value) <= 4 * row["std_error"], row
    (law,) = lake.sql("FROM (SHOW LAWS LIKE 'all_of_it')").records()
    assert law["status"] == "converged" and law["rows"] == 60  # none is dropped for a proportion of zero
    ((without,),) = lake.sql("SELECT all_of_it(1e9, 1e10, 1, 0, 0)").rows()
    assert without == pytest.approx(1.2 + 1 / 2.5 + 300 / 1e9**0.32 + 900 / 1e10**0.35, rel=0.01)


@pytest.mark.parametrize(
    ("form", "message", "hint"),
    [
        ("mixture3(web, code)", "takes 3 columns, got 2", r"write mixture2\(r_1, r_2\)"),
        ("mixture(web, code)", "'mixture' does not exist", "write mixture2"),
        ("mixture1(web, code, books)", "'mixture1' does not exist", "write mixture3"),
        ("mixture_additive(params, tokens, web, code)", "does not exist", "write mixture_additive2"),
        ("mixture_additive4(params, tokens, web, code)", "takes 6 columns, got 4", "write mixture_additive2"),
    ],
)
def test_a_wrong_number_is_corrected(lake: Lakehouse, form: str, message: str, hint: str) -> None:
    with pytest.raises(StatementError, match=message) as caught:
        lake.sql(f"FIT loss ~ {form} FROM mixed")
    assert caught.value.hint is not None
    assert re.search(hint, caught.value.hint)


def test_every_number_of_proportions_has_a_law_and_one_is_listed() -> None:
    names = {f"mixture{count}" for count in range(FEWEST, MOST + 1)}
    assert names <= set(known_laws()) and names & set(listed_laws()) == {"mixture3"}
    assert len(find_law("mixture16").inputs) == 16 and len(find_law("Mixture_Additive7").inputs) == 9
    for make in (mixture, mixture_additive):
        with pytest.raises(UsageError, match="takes 2 to 16 proportions, not 1"):
            make(1)


def test_slopes_are_numbers_where_a_domain_is_missing() -> None:
    law = find_law("mixture_additive3")
    rows = np.array([[1e9, 1e10, 0.0, 0.4, 0.6], [1e9, 1e10, 1.0, 0.0, 0.0]])
    value, slopes, curvatures = law.curvatures(np.array([ADDITIVE]), rows)
    assert curvatures is not None
    assert np.isfinite(value).all() and np.isfinite(slopes).all() and np.isfinite(curvatures).all()
    assert "max" not in law.latex() and r"\gamma_{1}" in law.latex()


def test_an_accuracy_stands_behind_a_loss(lake: Lakehouse) -> None:
    lake.sql("CREATE OR REPLACE LAW sizes AS FIT loss ~ chinchilla(params, tokens) FROM tasks WITH (resamples = 50)")
    fit = "FIT accuracy ~ task_accuracy(loss) FROM tasks WITH (resamples = 50)"
    lake.sql(f"CREATE OR REPLACE LAW right_answers AS {fit}")
    answer = lake.sql("EXTRAPOLATE sizes THROUGH right_answers TO params = 7e10, tokens = 2e12")
    (row,) = answer.records()
    loss = CHINCHILLA.predict(np.array(SIZES), np.array([[7e10, 2e12]]))
    assert row["predicted_loss"] == pytest.approx(loss[0], rel=0.01)
    (right,) = TASK_ACCURACY.predict(np.array(ACCURACY), loss[:, None])
    assert row["predicted_accuracy"] == pytest.approx(right, abs=0.02)
    assert row["lower"] < row["predicted_accuracy"] < row["upper"]


def test_saved_mixtures_of_other_numbers_are_loaded_and_fitted_again(lake: Lakehouse) -> None:
    lake.sql("CREATE OR REPLACE LAW two AS FIT loss ~ mixture2(web, code) FROM mixed WITH (resamples = 20)")
    assert lake.sql("REFIT LAW two").records()[0]["bit_equal"] is True
