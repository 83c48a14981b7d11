"""A target of any sign: fitted on plain residuals, with scatter and intervals that are differences in its unit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from isoflop.cli.plot.command import figure_of
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError
from isoflop.queries.fitting.fit import fit_law
from isoflop.queries.fitting.intervals import predict
from isoflop.queries.laws import Coefficient, Law, PlainHuber, PlainSquares, parse_formula
from tests.lakes import open_here

FORM = (
    "A / (params / 1e6) ^ alpha + B / (tokens / 1e9) ^ beta - E "
    "PARAMETERS (A > 0, B > 0, E > 0, alpha IN [0, 2], beta IN [0, 2])"
)
FIT = f"FIT score ~ {FORM} FROM runs_of_any_sign"
PLAIN = "WITH (objective = 'least_squares', resamples = 100)"
PLANTED = {"A": 3.0, "B": 2.0, "E": 5.5, "alpha": 0.3, "beta": 0.4}
NOISE = 0.01  # of the score, in its unit
SIZES = np.array([3e6, 1e7, 3e7, 1e8, 3e8])
AMOUNTS = np.array([1e8, 3e8, 1e9, 3e9, 1e10])
FURTHER = "params = 1e10, tokens = 1e11"


def score_of(params: Any, tokens: Any) -> Any:
    """The planted law."""
    p = PLANTED
    return p["A"] / (params / 1e6) ** p["alpha"] + p["B"] / (tokens / 1e9) ** p["beta"] - p["E"]


def rows_of(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """25 rows of a world, and its scores."""
    params, tokens = (axis.ravel() for axis in np.meshgrid(SIZES, AMOUNTS, indexing="ij"))
    noise = NOISE * np.random.default_rng(seed).standard_normal(params.size)
    return np.column_stack([params, tokens]), score_of(params, tokens) + noise


def law_of() -> Law:
    """The law that was planted, with its coefficients free."""
    names = {"A": (0.0, np.inf), "B": (0.0, np.inf), "E": (0.0, np.inf), "alpha": (0.0, 2.0), "beta": (0.0, 2.0)}
    coefficients = [Coefficient(name, lower=low, upper=high) for name, (low, high) in names.items()]
    return parse_formula(FORM.partition(" PARAMETERS")[0], coefficients, ["params", "tokens"], target="score")


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake with rows of both signs, the same rows moved above zero, and the law `any_sign`."""
    inputs, score = rows_of(0)
    table = pa.table({"params": inputs[:, 0], "tokens": inputs[:, 1], "score": score, "size": inputs[:, 0] > 5e7})
    with open_here(tmp_path_factory.mktemp("signs") / "lake.duckdb") as lake:
        lake.sql("CREATE TABLE runs_of_any_sign AS FROM planted_rows", relations={"planted_rows": table})
        lake.sql("CREATE TABLE above AS SELECT * REPLACE (score + 6 AS score) FROM runs_of_any_sign")
        lake.sql(f"CREATE LAW any_sign AS {FIT} {PLAIN}")
        yield lake


@pytest.mark.parametrize("objective", ["least_squares", "huber_plain"])
def test_all_rows_are_fitted_and_the_planted_coefficients_come_out(signed: Lakehouse, objective: str) -> None:
    (row,) = signed.sql(f"{FIT} WITH (objective = '{objective}', resamples = 0)").records()
    assert row["rows"] == 25 and row["dropped"] == 0 and row["status"] == "converged"
    assert row["rmse_log"] is None and row["r2"] > 0.999
    assert any(note.startswith("additive: score is zero or less in") for note in row["notes"])
    for name, value in PLANTED.items():
        assert row["coefficients"][name] == pytest.approx(value, rel=0.03)


def test_the_objective_is_the_sum_of_squares_in_the_targets_unit(signed: Lakehouse) -> None:
    (row,) = signed.sql(f"{FIT} {PLAIN}").records()
    residuals = np.array(signed.sql("RESIDUALS any_sign").table.column("residual").to_pylist())
    assert row["objective"] == pytest.approx(0.5 * float(residuals @ residuals), rel=1e-9)
    assert row["objective"] == pytest.approx(0.5 * 25 * NOISE**2, rel=0.6)


