"""`auto` in statements: fitted, kept, asked, judged and refused; and EXTRAPOLATE BEST OF with given forms."""

import numpy as np
import pyarrow as pa
import pytest

import isoflop
from isoflop.lakehouse.errors import StatementError


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("auto") / "lake.duckdb"


@pytest.fixture(scope="module")
def lake(home):
    generator = np.random.default_rng(2)
    x = np.logspace(2, 6, 40)
    loss = (1.5 + 40 / x**0.3) * np.exp(generator.normal(0, 0.005, 40))
    rows = pa.table({"x": x, "loss": loss, "half": np.arange(40) % 2})
    with isoflop.open(home) as opened:
        opened.write([("CREATE TABLE curve AS FROM _rows", None)], {"_rows": rows})
        opened.sql("CREATE LAW best AS FIT loss ~ auto(x) FROM curve WITH (resamples = 60)")
        yield opened


def only(lake, statement):
    (row,) = lake.sql(statement).table.to_pylist()
    return row


def test_fit_answers_with_the_coefficients_of_every_form_and_null_for_those_left_out(lake):
    row = only(lake, "FIT loss ~ auto(x) FROM curve WITH (resamples = 60)")
    assert row["status"] == "converged"
    assert row["form"] == "auto"
    assert row["coefficients"]["power_alpha"] == pytest.approx(0.3, abs=0.02)
    assert row["coefficients"]["bounded_power_weight"] is None
    weights = [value for name, value in row["coefficients"].items() if name.endswith("_weight") and value is not None]
    assert sum(weights) == pytest.approx(1.0)
    assert any(note.startswith("weighed_by: ") for note in row["notes"])
    assert any(note.startswith("form_left_out: bounded_power") for note in row["notes"])


def test_the_functions_of_a_saved_law_give_what_extrapolate_gives(lake):
    asked = lake.sql("EXTRAPOLATE best TO x = [1e3, 1e7]").table.to_pylist()
    computed = lake.sql(
        "SELECT best(x) AS p, best_lower(x) AS l, best_upper(x) AS u FROM (VALUES (1e3), (1e7)) t(x)"
    ).table.to_pylist()
    for one, other in zip(asked, computed, strict=True):
        assert other["p"] == pytest.approx(one["predicted_loss"], rel=1e-12)
        assert other["l"] == pytest.approx(one["lower"], rel=1e-9)
        assert other["u"] == pytest.approx(one["upper"], rel=1e-9)


def test_a_saved_law_comes_back_as_it_was(lake):
    row = only(lake, "REFIT LAW best")
    assert row["bit_equal"]
    described = lake.sql("DESCRIBE LAW best").table.to_pylist()
    assert {each["coefficient"] for each in described} >= {"power_weight", "power_alpha"}
    assert all(each["std_error"] is None for each in described if each["coefficient"].endswith("_weight"))


def test_it_is_predicted_and_judged_as_any_law(lake):
    assert lake.sql("PREDICT best FROM curve").table.num_rows == 40
    assert lake.sql("RESIDUALS best").table.num_rows == 40
    (fold,) = lake.sql("CROSS VALIDATE best HOLDOUT LARGEST 25 PERCENT BY x").table.to_pylist()
    assert fold["mape"] < 0.02
    assert "bounded_power_weight" in fold["coefficients"]  # every form is tried again on the rows of a fold
    ranked = lake.sql(
        "COMPARE best, (loss ~ plain_power(x)) FROM curve HOLDOUT LARGEST 25 PERCENT BY x"
    ).table.to_pylist()
    assert ranked[0]["law"] == "best"


def test_compare_says_that_a_mean_has_no_criterion(lake):
    answer = lake.sql("COMPARE (loss ~ auto(x)), (loss ~ power(x)) FROM curve WITH (resamples = 20)")
    last = answer.table.to_pylist()[-1]
    assert (last["law"], last["aicc"], last["weight"]) == ("auto(x)", None, None)
    assert any("a mean of forms has no aicc" in note for note in answer.notes)


