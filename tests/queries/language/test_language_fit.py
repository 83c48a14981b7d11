"""FIT: planted coefficients come back, and every row that is not used is counted."""

from __future__ import annotations

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError

PLANTED = {"E": 1.7, "A": 400.0, "B": 410.0, "alpha": 0.34, "beta": 0.28}
GLANCE = [
    "law", "form", "rows", "dropped", "objective", "r2", "rmse_log", "aicc", "bic", "condition", "status", "notes",
    "coefficients", "support",
]  # fmt: skip
TYPED = (
    "FIT loss ~ E + A / params ^ alpha + B / tokens ^ beta\n"
    "    PARAMETERS (E IN [0, 3], A > 0, B > 0, alpha IN [0, 1] INIT 0.35, beta IN [0, 1])\n"
    "FROM points WITH (resamples = 0)"
)


def one(lake: Lakehouse, text: str, parameters=None) -> dict:
    (row,) = lake.sql(text, parameters).records()
    return row


@pytest.mark.parametrize("text", ["FIT loss ~ chinchilla(params, tokens) FROM points WITH (resamples = 0)", TYPED])
def test_planted_coefficients_come_back(planted: Lakehouse, text: str) -> None:
    row = one(planted, text)
    assert row["status"] == "converged" and row["rows"] == 60 and row["dropped"] == 0
    assert row["coefficients"]["E"] == pytest.approx(PLANTED["E"], abs=0.02)
    assert row["coefficients"]["alpha"] == pytest.approx(PLANTED["alpha"], abs=0.01)
    assert row["coefficients"]["beta"] == pytest.approx(PLANTED["beta"], abs=0.01)


def test_a_typed_formula_and_the_law_of_that_shape_have_one_optimum(planted: Lakehouse) -> None:
    typed = one(planted, TYPED)
    built_in = one(planted, "FIT loss ~ chinchilla(params, tokens) FROM points WITH (resamples = 0)")
    assert typed["objective"] == pytest.approx(built_in["objective"], rel=1e-9)
    assert typed["form"] == "E + A / params ^ alpha + B / tokens ^ beta" and built_in["form"] == "chinchilla"


def test_the_columns_of_a_fit(planted: Lakehouse) -> None:
    answer = planted.sql("FIT loss ~ chinchilla(params, tokens) FROM points WITH (resamples = 0)")
    assert answer.columns == GLANCE
    support = answer.records()[0]["support"]
    assert support["params"] == {"lowest": pytest.approx(1e7), "largest": pytest.approx(1e10)}


def test_one_fit_for_each_group(planted: Lakehouse) -> None:
    answer = planted.sql("FIT loss ~ power(params) FROM points GROUP BY corpus, id % 2 WITH (resamples = 0)")
    assert answer.columns == ["corpus", "id % 2", *GLANCE]
    assert [(row["corpus"], row["id % 2"], row["rows"]) for row in answer.records()] == [
        ("books", 0, 30),
        ("web", 1, 30),
    ]


def test_a_group_that_cannot_be_fitted_is_a_row_that_says_so(planted: Lakehouse) -> None:
    text = "FIT loss ~ power(params) FROM holes WHERE id < 20 GROUP BY id < 1 AS_ WITH (resamples = 0)"
    answer = planted.sql(text.replace(" AS_", ""))
    by_group = {row["id < 1"]: row for row in answer.records()}
    assert by_group[True]["status"] == "too_few_rows" and by_group[True]["dropped"] == 1
    assert by_group[True]["coefficients"] is None or by_group[True]["coefficients"]["E"] is None
    assert by_group[False]["rows"] == 17
    assert "group 'true' has no usable row" in answer.notes


def test_dropped_rows_are_counted_with_their_reasons(planted: Lakehouse) -> None:
    answer = planted.sql("FIT loss ~ chinchilla(params, tokens) FROM holes WITH (resamples = 0)")
    row = answer.records()[0]
    assert (row["rows"], row["dropped"]) == (56, 4)
    assert answer.notes[0] == (
        "dropped 4 of 60 rows: loss is NULL (1), loss is NaN (1), loss is zero or less (1), "
        "tokens is zero or less (1); WITH (objective = 'least_squares') fits a target of any sign"
    )


def test_columns_may_be_expressions(planted: Lakehouse) -> None:
    plain = one(planted, "FIT loss ~ chinchilla(params, tokens) FROM points WITH (resamples = 0)")
    derived = one(planted, "FIT loss ~ chinchilla(params, flops / (6 * params)) FROM points WITH (resamples = 0)")
    assert derived["objective"] == pytest.approx(plain["objective"], rel=1e-6)
    assert list(derived["support"]) == ["params", "flops / (6 * params)"]


