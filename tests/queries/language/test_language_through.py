"""EXTRAPOLATE … THROUGH: one law handed to the next, with the interval."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import QuerySyntaxError, StatementError, UnknownName
from tests.lakes import open_here
from tests.queries.language.conftest import planted_points

AT = "TO params = [1e10, 7e10], tokens = 1.4e12"
LAST = ["lower", "upper", "level", "interval", "ratio", "in_support"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake with runs whose error follows from their loss, and the laws `chin`, `task` and `score`."""
    points = planted_points()
    loss = np.array(points.column("loss"))
    noise = 0.01 * np.random.default_rng(1).standard_normal(len(loss))
    error = (0.85 - 3 * np.exp(-1.1 * loss)) * np.exp(noise)
    points = points.append_column("error", pa.array(error)).append_column("score", pa.array(2 * error))
    with open_here(tmp_path_factory.mktemp("lake") / "chain.duckdb") as opened:
        opened.write([("CREATE TABLE points AS FROM _points", None)], {"_points": points})
        for law in ("chin AS FIT loss ~ chinchilla(params, tokens)", "task AS FIT error ~ task_error(loss)"):
            opened.sql(f"CREATE LAW {law} FROM points WITH (resamples = 50)")
        opened.sql("CREATE LAW score AS FIT score ~ a * error PARAMETERS (a > 0) FROM points WITH (resamples = 50)")
        yield opened


def test_both_laws_answer_and_the_last_has_the_columns_of_extrapolate(lake: Lakehouse) -> None:
    answer = lake.sql(f"EXTRAPOLATE chin THROUGH task {AT}")
    assert answer.columns == [
        "params", "tokens", "predicted_loss", "loss_lower", "loss_upper", "predicted_error", *LAST,
    ]  # fmt: skip
    alone = lake.sql(f"EXTRAPOLATE chin {AT}").records()
    for row, first in zip(answer.records(), alone, strict=True):
        assert (row["predicted_loss"], row["loss_lower"], row["loss_upper"]) == (
            first["predicted_loss"], first["lower"], first["upper"],
        )  # fmt: skip
        (second,) = lake.sql(f"EXTRAPOLATE task TO loss = {row['predicted_loss']!r}").records()
        assert row["predicted_error"] == pytest.approx(second["predicted_error"], rel=1e-12)
        assert row["lower"] < second["lower"] < second["upper"] < row["upper"]
        assert set(row["ratio"]) == {"params", "tokens", "loss"} and not row["in_support"]
    assert answer.units["loss_lower"] == "nat/token" and "lower" not in answer.units
    assert any("10000 pairs of resamples, 50 of law 'chin' and 50 of law 'task'" in note for note in answer.notes)
    assert any(
        "law 'task' is asked about a loss of" in note and "smallest of its rows" in note for note in answer.notes
    )


def test_the_same_statement_gives_the_same_interval(lake: Lakehouse) -> None:
    text = f"EXTRAPOLATE chin THROUGH task {AT} WITH (interval = 'confidence', level = 0.8)"
    first, again = lake.sql(text).records(), lake.sql(text).records()
    assert first == again and first[0]["level"] == 0.8
    wide = lake.sql(f"EXTRAPOLATE chin THROUGH task {AT}").records()
    assert first[0]["upper"] - first[0]["lower"] < wide[0]["upper"] - wide[0]["lower"]


def test_several_laws_follow_one_another(lake: Lakehouse) -> None:
    answer = lake.sql(f"EXTRAPOLATE chin THROUGH task, score {AT}")
    ends = [["predicted_" + name, f"{name}_lower", f"{name}_upper"] for name in ("loss", "error")]
    assert answer.columns[2:9] == [*ends[0], *ends[1], "predicted_score"]
    for row in answer.records():
        assert row["predicted_score"] == pytest.approx(2 * row["predicted_error"], rel=1e-3)


def test_fits_in_parentheses_stand_for_either_law_and_groups_for_the_first(lake: Lakehouse) -> None:
    fit = "FIT loss ~ chinchilla(params, tokens) FROM points GROUP BY corpus WITH (resamples = 0)"
    task = "FIT error ~ a + b * loss + c * ln(tokens) PARAMETERS (a, b, c) FROM points WITH (resamples = 0)"
    answer = lake.sql(f"EXTRAPOLATE ({fit}) THROUGH ({task}) {AT}")
    assert [row["corpus"] for row in answer.records()] == ["books", "books", "web", "web"]
    assert all(row["lower"] is None and row["predicted_error"] > 0 for row in answer.records())
    assert any("have no resamples" in note for note in answer.notes)
    with pytest.raises(StatementError, match="THROUGH takes one law, and GROUP BY fits several"):
        lake.sql(f"EXTRAPOLATE chin THROUGH (FIT error ~ task_error(loss) FROM points GROUP BY corpus) {AT}")


def test_the_chain_is_a_relation_and_is_explained(lake: Lakehouse) -> None:
    found = lake.sql(f"SELECT max(predicted_error) AS error FROM (EXTRAPOLATE chin THROUGH task {AT})")
    assert 0 < found.records()[0]["error"] < 1
    steps = {row["step"]: row["detail"] for row in lake.sql(f"EXPLAIN EXTRAPOLATE chin THROUGH task {AT}").records()}
    assert steps["through"] == "loss as law 'task' takes it" and "paired" in steps["intervals"]


@pytest.mark.parametrize(
    ("text", "message", "under"),
    [
        ("chin THROUGH chin TO params = 1e9, tokens = 1e10", "law 'chin' takes params, tokens, and law 'chin' predicts "
         "loss", "chin TO"),
        ("chin THROUGH task TO params = 1e9, tokens = 1e10, loss = 2", "'loss' is given, and law 'chin' predicts it",
         "TO params"),
        ("chin THROUGH task TO params = -1, tokens = 1e10", "there is no point to predict: params is zero",
         "TO params"),
        ("chin THROUGH task TO params = 1e9", "law 'chin' needs params, tokens, and TO gives params", "TO params"),
        ("task THROUGH chin TO loss = 3", "law 'chin' takes params, tokens, and law 'task' predicts error", "chin TO"),
    ],
)  # fmt: skip
def test_what_does_not_follow_has_its_caret(lake: Lakehouse, text: str, message: str, under: str) -> None:
    whole = f"EXTRAPOLATE {text}"
    with pytest.raises(StatementError, match=message) as caught:
        lake.sql(whole)
    assert whole[caught.value.start :].startswith(under)


def test_what_is_missing_or_cannot_be_kept_is_said(lake: Lakehouse) -> None:
    with pytest.raises(UnknownName, match="law 'tusk' does not exist") as caught:
        lake.sql(f"EXTRAPOLATE chin THROUGH tusk {AT}")
    assert "task" in str(caught.value.hint)
    with pytest.raises(QuerySyntaxError, match="FORECAST keeps what one law says"):
        lake.sql(f"FORECAST chin THROUGH task {AT}")
    with pytest.raises(QuerySyntaxError, match="expected"):
        lake.sql("EXTRAPOLATE chin THROUGH TO params = 1e9")