def test_a_logarithmic_objective_says_first_what_to_type(signed: Lakehouse) -> None:
    answer = signed.sql(f"{FIT} WITH (resamples = 0)")
    assert "score is zero or less" in answer.notes[0]
    assert "WITH (objective = 'least_squares') fits a target of any sign" in answer.notes[0]
    with pytest.raises(StatementError, match="25 dropped because score is zero or less") as caught:
        signed.sql(f"FIT score ~ {FORM} FROM (SELECT * REPLACE (score - 9 AS score) FROM runs_of_any_sign)")
    assert caught.value.hint == "WITH (objective = 'least_squares') fits a target of any sign"


def test_other_reasons_to_drop_rows_do_not_name_an_objective(signed: Lakehouse) -> None:
    source = "(SELECT * REPLACE (CASE WHEN params > 5e6 THEN score END AS score) FROM above)"
    notes = signed.sql(f"FIT score ~ {FORM} FROM {source} WITH (resamples = 0)").notes
    assert "score is NULL" in notes[0] and "least_squares" not in notes[0]


def test_missing_and_infinite_values_are_still_dropped(signed: Lakehouse) -> None:
    source = "(SELECT * REPLACE (CASE WHEN tokens < 2e8 THEN 'inf'::DOUBLE ELSE score END AS score) FROM above)"
    (row,) = signed.sql(f"FIT score ~ {FORM} FROM {source} {PLAIN}").records()
    assert row["dropped"] == 5 and row["rows"] == 20


def test_functions_agree_with_extrapolate_inside_and_beyond_the_rows(signed: Lakehouse) -> None:
    for place in (FURTHER, "params = 2e7, tokens = 2e9", "params = 1e12, tokens = 1e13"):
        (row,) = signed.sql(f"EXTRAPOLATE any_sign TO {place}").records()
        at = ", ".join(part.partition(" = ")[2] for part in place.split(", "))
        (sql,) = signed.sql(
            f"SELECT any_sign({at}) AS middle, any_sign_lower({at}) AS low, any_sign_upper({at}) AS high"
        ).records()
        for name, column in (("middle", "predicted_score"), ("low", "lower"), ("high", "upper")):
            assert sql[name] == pytest.approx(row[column], rel=1e-12)
        assert row["lower"] < row["predicted_score"] < row["upper"] < 0


def test_intervals_may_cross_zero_and_hold_the_planted_value(signed: Lakehouse) -> None:
    zero = "params = 1e7, tokens = 1.77e8"
    (row,) = signed.sql(f"EXTRAPOLATE any_sign TO {zero}").records()
    assert row["lower"] < 0 < row["upper"]
    for place, value in ((FURTHER, score_of(1e10, 1e11)), (zero, score_of(1e7, 1.77e8))):
        (row,) = signed.sql(f"EXTRAPOLATE any_sign TO {place}").records()
        assert row["lower"] < value < row["upper"]
    narrow = signed.sql(f"EXTRAPOLATE any_sign TO {zero} WITH (interval = 'confidence')").records()[0]
    wide = signed.sql(f"EXTRAPOLATE any_sign TO {zero}").records()[0]
    assert narrow["upper"] - narrow["lower"] < wide["upper"] - wide["lower"]


def test_residuals_are_differences(signed: Lakehouse) -> None:
    for row in signed.sql("RESIDUALS any_sign").records():
        assert row["residual"] == pytest.approx(row["score"] - row["predicted_score"], abs=1e-12)
        assert abs(row["std_residual"]) < 5 and 0 <= row["leverage"] <= 1
    assert len(signed.sql("RESIDUALS any_sign")) == 25


def test_verbs_that_predict_take_the_law(signed: Lakehouse) -> None:
    predicted = signed.sql("PREDICT any_sign FROM runs_of_any_sign").records()
    assert all(row["lower"] < row["predicted_score"] < row["upper"] for row in predicted)
    (kept,) = signed.sql(f"FORECAST any_sign TO {FURTHER}").records()
    assert kept["lower"] < kept["predicted_score"] < 0
    (best,) = signed.sql(
        "OPTIMIZE any_sign MINIMIZE score OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG "
        "SUBJECT TO 6 * params * tokens <= 1e21"
    ).records()
    assert best["status"] == "optimal" and best["optimum_lower"] < best["optimum"] < best["optimum_upper"] < 0
    assert 6 * best["params"] * best["tokens"] == pytest.approx(1e21, rel=1e-6)
    plan = signed.sql(
        f"DESIGN 2 RUNS FOR any_sign TO {FURTHER} OVER params IN [1e7, 1e9] LOG, tokens IN [1e9, 1e11] LOG"
    ).records()
    assert plan[0]["width_before"] > plan[0]["width_after"] > plan[1]["width_after"] > 0