def test_a_target_may_be_an_expression_with_a_name(planted: Lakehouse) -> None:
    text = (
        "FIT loss - 1.7 AS excess ~ A / params ^ a PARAMETERS (A > 0, a > 0) "
        "FROM points WHERE tokens > 5e11 WITH (resamples = 0)"
    )
    assert one(planted, text)["coefficients"]["a"] > 0.2
    answer = planted.sql(f"EXTRAPOLATE ({text}) TO params = 1e11")
    assert "predicted_excess" in answer.columns


def test_qualified_columns_and_comments_in_a_formula(planted: Lakehouse) -> None:
    row = one(
        planted,
        "FIT p.loss ~ E /* floor */ + A / p.params ^ alpha -- size\n + B / q.tokens ^ beta "
        "PARAMETERS (E > 0, A > 0, B > 0, alpha > 0, beta > 0) "
        "FROM points p JOIN points q USING (id) WITH (resamples = 0)",
    )
    assert row["form"] == "E + A / params ^ alpha + B / tokens ^ beta"
    assert list(row["support"]) == ["params", "tokens"]


def test_a_weight_of_two_counts_as_two_rows(planted: Lakehouse) -> None:
    weighted = one(planted, "FIT loss ~ power(params) FROM points WEIGHT BY 1 + id % 2 WITH (resamples = 0)")
    doubled = one(
        planted,
        "FIT loss ~ power(params) FROM (FROM points UNION ALL FROM points WHERE id % 2 = 1) WITH (resamples = 0)",
    )
    assert weighted["objective"] == pytest.approx(doubled["objective"], rel=1e-6)


def test_weights_of_zero_or_less_drop_the_row(planted: Lakehouse) -> None:
    answer = planted.sql("FIT loss ~ power(params) FROM points WEIGHT BY id - 1 WITH (resamples = 0)")
    assert answer.records()[0]["dropped"] == 2 and "the weight is zero or less (2)" in answer.notes[0]


def test_parameters_fix_and_bound_the_coefficients_of_a_law(planted: Lakehouse) -> None:
    row = one(
        planted,
        "FIT loss ~ power(params) PARAMETERS (alpha IN [0.1, 0.2], E FIXED 1.5) FROM points WITH (resamples = 0)",
    )
    assert row["coefficients"]["E"] == 1.5 and 0.1 <= row["coefficients"]["alpha"] <= 0.2


def test_bounds_may_be_expressions_and_parameters(planted: Lakehouse) -> None:
    parameters = "E FIXED 1 + $half, alpha IN [0.1, 1 / 5]"
    text = f"FIT loss ~ power(params) PARAMETERS ({parameters}) FROM points WITH (resamples = 0)"
    assert one(planted, text, {"half": 0.5})["coefficients"]["E"] == 1.5


def test_power_is_the_function_when_its_argument_is_a_parameter(planted: Lakehouse) -> None:
    row = one(planted, "FIT loss ~ power(params / 1e30, b) PARAMETERS (b < 0) FROM points WITH (resamples = 0)")
    assert row["form"] == "power(params / 1e30, b)"


def test_options_change_the_fit(planted: Lakehouse) -> None:
    huber = one(planted, "FIT loss ~ power(params) FROM points WITH (delta = 1e-2, resamples = 0)")
    squares = one(planted, "FIT loss ~ power(params) FROM points WITH (objective = 'least_squares_log', resamples = 0)")
    assert huber["objective"] != squares["objective"]


def test_a_fit_that_the_rows_do_not_determine_says_so(planted: Lakehouse) -> None:
    answer = planted.sql("FIT loss ~ chinchilla(params, tokens) FROM points WHERE id < 10 WITH (resamples = 0)")
    assert answer.records()[0]["status"] == "singular"
    assert any("params" in note for note in answer.notes)


def test_resampling_by_cluster_takes_whole_groups(planted: Lakehouse) -> None:
    fit = "FIT loss ~ power(params) FROM points WITH (resamples = 60"
    planted.sql(f"CREATE OR REPLACE LAW rows_drawn AS {fit})")
    planted.sql(f"CREATE OR REPLACE LAW groups_drawn AS {fit}, cluster = tokens)")
    errors = [planted.sql(f"DESCRIBE LAW {name}").records()[2]["std_error"] for name in ("rows_drawn", "groups_drawn")]
    assert errors[0] != errors[1]


