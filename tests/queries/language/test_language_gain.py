"""COMPARE GAIN: two laws at budgets, their interval, and what cannot be compared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import QuerySyntaxError, StatementError, UnknownName
from tests.lakes import open_here
from tests.queries.language.conftest import planted_points

CHIN = "FIT loss ~ chinchilla(params, tokens)"
COLUMNS = ["gain", "lower", "upper", "level", "in_support", "reason"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake with the laws `chin`, `old` (2 times the params, 1.5 times the tokens), `high` (a higher floor)."""
    with open_here(tmp_path_factory.mktemp("lake") / "gain.duckdb") as opened:
        opened.write([("CREATE TABLE points AS FROM _points", None)], {"_points": planted_points()})
        opened.sql(f"CREATE LAW chin AS {CHIN} FROM points WITH (resamples = 100)")
        more = "SELECT * REPLACE (2 * params AS params, 1.5 * tokens AS tokens) FROM points"
        opened.sql(f"CREATE LAW old AS {CHIN} FROM ({more}) WITH (resamples = 100, seed = 1)")
        high = "SELECT * REPLACE (loss + 0.5 AS loss) FROM points"
        opened.sql(f"CREATE LAW high AS {CHIN} FROM ({high}) WITH (resamples = 50)")
        opened.sql("CREATE LAW task AS FIT error ~ a * loss PARAMETERS (a > 0) "
                   "FROM (SELECT *, loss / 9 AS error FROM points) WITH (resamples = 0)")  # fmt: skip
        yield opened


def test_each_at_its_best_size(lake: Lakehouse) -> None:
    answer = lake.sql("COMPARE GAIN OF chin OVER old AT flops = [1e19, 1e21, 1e25]")
    assert answer.columns == [
        "flops", "params", "tokens", "predicted_loss", "needed_flops", "needed_params", "needed_tokens", *COLUMNS,
    ]  # fmt: skip
    for row in answer.records():
        assert row["gain"] == pytest.approx(3.0, rel=1e-3)  # the same runs with 2 times params, 1.5 times tokens
        assert row["lower"] < 3.0 < row["upper"] and row["reason"] is None and row["level"] == 0.95
        assert row["needed_flops"] == pytest.approx(row["gain"] * row["flops"])
    assert [row["in_support"] for row in answer.records()] == [True, True, False]
    widths = [row["upper"] / row["lower"] for row in answer.records()]
    assert widths[2] > widths[1]
    assert any(note.startswith("extrapolates 167x beyond the largest flops of the rows behind law 'chin'")
               for note in answer.notes)  # fmt: skip
    assert any("100 pairs of resamples" in note for note in answer.notes)
    assert answer.units["flops"] == "flop" and answer.units["needed_params"] == "count"
    (row,) = lake.sql(
        "OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG "
        "SUBJECT TO 6 * params * tokens <= 1e21"
    ).records()
    assert answer.records()[1]["predicted_loss"] == pytest.approx(row["predicted_loss"], rel=1e-9)
    assert answer.records()[1]["params"] == pytest.approx(row["params"], rel=1e-3)


def test_a_law_over_itself_has_a_gain_of_one(lake: Lakehouse) -> None:
    (row,) = lake.sql("COMPARE GAIN OF chin OVER CHIN").records()
    assert row["gain"] == pytest.approx(1, rel=1e-9) and row["flops"] == pytest.approx(6e22)  # the largest run
    assert row["lower"] == pytest.approx(1, rel=1e-9) and row["upper"] == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize(("first", "second"), [("chin", "old"), ("old", "chin")])
def test_without_at_neither_law_leaves_its_rows(lake: Lakehouse, first: str, second: str) -> None:
    answer = lake.sql(f"COMPARE GAIN OF {first} OVER {second}")
    (row,) = answer.records()
    assert row["in_support"] and not [note for note in answer.notes if note.startswith("extrapolates")]
    assert row["gain"] == pytest.approx(3.0 if first == "chin" else 1 / 3, rel=1e-2)
    (beyond,) = lake.sql(f"COMPARE GAIN OF {first} OVER {second} AT flops = {1.02 * row['flops']!r}").records()
    assert not beyond["in_support"]


def test_a_ratio_is_given_by_params_and_tokens(lake: Lakehouse) -> None:
    answer = lake.sql("COMPARE GAIN OF chin OVER old AT params = [1e8, 1e9], tokens = 20 * params WITH (level = 0.8)")
    assert answer.columns[:3] == ["params", "tokens", "flops"]
    for row in answer.records():
        assert row["flops"] == 6 * row["params"] * row["tokens"] and row["level"] == 0.8
        assert row["needed_tokens"] == pytest.approx(20 * row["needed_params"])
        assert 1.5**2 < row["gain"] < 2.0**2  # between 1.5 and 2 times of both


