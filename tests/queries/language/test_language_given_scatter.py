"""How runs scatter about a law of given coefficients: by a share of it, or by an amount where it may be negative."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError
from tests.lakes import open_here

FORM = "CREATE OR REPLACE LAW {} AS gap ~ a - b * ln(params) WITH COEFFICIENTS (a = 2, b = 1)"
REACH = NormalDist().inv_cdf(0.975)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    with open_here(tmp_path_factory.mktemp("scatter") / "lake.duckdb") as opened:
        opened.sql(FORM.format("share") + " WITH (residual_scale = 0.1)")
        opened.sql(FORM.format("amount") + " WITH (residual_scale = 0.1, scatter = 'additive')")
        yield opened


def test_an_amount_is_the_same_above_and_below_zero(lake: Lakehouse) -> None:
    answer = lake.sql("EXTRAPOLATE amount TO params = [1, 100]")
    for row, value in zip(answer.records(), (2.0, 2 - 4.605170), strict=True):
        assert row["predicted_gap"] == pytest.approx(value, rel=1e-6)
        assert row["upper"] - value == pytest.approx(0.1 * REACH, rel=0.02)
        assert value - row["lower"] == pytest.approx(0.1 * REACH, rel=0.02)
    assert not [note for note in answer.notes if "zero or less" in note]


def test_a_share_of_what_is_negative_is_no_interval(lake: Lakehouse) -> None:
    answer = lake.sql("EXTRAPOLATE share TO params = [1, 100]")
    above, below = answer.records()
    assert above["lower"] < above["predicted_gap"] < above["upper"]
    assert below["predicted_gap"] == pytest.approx(2 - 4.605170) and below["lower"] is below["upper"] is None
    assert [note for note in answer.notes if note.startswith("1 of 2 predictions of law 'share' are zero or less")]
    (alone,) = lake.sql("EXTRAPOLATE share TO params = 100").records()
    assert alone["lower"] is None


def test_the_functions_say_the_same(lake: Lakehouse) -> None:
    (row,) = lake.sql("SELECT share(100), share_lower(100), share_lower(1) < 2, amount_lower(100), amount(100)").rows()
    assert row[:3] == (pytest.approx(2 - 4.605170), None, True)
    assert row[4] - row[3] == pytest.approx(0.1 * REACH, rel=0.02)


def test_residuals_are_differences_where_the_scatter_is_one(lake: Lakehouse) -> None:
    (row,) = lake.sql("RESIDUALS amount FROM (SELECT 100 AS params, -2.5 AS gap)").records()
    assert row["residual"] == pytest.approx(-2.5 - (2 - math.log(100)))
    assert row["std_residual"] == pytest.approx(10 * row["residual"])


@pytest.mark.parametrize(
    ("options", "place", "said"),
    [
        ("scatter = 'additive'", "scatter", "scatter says what residual_scale is, and there is none"),
        ("residual_scale = 1, scatter = 'factor'", "'factor'", "'relative' or 'additive'"),
    ],
)
def test_what_cannot_be_meant_is_refused(lake: Lakehouse, options: str, place: str, said: str) -> None:
    text = f"{FORM.format('wrong')} WITH ({options})"
    with pytest.raises(StatementError) as refused:
        lake.sql(text)
    assert said in refused.value.message and text[refused.value.start : refused.value.end] == place


def test_rows_of_any_sign_are_counted_together(lake: Lakehouse) -> None:
    rows = (
        "(SELECT 1e6 * (1 + i) AS params, CASE WHEN i < 20 THEN 'a' ELSE 'b' END AS corpus, "
        "3 - 0.2 * ln(params) + 0.01 * (i % 3) AS gap FROM range(30) r(i))"
    )
    answer = lake.sql(
        f"FIT gap ~ a - b * ln(params) PARAMETERS (a, b > 0) FROM {rows} "
        "WITH (objective = 'huber_plain', resamples = 0)"
    )
    (note,) = [note for note in answer.notes if "corpora" in note]
    assert note.startswith("the 30 rows are of 2 corpora (a 20, b 10)")


ROWS = "(SELECT i, 2.0 ** i AS params, 2 - i * ln(2) + 0.1 * ((i * 7) % 5 - 2) AS gap FROM range(12) r(i))"
FITTED = "(gap ~ a - b * ln(params) PARAMETERS (a, b > 0))"


def test_compare_scores_an_amount_by_differences_of_values_of_any_sign(lake: Lakehouse) -> None:
    rows = {row["law"]: row for row in lake.sql(f"COMPARE amount, share FROM {ROWS} WHERE gap > 0 WITH "
                                                "(objective = 'huber_log')").records()}  # fmt: skip
    assert rows["amount"]["aicc"] == rows["share"]["aicc"]  # what is named holds for all
    answer = lake.sql(f"COMPARE amount, {FITTED} FROM {ROWS} KFOLD 3 WITH (objective = 'huber_plain', resamples = 0)")
    assert not [note for note in answer.notes if "not positive" in note or "of 12 rows" in note]
    (row,) = lake.sql(f"COMPARE amount FROM {ROWS} HOLDOUT LARGEST 4 BY params").records()
    gaps = [0.1 * abs((i * 7) % 5 - 2) for i in range(8, 12)]
    sizes = [abs(2 - i * math.log(2) + 0.1 * ((i * 7) % 5 - 2)) for i in range(8, 12)]
    assert row["cv_mape"] == pytest.approx(sum(gaps) / sum(sizes))
    assert row["cv_coverage"] == pytest.approx(sum(gap < 0.1 * REACH for gap in gaps) / 4)
    assert row["status"] == "given" and math.isfinite(row["aicc"])


def test_compare_refuses_an_amount_beside_what_is_judged_by_logarithms(lake: Lakehouse) -> None:
    for other in ("share", "(gap ~ power(params))"):
        with pytest.raises(StatementError, match="whose criteria do not compare"):
            lake.sql(f"COMPARE amount, {other} FROM {ROWS}")


def test_an_amount_is_judged_as_a_fit_of_the_same_numbers(lake: Lakehouse) -> None:
    text = f"COMPARE amount, (gap ~ a - b * ln(params) PARAMETERS (a FIXED 2, b > 0)) FROM {ROWS}"
    given, fitted = sorted(
        lake.sql(f"{text} WITH (objective = 'least_squares', resamples = 0)").records(), key=lambda row: row["k"]
    )
    left = [0.1 * ((i * 7) % 5 - 2) for i in range(12)]
    slope = 1 - sum(i * math.log(2) * each for i, each in enumerate(left)) / sum(
        (i * math.log(2)) ** 2 for i in range(12)
    )
    best = [each + (slope - 1) * i * math.log(2) for i, each in enumerate(left)]
    gain = 12 * math.log(sum(each**2 for each in left) / sum(each**2 for each in best))  # of -2 log likelihood
    spare = (2 + 2 * 1 * 2 / 10) - (4 + 2 * 2 * 3 / 9)  # AICc's price of one number and the scale, and of the scale
    assert given["aicc"] - fitted["aicc"] == pytest.approx(gain + spare, abs=1e-6)