def test_groups_are_fitted_one_by_one(lake):
    rows = lake.sql("FIT loss ~ auto(x) FROM curve GROUP BY half WITH (resamples = 20)").table.to_pylist()
    assert [row["status"] for row in rows] == ["converged", "converged"]


def test_explain_names_the_forms(lake):
    steps = lake.sql("EXPLAIN FIT loss ~ auto(x) FROM curve").table.to_pylist()
    assert "a weighted mean of power, shifted_power" in steps[0]["detail"]


def test_best_of_leaves_out_what_the_rows_do_not_determine(lake):
    answer = lake.sql(
        "EXTRAPOLATE BEST OF (loss ~ power(x)), (loss ~ bounded_power(x)) FROM curve TO x = 1e7 WITH (resamples = 40)"
    )
    (row,) = answer.table.to_pylist()
    assert row["lower"] < 1.5 + 40 / 1e7**0.3 < row["upper"]
    assert "bounded_power(x) has no weight: the rows show no upper bound" in answer.notes
    assert any(note.startswith("power(x) 100%") for note in answer.notes)


@pytest.mark.parametrize(
    ("statement", "place", "message"),
    [
        ("FIT loss ~ auto FROM curve", "auto", "auto does not say what it reads"),
        ("FIT loss ~ auto(x, half, loss) FROM curve", "auto(x, half, loss)", "one input or two, got 3"),
        ("FIT loss ~ auto(x) PARAMETERS (E > 0) FROM curve", "E > 0", "coefficients of several forms"),
        ("FIT loss ~ auto(x) FROM curve WITH (bootstrap = 'wild')", "auto(x)", "leaves out none"),
        ("FIT loss ~ auto(x) FROM curve GROUP BY half SHARING (power_E)", "power_E", "auto is several"),
        ("COMPARE APPROACHES (loss ~ auto(x, half)) FROM curve", "APPROACHES", "auto is several"),
        ("FIT loss ~ auto(x) FROM (FROM curve LIMIT 2)", "(FROM", "needs 3 different rows"),
        (
            "EXTRAPOLATE BEST OF (loss ~ power(x)), (loss ~ power(half)) FROM curve TO x = 1, half = 1",
            "loss ~ power(half)",
            "the forms of EXTRAPOLATE BEST read",
        ),
    ],
)
def test_mistakes_are_said_with_their_place(lake, statement, place, message):
    with pytest.raises(StatementError) as caught:
        lake.sql(statement)
    assert message in str(caught.value)
    assert caught.value.start == statement.index(place)


def test_another_process_reads_the_law_from_its_forms(lake, home, tmp_path):
    expected = only(lake, "EXTRAPOLATE best TO x = 1e7")["predicted_loss"]
    lake.sql("CREATE LAW again AS FIT loss ~ auto(x) FROM curve WITH (resamples = 20)")
    with isoflop.open(home, read_only=True) as other:
        assert only(other, "EXTRAPOLATE best TO x = 1e7")["predicted_loss"] == expected


def test_it_is_among_the_forms_once_for_each_number_of_inputs(lake):
    rows = lake.sql("SHOW LAW FORMS LIKE 'auto'").table.to_pylist()
    assert [(row["form"], row["inputs"], row["target"]) for row in rows] == [
        ("auto", ["x"], "loss"),
        ("auto", ["params", "tokens"], "loss"),
    ]
    assert "power, shifted_power" in rows[0]["formula"] and "chinchilla_tied" in rows[1]["formula"]
    for row in rows:
        assert row["coefficients"][0].endswith("_weight") and "Buckland" in row["source"]


@pytest.mark.parametrize(
    ("statement", "hint"),
    [
        ("FIT loss ~ auot(x) FROM curve", "did you mean 'auto'?"),
        ("EXTRAPOLATE auto TO x = 1e7", "'auto' is a form, which has no numbers before it is fitted"),
    ],
)
def test_its_name_is_known_where_it_is_mistyped_or_misplaced(lake, statement, hint):
    with pytest.raises(StatementError) as caught:
        lake.sql(statement)
    assert hint in str(caught.value)