def test_the_law_is_made_again_bit_for_bit(signed: Lakehouse) -> None:
    (row,) = signed.sql("REFIT LAW any_sign").records()
    assert row["bit_equal"] and not row["rows_changed"]
    assert not any("stale" in note for note in signed.sql(f"EXTRAPOLATE any_sign TO {FURTHER}").notes)


def test_folds_are_measured_in_the_targets_unit(signed: Lakehouse) -> None:
    folds = signed.sql("CROSS VALIDATE any_sign FROM runs_of_any_sign KFOLD 5 WITH (resamples = 50)").records()
    assert all(fold["rmse_log"] is None and abs(fold["bias"]) < 5 * NOISE for fold in folds)
    assert all(0 < fold["mape"] < 10 * NOISE for fold in folds)
    one = signed.sql("CROSS VALIDATE any_sign FROM runs_of_any_sign LEAVE ONE OUT WITH (resamples = 50)").records()
    assert len(one) == 25 and all(fold["status"] == "converged" for fold in one)


def test_compare_ranks_by_one_objective_and_refuses_two_scales(signed: Lakehouse) -> None:
    other = "(score ~ A / tokens ^ beta - E PARAMETERS (A > 0, E > 0, beta IN [0, 2]))"
    ranked = signed.sql(f"COMPARE any_sign, {other} FROM runs_of_any_sign {PLAIN}").records()
    assert ranked[0]["law"] == "any_sign" and ranked[1]["delta_aicc"] > 10
    held_out = "HOLDOUT LARGEST 20 PERCENT BY params"
    ranked = signed.sql(f"COMPARE any_sign, {other} FROM runs_of_any_sign {held_out} {PLAIN}").records()
    assert ranked[0]["law"] == "any_sign" and ranked[0]["cv_mape"] < ranked[1]["cv_mape"]
    with pytest.raises(StatementError, match="least_squares and huber_log, whose criteria do not compare"):
        signed.sql(f"COMPARE any_sign, {other} FROM runs_of_any_sign")


def test_an_average_lies_between_its_laws(signed: Lakehouse) -> None:
    other = "(score ~ A / tokens ^ beta - E PARAMETERS (A > 0, E > 0, beta IN [0, 2]))"
    (row,) = signed.sql(
        f"EXTRAPOLATE AVERAGE OF any_sign, {other} FROM runs_of_any_sign TO {FURTHER} {PLAIN}"
    ).records()
    assert row["lower"] < row["predicted_score"] < row["upper"] < 0


@pytest.mark.slow
@pytest.mark.parametrize("intervals", ["percentile", "profile", "jackknife"])
@pytest.mark.parametrize("bootstrap", ["auto", "case", "wild", "residual"])
def test_intervals_of_coefficients_hold_what_was_planted(signed: Lakehouse, intervals: str, bootstrap: str) -> None:
    options = f"objective = 'least_squares', resamples = 100, intervals = '{intervals}', bootstrap = '{bootstrap}'"
    (row,) = signed.sql(f"{FIT} WITH ({options}, forward = false, level = 0.99)").records()
    for name, value in PLANTED.items():
        assert row["lower"][name] < value < row["upper"][name], name


@pytest.mark.slow
def test_groups_have_each_the_scatter_of_its_rows(signed: Lakehouse) -> None:
    query = f"FIT score ~ {FORM} FROM (FROM runs_of_any_sign UNION ALL FROM above) GROUP BY score > 3.9 {PLAIN}"
    assert len(signed.sql(query)) == 2


def test_pictures_have_a_linear_axis_where_values_are_not_positive(signed: Lakehouse) -> None:
    figure = figure_of(signed, ["any_sign"])
    assert not figure.y.is_log
    assert all(type(mark).__name__ != "Floor" for mark in figure.marks)