def test_fit_keeps_nothing(planted: Lakehouse) -> None:
    before = planted.query("SELECT count(*) AS n FROM store.laws").to_pylist()
    planted.sql("FIT loss ~ power(params) FROM points WITH (resamples = 0)")
    assert planted.query("SELECT count(*) AS n FROM store.laws").to_pylist() == before


def test_files_are_sources(planted: Lakehouse, tmp_path) -> None:
    file = tmp_path / "points.csv"
    planted.sql(f"COPY points TO '{file}'")
    assert one(planted, f"FIT loss ~ power(params) FROM '{file}' WITH (resamples = 0)")["rows"] == 60


def test_an_error_in_a_file_points_at_the_source(planted: Lakehouse, tmp_path) -> None:
    file = tmp_path / "broken.csv"
    file.write_text("params,loss\n1,2,3\n'x")
    with pytest.raises(StatementError) as caught:
        planted.sql(
            f"FIT loss ~ power(params) FROM read_csv('{file}', columns = {{'params': 'DOUBLE', 'loss': 'DOUBLE'}})"
        )
    assert "LINE 1: FIT loss" in str(caught.value)


def test_integers_decimals_and_huge_integers_are_numbers(planted: Lakehouse) -> None:
    points = "SELECT (params * 1e15)::HUGEINT AS n, loss::DECIMAL(10, 6) AS loss FROM points"
    text = f"FIT loss ~ power(n) FROM ({points}) WITH (resamples = 0)"
    assert one(planted, text)["rows"] == 60


def test_explaining_a_fit_fits_nothing(planted: Lakehouse) -> None:
    answer = planted.sql(f"EXPLAIN {TYPED}")
    steps = dict(answer.rows())
    assert steps["law"] == "loss ~ E + A / params ^ alpha + B / tokens ^ beta"
    assert steps["coefficient alpha"] == "exponent, 0 to 1, first tried at 0.35" and steps["rows"] == "60 of 60"


def test_unfinished_runs_are_pointed_out(lakehouse: Lakehouse) -> None:
    for width in (1, 2, 3, 4):
        with lakehouse.run("mine", {"width": width}, params=10.0**width, tokens=1e9) as run:
            run.log(step=1, loss=2 + 1 / width)
    with pytest.raises(MemoryError), lakehouse.run("mine", {"width": 9}, params=1e9, tokens=1e9) as run:
        run.log(step=1, loss=2.0)
        raise MemoryError
    answer = lakehouse.sql("FIT loss ~ power(params) FROM runs WITH (resamples = 0)")
    assert "1 of 5 rows are of unfinished runs; WHERE status = 'finished' leaves them out" in answer.notes
    answer = lakehouse.sql("FIT loss ~ power(params) FROM runs WHERE status = 'finished' WITH (resamples = 0)")
    assert not any("unfinished" in note for note in answer.notes)


def test_the_order_in_which_rows_are_stored_changes_nothing(lakehouse: Lakehouse) -> None:
    """Resamples are drawn by row number, so rows are read in an order of their own."""
    lakehouse.query(
        "CREATE TABLE up AS SELECT 10.0 ** (5 + i / 5.0) AS x, 1.5 + 40 / x ** 0.3 * (1 + 0.01 * sin(i * i)) AS loss "
        "FROM range(30) t(i) ORDER BY x"
    )
    lakehouse.query("CREATE TABLE down AS FROM up ORDER BY x DESC")
    for name in ("up", "down"):
        lakehouse.sql(f"CREATE LAW from_{name} AS FIT loss ~ power(x) FROM {name} WITH (resamples = 50)")
    up, down = (lakehouse.sql(f"DESCRIBE LAW from_{name}").rows() for name in ("up", "down"))
    assert up == down


@pytest.mark.parametrize(
    "text",
    [
        "FIT loss ~ power(params) FROM points WITH (cluster = (corpus, id % 3), resamples = 5)",
        "FIT loss ~ power(params) FROM points WITH (cluster = [corpus], resamples = 5)",
        "FIT loss ~ power(params) FROM points WITH (cluster = {'a': corpus, 'b': {'c': id % 2}}, resamples = 5)",
        "FIT loss ~ power(params) FROM points GROUP BY (corpus, 1) WITH (resamples = 0)",
        "CROSS VALIDATE loss ~ power(params) FROM points HOLDOUT LARGEST 20 PERCENT BY (params, tokens)",
        "CROSS VALIDATE loss ~ power(params) FROM points KFOLD 3 BY (params, tokens)",
    ],
)
def test_tuples_lists_and_structs_are_keys(planted: Lakehouse, text: str) -> None:
    answer = planted.sql(text)
    assert len(answer) and "nan" not in repr(answer).lower()