def test_a_loss_below_the_floor_is_a_row_with_a_reason(lake: Lakehouse) -> None:
    low, high = lake.sql("COMPARE GAIN OF chin OVER high AT flops = [1e18, 1e24]").records()
    assert low["gain"] > 1 and low["reason"] is None
    assert high["gain"] is None and high["needed_flops"] is None and "never reached" in high["reason"]
    assert high["predicted_loss"] > 0 and not high["in_support"]


def test_laws_of_one_input_and_fits_in_parentheses(lake: Lakehouse) -> None:
    fit = "(FIT loss ~ power(flops) FROM {} WITH (resamples = {}))"
    more = "(SELECT * REPLACE (4 * flops AS flops) FROM points)"
    answer = lake.sql(f"COMPARE GAIN OF {fit.format('points', 30)} OVER {fit.format(more, 30)} AT flops = 1e21")
    assert answer.columns == ["flops", "predicted_loss", "needed_flops", *COLUMNS]
    assert answer.records()[0]["gain"] == pytest.approx(4, rel=1e-4)
    bare = lake.sql(f"COMPARE GAIN OF chin OVER {fit.format('points', 0)} AT flops = 1e21")
    assert bare.records()[0]["lower"] is None and any("has no resamples" in note for note in bare.notes)


def test_it_is_a_relation_and_is_explained(lake: Lakehouse) -> None:
    found = lake.sql("SELECT round(gain, 1) AS gain FROM (COMPARE GAIN OF chin OVER old AT flops = 1e21)").records()
    assert found == [{"gain": 3.0}]
    rows = lake.sql("EXPLAIN COMPARE GAIN OF chin OVER old AT flops = 1e21").records()
    steps = {row["step"]: row["detail"] for row in rows}
    assert steps["gain of"] == "law 'chin'" and steps["over"] == "law 'old'" and steps["at flops"] == "1e+21"


@pytest.mark.parametrize(
    ("text", "message", "under"),
    [
        ("chin OVER task", "law 'chin' predicts loss, and law 'task' predicts error", "task"),
        ("chin OVER (FIT loss ~ power(params) FROM points)", "is one of flops, and the fit of power one of params",
         "FIT"),
        ("chin OVER (FIT loss ~ data_constrained(params, tokens, flops) FROM points)", "or of one input", "FIT"),
        ("chin OVER old AT steps = 4", "takes flops, or params and tokens, and AT gives steps", "AT steps"),
        ("chin OVER old AT flops = [1e21, -1]", "'flops' has a value that is no finite number above 0", "AT flops"),
        ("(FIT loss ~ power(flops) FROM points GROUP BY corpus) OVER old", "takes one law", "corpus"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_has_its_caret(lake: Lakehouse, text: str, message: str, under: str) -> None:
    whole = f"COMPARE GAIN OF {text}"
    with pytest.raises(StatementError, match=message) as caught:
        lake.sql(whole)
    assert whole[caught.value.start :].startswith(under)


def test_what_is_misspelled_is_said(lake: Lakehouse) -> None:
    with pytest.raises(UnknownName, match="law 'odl' does not exist"):
        lake.sql("COMPARE GAIN OF chin OVER odl")
    with pytest.raises(QuerySyntaxError, match="expected OVER"):
        lake.sql("COMPARE GAIN OF chin")
    with pytest.raises(UnknownName, match="has no option 'resamples'"):
        lake.sql("COMPARE GAIN OF chin OVER old WITH (resamples = 3)")


def test_a_law_called_gain_is_still_compared(lake: Lakehouse) -> None:
    lake.sql(f"CREATE LAW gain AS {CHIN} FROM points WITH (resamples = 0)")
    answer = lake.sql("COMPARE gain, chin FROM points WITH (resamples = 0)")
    assert {row["law"] for row in answer.records()} == {"gain", "chin"}


def test_groups_of_no_rows_are_refused_at_the_rows(lake: Lakehouse) -> None:
    fit = "FIT loss ~ power(params) FROM points WHERE false GROUP BY params, tokens"
    with pytest.raises(StatementError, match="no row matched") as caught:
        lake.sql(f"COMPARE GAIN OF 'a' OVER 'b' IN ({fit}) AT flops = 1e21")
    assert caught.value.text[caught.value.start :].startswith("false")


@pytest.mark.parametrize("name", ["C", "Compute", "C (PF-days)"])
def test_an_input_may_be_called_anything(lake: Lakehouse, name: str) -> None:
    rows = f'(SELECT loss, 6 * params * tokens AS "{name}" FROM points)'
    lake.sql(f'CREATE OR REPLACE LAW odd AS FIT loss ~ power("{name}") FROM {rows} WITH (resamples = 20)')
    (row,) = lake.sql(f'COMPARE GAIN OF odd OVER odd AT "{name}" = 1e21').records()
    assert row["gain"] == pytest.approx(1) and row[name] == 1e21
    with pytest.raises(StatementError) as failed:
        lake.sql("COMPARE GAIN OF odd OVER odd AT steps = 1e21")
    assert str(failed.value.hint).startswith("AT C" if name.isidentifier() else f'AT "{name}"')
