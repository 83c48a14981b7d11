"""PREDICT, CROSS VALIDATE and COMPARE of saved laws without FROM: on the rows that the laws were fitted to."""

from __future__ import annotations

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError

ROWS = "FROM points WHERE params < 5e9"
QUICK = "WITH (resamples = 0)"


@pytest.fixture(scope="module")
def laws(planted: Lakehouse) -> Lakehouse:
    """The lake with two laws of the same rows, one of others, and one whose rows a parameter chose."""
    for name, form, rows in (
        ("small", "chinchilla(params, tokens)", ROWS),
        ("same", "power(flops)", ROWS.replace(" WHERE ", "\n  WHERE ")),
        ("other", "power(flops)", "FROM points"),
        ("weighed", "power(flops)", f"{ROWS} WEIGHT BY tokens"),
    ):
        planted.sql(f"CREATE LAW {name} AS FIT loss ~ {form} {rows} {QUICK}")
    planted.sql(f"CREATE LAW given AS FIT loss ~ power(flops) FROM points WHERE corpus = ? {QUICK}", ["web"])
    return planted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("short", "behind"),
    [
        ("PREDICT small", ""),
        ("PREDICT small", "WITH (level = 0.5)"),
        ("CROSS VALIDATE small", f"HOLDOUT LARGEST 20 PERCENT BY params {QUICK}"),
        ("CROSS VALIDATE small", f"KFOLD 3 {QUICK}"),
        ("CROSS VALIDATE small", f"LEAVE ONE OUT BY params {QUICK}"),
        ("COMPARE small, same", QUICK),
        ("COMPARE small, (loss ~ power(params))", f"KFOLD 3 {QUICK}"),
    ],
)
def test_without_a_source_the_rows_are_the_laws_own(laws: Lakehouse, short: str, behind: str) -> None:
    answer, spelled = laws.sql(f"{short} {behind}"), laws.sql(f"{short} {ROWS} {behind}")
    assert answer.records() == spelled.records() and len(answer)
    assert answer.notes == (f"the rows are those of law 'small': {ROWS}", *spelled.notes)
    assert answer.units == spelled.units
    assert laws.sql(f"SELECT count(*) FROM ({short} {behind})").rows() == [(len(answer),)]
    assert laws.sql(f"EXPLAIN {short} {behind}").records() == laws.sql(f"EXPLAIN {short} {ROWS} {behind}").records()


def test_a_fit_in_parentheses_predicts_its_own_rows(laws: Lakehouse) -> None:
    fit = f"(FIT loss ~ power(flops) {ROWS} {QUICK})"
    assert laws.sql(f"PREDICT {fit}").records() == laws.sql(f"PREDICT {fit} {ROWS}").records()


def test_parameters_of_law_and_question_do_not_meet(laws: Lakehouse) -> None:
    answer = laws.sql(f"CROSS VALIDATE given HOLDOUT LARGEST ? BY params {QUICK}", [2])
    (row,) = answer.records()
    assert row["n_train"] + row["n_test"] == 30
    assert "FROM points WHERE corpus = 'web'" in answer.notes[0]
    assert len(laws.sql("SELECT * FROM (PREDICT given) WHERE params > $1", [5e9])) == 5


@pytest.mark.parametrize("other", ["other", "weighed", "given"])
def test_laws_of_different_rows_need_from(laws: Lakehouse, other: str) -> None:
    with pytest.raises(StatementError, match=f"law 'small' was fitted {ROWS}, and law '{other}' FROM points") as caught:
        laws.sql(f"COMPARE small, {other}")
    assert caught.value.text[caught.value.start : caught.value.end] == other
    assert f"Hint: say which rows: COMPARE … {ROWS}" in str(caught.value)
    assert len(laws.sql(f"COMPARE small, {other} FROM points {QUICK}")) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("COMPARE (loss ~ power(flops)), (loss ~ power(params))", "COMPARE needs rows: FROM"),
        ("COMPARE volterra_plrf", "COMPARE needs rows: FROM"),
        ("CROSS VALIDATE loss ~ power(flops) KFOLD 3", 'expected FROM, got "KFOLD"'),
        ("CROSS VALIDATE small", "expected HOLDOUT, KFOLD or LEAVE ONE OUT"),
        ("PREDICT nope", "law 'nope' does not exist"),
        ("COMPARE small, nope", "law 'nope' does not exist"),
        ("CROSS VALIDATE small HOLDOUT LARGEST 2 BY nope", 'column "nope" not found'),
    ],
)
def test_what_has_no_rows_of_its_own_is_one_error(laws: Lakehouse, text: str, message: str) -> None:
    with pytest.raises(StatementError, match=message):
        laws.sql(text)


def test_a_law_whose_rows_are_gone_says_what_is_missing(laws: Lakehouse) -> None:
    laws.sql("CREATE TABLE brief AS FROM points")
    laws.sql(f"CREATE LAW orphan AS FIT loss ~ power(flops) FROM brief {QUICK}; DROP TABLE brief")
    with pytest.raises(StatementError, match="Table with name brief does not exist"):
        laws.sql("PREDICT orphan")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("CROSS VALIDATE chin LEAVE ONE OUT BY nothing", "nothing"),
        ("SELECT 1; CROSS VALIDATE chin LEAVE ONE OUT WITH (levl = 3)", "levl"),
        ("PREDICT chin WITH (levl = 2)", "levl"),
        ("SELECT * FROM (COMPARE chin, (loss ~ powr(params)))", "powr"),
    ],
)
def test_errors_point_into_what_was_typed(planted: Lakehouse, text: str, place: str) -> None:
    with pytest.raises(StatementError) as failed:
        planted.sql(text)
    assert failed.value.text == text and text[failed.value.start : failed.value.end] == place
