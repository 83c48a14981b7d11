"""CROSS VALIDATE and COMPARE: laws judged on rows they have not seen."""

from __future__ import annotations

import pytest

from isoflop.lakehouse import Lakehouse

FOLD = [
    "fold", "n_train", "n_test", "train_max", "test_max", "mape", "rmse_log", "bias", "coverage", "status",
    "coefficients",
]  # fmt: skip
QUICK = "WITH (resamples = 40)"


def test_the_largest_are_held_out(planted: Lakehouse) -> None:
    answer = planted.sql(
        f"CROSS VALIDATE loss ~ chinchilla(params, tokens) FROM points HOLDOUT LARGEST 2 BY params {QUICK}"
    )
    (row,) = answer.records()
    assert answer.columns == FOLD
    assert (row["n_train"], row["n_test"], row["test_max"]) == (40, 20, pytest.approx(1e10))
    assert row["train_max"] == pytest.approx(10 ** (7 + 3 * 3 / 5))
    assert row["mape"] < 0.01 and 0.5 <= row["coverage"] <= 1 and row["status"] == "converged"


@pytest.mark.parametrize(
    ("split", "sizes"),
    [
        ("HOLDOUT LARGEST 20 PERCENT BY flops", [(48, 12)]),
        ("HOLDOUT LARGEST 20% BY flops", [(48, 12)]),
        ("HOLDOUT SMALLEST 1 BY tokens", [(54, 6)]),
        ("HOLDOUT LAST 1 BY corpus", [(30, 30)]),
        ("HOLDOUT LARGEST $n BY params", [(50, 10)]),
        ("KFOLD 3", [(40, 20)] * 3),
        ("KFOLD 2 BY corpus", [(30, 30)] * 2),
        ("LEAVE ONE OUT BY params", [(50, 10)] * 6),
        ("LEAVE ONE OUT", [(59, 1)] * 60),
    ],
)
def test_every_way_to_split(planted: Lakehouse, split: str, sizes: list[tuple[int, int]]) -> None:
    parameters = {"n": 1} if "$n" in split else None
    answer = planted.sql(f"CROSS VALIDATE loss ~ power(params) FROM points {split} WITH (resamples = 0)", parameters)
    assert [(row["n_train"], row["n_test"]) for row in answer.records()] == sizes


def test_a_saved_law_is_fitted_again(planted: Lakehouse) -> None:
    by_name = planted.sql(f"CROSS VALIDATE chin FROM points HOLDOUT LARGEST 2 BY params {QUICK}").records()
    typed = planted.sql(
        f"CROSS VALIDATE loss ~ chinchilla(params, tokens) FROM points HOLDOUT LARGEST 2 BY params {QUICK}"
    ).records()
    assert by_name == typed


def test_rows_without_a_value_to_split_by_are_dropped(planted: Lakehouse) -> None:
    answer = planted.sql(
        "CROSS VALIDATE loss ~ power(params) FROM points HOLDOUT LARGEST 1 BY nullif(id, 3) WITH (resamples = 0)"
    )
    assert answer.notes[0] == "dropped 1 of 60 rows: nullif(id, 3) is NULL (1)"


def test_folds_are_rows_to_query(planted: Lakehouse) -> None:
    text = "SELECT max(mape) < 0.01, count(*) FROM (CROSS VALIDATE chin FROM points KFOLD 4 WITH (resamples = 0))"
    assert planted.sql(text).rows() == [(True, 4)]


def test_compare_ranks_by_the_rows_held_out(planted: Lakehouse) -> None:
    answer = planted.sql(
        f"COMPARE (loss ~ power(params)), chin, (loss ~ E + A / tokens ^ a PARAMETERS (E > 0, A > 0, a > 0)) "
        f"FROM points HOLDOUT LARGEST 2 BY params {QUICK}"
    )
    assert answer.columns == ["rank", "law", "k", "aicc", "cv_mape", "cv_coverage", "delta_aicc", "weight", "status"]
    best = answer.records()[0]
    assert (best["rank"], best["law"], best["k"], best["delta_aicc"]) == (1, "chin", 5, 0.0)
    assert best["weight"] == pytest.approx(1.0) and best["cv_mape"] < 0.01
    assert {row["law"] for row in answer.records()} == {
        "chin",
        "power(params)",
        "E + A / tokens ^ a PARAMETERS (E > 0, A > 0, a > 0)",
    }


def test_compare_without_a_holdout_ranks_by_the_criterion(planted: Lakehouse) -> None:
    rows = planted.sql("COMPARE (loss ~ power(params)), (loss ~ kaplan(params, tokens)), chin FROM points").records()
    assert rows[0]["law"] == "chin" and [row["cv_mape"] for row in rows] == [None] * 3
    assert [row["aicc"] for row in rows] == sorted(row["aicc"] for row in rows)


def test_candidates_are_fitted_to_the_rows_that_all_can_use(planted: Lakehouse) -> None:
    answer = planted.sql("COMPARE (loss ~ power(params)), (loss ~ power(tokens)) FROM holes")
    assert answer.notes[0].startswith("dropped 4 of 60 rows: ") and "tokens is zero or less (1)" in answer.notes[0]
