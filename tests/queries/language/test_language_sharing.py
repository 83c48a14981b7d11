"""FIT … GROUP BY … SHARING: one fit of all groups, and the gain between two of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import QuerySyntaxError, StatementError
from tests.lakes import open_here
from tests.queries.language.conftest import planted_points

FIT = "FIT loss ~ chinchilla(params, tokens) FROM pair GROUP BY recipe SHARING (E, alpha, beta)"
WITH = "WITH (resamples = 50)"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake with runs of two recipes: the old one needs 2 times the params and 1.5 times the tokens."""
    with open_here(tmp_path_factory.mktemp("lake") / "shared.duckdb") as opened:
        opened.write([("CREATE TABLE points AS FROM _points", None)], {"_points": planted_points()})
        more = "(400 * (2 ** .34 - 1)) / params ** .34 + 410 * (1.5 ** .28 - 1) / tokens ** .28"
        opened.sql(
            "CREATE TABLE pair AS SELECT *, 'new' AS recipe FROM points WHERE id % 2 = 0 UNION ALL "
            f"SELECT * REPLACE (loss + {more} AS loss), 'old' FROM points WHERE id % 2 = 1"
        )
        yield opened


def test_a_row_a_group_with_what_is_common_and_what_is_its_own(lake: Lakehouse) -> None:
    answer = lake.sql(f"{FIT} {WITH}")
    new, old = answer.records()
    assert (new["recipe"], old["recipe"]) == ("new", "old") and new["rows"] == old["rows"] == 30
    for name in ("E", "alpha", "beta"):
        assert new["coefficients"][name] == old["coefficients"][name]
    assert old["coefficients"]["A"] / new["coefficients"]["A"] == pytest.approx(2**0.34, rel=0.02)
    assert (new["objective"], new["aicc"], new["status"]) == (old["objective"], old["aicc"], "converged")
    assert any(note.startswith("sharing: E, alpha, beta in common to 2 groups; AICc") for note in new["notes"])
    assert any("rows speak for sharing" in note for note in answer.notes)
    assert lake.sql(f"{FIT} {WITH}").records() == answer.records()


def test_a_fit_of_groups_predicts_for_each(lake: Lakehouse) -> None:
    new, old = lake.sql(f"EXTRAPOLATE ({FIT} {WITH}) TO params = 1e10, tokens = 2e11").records()
    assert new["recipe"] == "new" and old["predicted_loss"] > new["predicted_loss"]
    assert new["lower"] < new["predicted_loss"] < new["upper"]


def test_the_gain_of_a_group_has_joint_draws(lake: Lakehouse) -> None:
    answer = lake.sql(f"COMPARE GAIN OF 'new' OVER 'old' IN ({FIT} {WITH}) AT flops = [1e21, 1e24]")
    near, far = answer.records()
    assert near["gain"] == pytest.approx(3, rel=0.03) and near["lower"] < near["gain"] < near["upper"]
    assert any("50 resamples of both groups together" in note for note in answer.notes)
    apart = FIT.replace(" SHARING (E, alpha, beta)", "")
    alone = lake.sql(
        f"COMPARE GAIN OF 'new' OVER 'old' IN ({apart} WITH (resamples = 50, forward = false)) AT flops = [1e21, 1e24]"
    )
    wide = alone.records()[1]
    assert far["upper"] / far["lower"] < wide["upper"] / wide["lower"]
    assert any("50 pairs of resamples of both groups" in note for note in alone.notes)
    (same,) = lake.sql(f"COMPARE GAIN OF 'old' OVER 'old' IN ({FIT} {WITH}) AT flops = 1e21").records()
    assert same["gain"] == pytest.approx(1, rel=1e-9) == same["upper"]


def test_groups_without_rows_are_left_out_and_said(lake: Lakehouse) -> None:
    source = "(SELECT * REPLACE (CASE WHEN recipe = 'old' THEN NULL ELSE loss END AS loss) FROM pair)"
    answer = lake.sql(f"{FIT.replace('FROM pair', f'FROM {source}')} WITH (resamples = 0)")
    new, old = answer.records()
    assert new["status"] == "converged" and old["status"] == "too_few_rows" and old["coefficients"] is None
    assert not any("sharing" in note for note in new["notes"])


def test_formulas_and_several_columns_are_shared_as_well(lake: Lakehouse) -> None:
    answer = lake.sql(
        "FIT loss ~ E + A / (params / 1e6) ^ a PARAMETERS (E > 0, A > 0, a IN [0, 2]) FROM pair "
        "GROUP BY recipe, corpus SHARING (a) WITH (resamples = 0)"
    )
    assert len(answer.records()) == 2  # every recipe has one corpus: even rows are books
    assert len({row["coefficients"]["a"] for row in answer.records()}) == 1
    assert len({row["coefficients"]["E"] for row in answer.records()}) == 2


def test_it_is_explained(lake: Lakehouse) -> None:
    steps = {row["step"]: row["detail"] for row in lake.sql(f"EXPLAIN {FIT}").records()}
    assert steps["common to all groups"] == "E, alpha, beta" and steps["fits"] == "2, of one search"
    gain = lake.sql(f"EXPLAIN COMPARE GAIN OF 'new' OVER 'old' IN ({FIT})").records()
    assert {"step": "over", "detail": "group 'old'"} in gain


@pytest.mark.parametrize(
    ("text", "message", "under"),
    [
        (FIT.replace("alpha", "alpah"), "has no coefficient 'alpah'", "alpah"),
        (FIT.replace("alpha", "beta"), "names 'beta' twice", "beta)"),
        (FIT + " WITH (forward = true)", "have no forward check", "forward"),
        ("FIT loss ~ nqs(params, 32, tokens) FROM pair GROUP BY recipe SHARING (p)", "slow to compute", "p)"),
        (f"CREATE LAW one AS {FIT}", "keeps one law, and GROUP BY fits several", "recipe"),
        (f"COMPARE GAIN OF 'new' OVER 'odl' IN ({FIT})", "there is no group 'odl'", "'odl'"),
    ],
)
def test_what_cannot_be_shared_has_its_caret(lake: Lakehouse, text: str, message: str, under: str) -> None:
    with pytest.raises(StatementError, match=message) as caught:
        lake.sql(text)
    assert text[caught.value.start :].startswith(under)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FIT loss ~ power(params) FROM pair SHARING (E)", "SHARING belongs to GROUP BY"),
        ("COMPARE APPROACHES FROM pair GROUP BY recipe SHARING (E)", "does not take SHARING"),
        ("FIT loss ~ power(params) FROM pair GROUP BY recipe SHARING ()", "expected the name of a coefficient"),
        ("COMPARE GAIN OF 'a' OVER 'b' IN (FIT loss ~ power(flops) FROM pair)", "has no GROUP BY"),
        ("COMPARE GAIN OF 'a' OVER 'b'", "expected IN and the FIT"),
        ("COMPARE GAIN OF 'a' OVER 'b' IN chin", "a FIT"),
    ],
)
def test_what_does_not_parse_is_said(lake: Lakehouse, text: str, message: str) -> None:
    with pytest.raises(QuerySyntaxError, match=message):
        lake.sql(text)


def test_a_column_called_sharing_still_groups(lake: Lakehouse) -> None:
    answer = lake.sql(
        "FIT loss ~ power(params) FROM (SELECT *, recipe AS sharing FROM pair) GROUP BY sharing WITH (resamples = 0)"
    )
    assert [row["sharing"] for row in answer.records()] == ["new", "old"]
