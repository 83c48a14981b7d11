"""How sure laws of given coefficients are: standard errors, a covariance, the scatter of a run, or nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isoflop.lakehouse import Lakehouse
from tests.queries.language.given_laws import COEFFICIENTS, NUMBERS, PLACE, loss, message, one


def test_without_errors_there_is_no_interval_and_that_is_said(given: Lakehouse) -> None:
    answer = given.sql(f"EXTRAPOLATE paper TO {PLACE}")
    row = answer.records()[0]
    assert row["predicted_loss"] == pytest.approx(loss(7e10, 1.4e12), rel=1e-12)
    assert [row[name] for name in ("lower", "upper", "in_support")] == [None] * 3
    assert row["ratio"] == {"params": None, "tokens": None}
    assert any("no stated uncertainty" in note for note in answer.notes)
    assert any("how far beyond its rows" in note for note in answer.notes)
    assert one(given, "SELECT paper_lower(7e10, 1.4e12) AS low")["low"] is None


def test_standard_errors_and_scatter_make_both_intervals(given: Lakehouse) -> None:
    # By hand: E moves a prediction by 0.01, alpha by 0.0005 A ln(N) / N^alpha; a run scatters by 0.02 of it.
    at = loss(7e10, 1.4e12)
    by_alpha = 0.0005 * NUMBERS["A"] * np.log(7e10) / 7e10 ** NUMBERS["alpha"]
    curve, run = np.hypot(0.01, by_alpha), 0.02 * at
    for kind, sigma in (("confidence", curve), ("prediction", np.hypot(curve, run))):
        row = one(given, f"EXTRAPOLATE sure TO {PLACE} WITH (interval = '{kind}')")
        assert (row["upper"] - row["lower"]) / 2 == pytest.approx(1.96 * sigma, rel=0.08)  # of 1000 draws
        assert row["lower"] < at < row["upper"]
    ends = one(given, "SELECT sure_lower(7e10, 1.4e12) AS low, sure_upper(7e10, 1.4e12) AS high")
    row = one(given, f"EXTRAPOLATE sure TO {PLACE}")
    assert (ends["low"], ends["high"]) == pytest.approx((row["lower"], row["upper"]), rel=1e-9)


def test_scatter_alone_makes_the_interval_of_a_run_and_none_of_the_curve(planted: Lakehouse) -> None:
    planted.sql(f"CREATE LAW made AS chinchilla {COEFFICIENTS} WITH (residual_scale = 0.02)")
    row = one(planted, f"EXTRAPOLATE made TO {PLACE}")
    assert np.log(row["upper"] / row["lower"]) / 2 == pytest.approx(1.96 * 0.02, rel=0.02)
    assert one(planted, f"EXTRAPOLATE made TO {PLACE} WITH (interval = 'confidence')")["lower"] is None
    planted.sql("DROP LAW made")


def test_errors_alone_make_the_interval_of_the_curve_and_none_of_a_run(planted: Lakehouse) -> None:
    planted.sql(f"CREATE LAW made AS chinchilla {COEFFICIENTS} STANDARD ERRORS (E = 0.01)")
    answer = planted.sql(f"EXTRAPOLATE made TO {PLACE}")
    assert answer.records()[0]["lower"] is None
    assert any("interval = 'confidence'" in note for note in answer.notes)
    row = one(planted, f"EXTRAPOLATE made TO {PLACE} WITH (interval = 'confidence')")
    assert row["upper"] - row["lower"] == pytest.approx(2 * 1.96 * 0.01, rel=0.1)  # of 1000 draws
    planted.sql("DROP LAW made")


def test_a_covariance_is_in_the_order_of_the_coefficients_as_typed(planted: Lakehouse) -> None:
    # A rises by as much as E falls: at params = 1 the sum does not move, where independent errors would move it.
    numbers = "WITH COEFFICIENTS (alpha = 0.5, A = 10, E = 2)"
    covariance = "COVARIANCE [[0, 0, 0], [0, 0.01, -0.01], [0, -0.01, 0.01]]"
    planted.sql(f"CREATE LAW made AS power(params) {numbers} {covariance}")
    near, far = (
        one(planted, f"EXTRAPOLATE made TO params = {at} WITH (interval = 'confidence')") for at in (1.0, 1e12)
    )
    assert near["upper"] - near["lower"] == pytest.approx(0.0, abs=1e-6)
    assert far["upper"] - far["lower"] == pytest.approx(2 * 1.96 * 0.1, rel=0.1)  # of 1000 draws
    errors = {row["coefficient"]: row["std_error"] for row in planted.sql("DESCRIBE LAW made").records()}
    assert errors == pytest.approx({"E": 0.1, "A": 0.1, "alpha": 0.0})
    planted.sql("DROP LAW made")


def test_draws_stay_in_the_domains_and_come_of_the_seed(planted: Lakehouse) -> None:
    def draws(seed: int) -> Any:
        planted.sql(
            "CREATE OR REPLACE LAW made AS power(params) WITH COEFFICIENTS (E = 0.1, A = 2, alpha = 0.1) "
            f"STANDARD ERRORS (E = 0.2, A = 1, alpha = 0.2) WITH (seed = {seed}, resamples = 300)"
        )
        text = "SELECT draws FROM store.laws WHERE name = 'made' ORDER BY version DESC LIMIT 1"
        return np.array(planted.query(text).column(0)[0].as_py())

    first, again, other = draws(0), draws(0), draws(1)
    assert first.shape == (300, 3) and (first >= 0).all() and (first[:, 2] <= 5).all()
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    planted.sql("DROP LAW made")


def test_a_law_that_cannot_lie_in_its_domain_is_an_error(planted: Lakehouse) -> None:
    text = (
        "CREATE LAW wrong AS nqs WITH COEFFICIENTS (p = 1.1, q = 0.6, P_1 = 3, Q_1 = 0.5, e = 0.3, R_1 = 8, r = 2.5) "
        "STANDARD ERRORS (p = 1e9, q = 1e9, r = 1e9)"
    )
    assert "outside their domains" in message(planted, text)


def test_standard_errors_of_a_paper_are_shown_and_make_no_interval(planted: Lakehouse) -> None:
    described = planted.sql("DESCRIBE LAW published:besiroglu_2024")
    rows = {row["coefficient"]: row for row in described.records()}
    assert rows["A"]["std_error"] == 124.58 and rows["A"]["lower"] == pytest.approx(482.01 - 1.96 * 124.58, rel=1e-3)
    assert rows["B"]["lower"] == 0.0  # the edge of its domain
    assert any("arXiv:2404.10102" in note for note in described.notes)
    asked = planted.sql(f"EXTRAPOLATE published:besiroglu_2024 TO {PLACE}")
    assert any("not how they move together" in note for note in asked.notes)