def test_a_linear_law_is_solved_in_closed_form_with_either_sign(signed: Lakehouse) -> None:
    rows = "(SELECT i AS x, 3 - 0.5 * i AS y FROM range(20) t(i))"
    for objective in ("least_squares", "huber_plain"):
        (row,) = signed.sql(
            f"FIT y ~ a + b * x PARAMETERS (a, b) FROM {rows} WITH (objective = '{objective}', resamples = 0)"
        ).records()
        assert row["coefficients"]["a"] == pytest.approx(3, abs=1e-6)
        assert row["coefficients"]["b"] == pytest.approx(-0.5, abs=1e-7)


def test_a_plain_huber_is_not_moved_by_a_wild_row_and_squares_are(signed: Lakehouse) -> None:
    rows = "(SELECT i AS x, CASE WHEN i = 7 THEN 90 ELSE 3 - 0.5 * i + 0.01 * sin(i) END AS y FROM range(30) t(i))"
    found = {}
    for objective in ("least_squares", "huber_plain"):
        query = f"FIT y ~ a + b * x PARAMETERS (a, b) FROM {rows} WITH (objective = '{objective}', resamples = 0)"
        found[objective] = signed.sql(query).records()[0]["coefficients"]["b"]
    assert found["huber_plain"] == pytest.approx(-0.5, abs=0.005)
    assert abs(found["least_squares"] + 0.5) > 0.05


@pytest.mark.parametrize("factor", [1e-30, 1e-6, 1.0, 1e6, 1e30])
def test_the_unit_of_the_target_does_not_matter(factor: float) -> None:
    inputs, score = rows_of(3)
    law = law_of()
    for objective in (PlainSquares(), PlainHuber(1e-2)):
        plain = fit_law(law, inputs, score, objective=objective, resamples=0)
        scaled = fit_law(law, inputs, score * factor, objective=objective, resamples=0)
        assert scaled.coefficients[3:] == pytest.approx(plain.coefficients[3:], rel=1e-5)
        assert scaled.coefficients[:3] == pytest.approx(plain.coefficients[:3] * factor, rel=1e-5)
        assert scaled.objective == pytest.approx(plain.objective * factor**2, rel=1e-6)
        assert scaled.criteria.bic - plain.criteria.bic == pytest.approx(2 * 25 * np.log(factor), rel=1e-6, abs=1e-3)


def test_positive_targets_with_least_squares_keep_their_logarithmic_residuals(signed: Lakehouse) -> None:
    query = f"FIT score ~ {FORM.replace('- E', '+ E')} FROM above"
    (row,) = signed.sql(f"{query} {PLAIN}").records()
    assert row["rmse_log"] is not None and not any(note.startswith("additive") for note in row["notes"])
    (row,) = signed.sql(f"{query} WITH (objective = 'huber_plain', resamples = 0)").records()
    assert row["rmse_log"] is None and any("the unit of score" in note for note in row["notes"])


def test_laws_saved_before_scatter_was_known_are_multiplicative(signed: Lakehouse) -> None:
    signed.sql("CREATE LAW old AS FIT score ~ power(params) FROM above WITH (resamples = 20)")
    signed.write([("UPDATE store.laws SET diagnosis = json_merge_patch(diagnosis, '{\"unit\": null}') "
                   "WHERE name = 'old'", None)])  # fmt: skip
    (row,) = signed.sql("EXTRAPOLATE old TO params = 1e10").records()
    assert 0 < row["lower"] < row["upper"]


@pytest.mark.long
def test_intervals_of_many_worlds_cover_as_often_as_they_say() -> None:
    law, place = law_of(), np.array([[1e8, 3e9], [3e9, 1e11]])
    middle = score_of(place[:, 0], place[:, 1])
    inside = np.zeros((2, 200))
    for world in range(200):
        inputs, score = rows_of(1000 + world)
        found = fit_law(law, inputs, score, objective=PlainSquares(), resamples=200, forward=True, seed=world)
        new = middle + NOISE * np.random.default_rng(world).standard_normal(2)
        interval = predict(found, place, level=0.9)
        inside[:, world] = (interval.lower < new) & (new < interval.upper)
    within, beyond = inside.mean(axis=1)
    print(f"coverage at 0.9 over 200 worlds: {within:.3f} within the rows, {beyond:.3f} beyond them")
    assert within > 0.84 and beyond > 0.84  # three standard errors of a share of 200 below what is said
