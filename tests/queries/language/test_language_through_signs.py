"""EXTRAPOLATE … THROUGH laws of targets of any sign, and through laws of which one has no errors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from isoflop.lakehouse import Lakehouse
from tests.lakes import open_here

ROWS = (
    "CREATE TABLE d AS SELECT k / 10.0 + 2 AS loss, 1.0 - 0.4 * (k / 10.0 + 2) + 0.01 * sin(k * 7) AS acc, acc + 5 AS "
    "high, 2 * acc AS twice FROM range(1, 31) t(k)"
)
LINE = "PARAMETERS (a IN [-5, 10], b IN [0, 5]) FROM d WITH (objective = '{}', resamples = 100)"
GIVEN = "CREATE LAW g AS chinchilla(params, tokens) WITH COEFFICIENTS (E = 1.69, A = 406.4, B = 410.7, alpha = 0.34, "
AT = "TO params = 1B, tokens = 20B"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake with a given law `g` of the loss, and laws that take it: `acc` and `high` scatter by amounts."""
    with open_here(tmp_path_factory.mktemp("lake") / "signs.duckdb") as opened:
        opened.sql(ROWS)
        opened.sql(f"CREATE LAW acc AS FIT acc ~ a - b * loss {LINE.format('least_squares')}")
        opened.sql(f"CREATE LAW high AS FIT high ~ a - b * loss {LINE.format('huber_plain')}")
        errors = "beta = 0.28) STANDARD ERRORS (E = 0.01) WITH (residual_scale = 0.005)"
        opened.sql(f"{GIVEN}{errors}")
        opened.sql("CREATE LAW twice AS FIT twice ~ c * acc PARAMETERS (c IN [-9, 9]) FROM d "
                   "WITH (objective = 'least_squares', resamples = 50)")  # fmt: skip
        opened.sql("CREATE LAW bare AS q ~ a + b * acc WITH COEFFICIENTS (a = 1, b = 2)")
        yield opened


@pytest.mark.parametrize("law", ["acc", "high"])
def test_a_law_whose_runs_scatter_by_an_amount_holds_its_prediction_and_is_wider(lake: Lakehouse, law: str) -> None:
    (row,) = lake.sql(f"EXTRAPOLATE g THROUGH {law} {AT}").records()
    (alone,) = lake.sql(f"EXTRAPOLATE {law} TO loss = {row['predicted_loss']!r}").records()
    assert row[f"predicted_{law}"] == pytest.approx(alone[f"predicted_{law}"], rel=1e-9)
    assert row["lower"] < alone["lower"] < row[f"predicted_{law}"] < alone["upper"] < row["upper"]
    half = [0.5 * (one["upper"] - one["lower"]) for one in (row, alone)]
    loss = 0.4 * 0.5 * (row["loss_upper"] - row["loss_lower"])  # the slope of the second law is 0.4
    assert half[0] == pytest.approx(np.hypot(half[1], loss), rel=0.05)


def test_beyond_the_rows_there_is_an_interval(lake: Lakehouse) -> None:
    answer = lake.sql("EXTRAPOLATE g THROUGH acc TO params = 70B, tokens = 1.4T")
    (row,) = answer.records()
    (alone,) = lake.sql(f"EXTRAPOLATE acc TO loss = {row['predicted_loss']!r}").records()
    assert not alone["in_support"]
    assert row["lower"] < alone["lower"] < row["predicted_acc"] < alone["upper"] < row["upper"]


def test_a_first_law_that_scatters_by_an_amount_is_carried(lake: Lakehouse) -> None:
    (row,) = lake.sql("EXTRAPOLATE acc THROUGH twice TO loss = 2.6").records()
    assert row["lower"] < row["predicted_twice"] < row["upper"]
    assert row["upper"] - row["lower"] == pytest.approx(2 * (row["acc_upper"] - row["acc_lower"]), rel=0.1)


def test_a_last_law_without_errors_leaves_the_interval_of_the_one_before(lake: Lakehouse) -> None:
    answer = lake.sql(f"EXTRAPOLATE g THROUGH acc, bare {AT}")
    (row,), (short,) = answer.records(), lake.sql(f"EXTRAPOLATE g THROUGH acc {AT}").records()
    assert (row["acc_lower"], row["acc_upper"]) == (short["lower"], short["upper"])
    assert row["lower"] is None and row["predicted_q"] == pytest.approx(1 + 2 * row["predicted_acc"])
    assert any("law 'bare' has no stated uncertainty" in note for note in answer.notes)
    assert any("pairs of resamples, 1000 of law 'g' and 100 of law 'acc'" in note for note in answer.notes)


def test_a_point_whose_pairs_leave_the_next_law_says_why_it_has_no_interval(lake: Lakehouse) -> None:
    lake.sql("CREATE LAW root AS r ~ a * sqrt(acc) WITH COEFFICIENTS (a = 1) STANDARD ERRORS (a = 0.1) "
             "WITH (residual_scale = 0.01)")  # fmt: skip
    answer = lake.sql("EXTRAPOLATE acc THROUGH root TO loss = [2.2, 2.495]")
    inside, edge = answer.records()
    assert inside["lower"] < inside["predicted_r"] < inside["upper"]
    assert edge["predicted_r"] > 0 and edge["lower"] is None and edge["upper"] is None
    assert any(note.startswith("1 of 2 points have no interval behind a law") for note in answer.notes)


def test_a_law_whose_runs_have_no_stated_scatter_has_an_interval_of_its_curve_alone(lake: Lakehouse) -> None:
    lake.sql("CREATE LAW curve AS v ~ a * acc WITH COEFFICIENTS (a = 3) STANDARD ERRORS (a = 0.1)")
    answer = lake.sql("EXTRAPOLATE acc THROUGH curve TO loss = 2.3")
    (row,) = answer.records()
    assert row["lower"] is None and row["acc_lower"] is not None
    assert any("'curve' has no stated residual_scale, so only its curve" in note for note in answer.notes)
    assert not any("pairs of resamples" in note for note in answer.notes)
    (sure,) = lake.sql("EXTRAPOLATE acc THROUGH curve TO loss = 2.3 WITH (interval = 'confidence')").records()
    assert sure["lower"] < sure["predicted_v"] < sure["upper"]
