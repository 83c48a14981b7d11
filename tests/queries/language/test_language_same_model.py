"""COMPARE of candidates that are one model: they tie, and a note says what sets them apart."""

from __future__ import annotations

from isoflop.lakehouse import Answer, Lakehouse

FIT = "FIT loss ~ chinchilla(params, tokens) FROM points"


def said(answer: Answer) -> list[str]:
    """Return what is said of models that are the same."""
    return [note for note in answer.notes if "are the same model" in note]


def test_two_fits_of_one_law_tie_and_a_note_says_why(planted: Lakehouse) -> None:
    planted.sql(f"CREATE OR REPLACE LAW again AS {FIT} WITH (resamples = 20, seed = 7)")
    answer = planted.sql("COMPARE chin, (loss ~ power(params)), again FROM points")
    assert [row["rank"] for row in answer.records()] == [1, 1, 3]
    assert [row["law"] for row in answer.records()] == ["chin", "again", "power(params)"]
    (note,) = said(answer)
    assert note.startswith("chin and again are the same model, ")
    assert note.endswith("fitted here to the same rows: they tie, however each of them was fitted before")


def test_what_is_fixed_sets_two_of_one_form_apart(planted: Lakehouse) -> None:
    planted.sql(
        "CREATE OR REPLACE LAW stiff AS FIT loss ~ chinchilla(params, tokens) PARAMETERS (alpha FIXED 0.5) FROM points "
        "WITH (resamples = 0)"
    )
    answer = planted.sql("COMPARE chin, stiff FROM points")
    assert [row["rank"] for row in answer.records()] == [1, 2]
    assert said(answer)[0].endswith("they differ only in what is fixed (alpha)")


def test_laws_of_different_columns_are_not_one_model(planted: Lakehouse) -> None:
    assert said(planted.sql("COMPARE (loss ~ power(params)), (loss ~ power(tokens)) FROM points")) == []
