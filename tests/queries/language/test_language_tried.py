"""What a first day with exports runs into: rates tried around each size's best, seeds, a loss by another name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError
from tests.lakes import open_here

FIT = "FIT validation_loss ~ chinchilla(params, tokens) FROM"
PAIRS = "(SELECT * EXCLUDE learning_rate FROM tried)"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """Runs of three seeds at 15 sizes, each with a learning rate of its own."""
    with open_here(tmp_path_factory.mktemp("tried") / "lake.duckdb") as opened:
        opened.sql(
            "CREATE TABLE tried AS SELECT 10.0 ** (7 + i // 9 / 2.0) AS params, 1e9 * 4.0 ** (i // 3 % 3) AS tokens, "
            "i % 3 AS seed, 1e-3 * (1 + i / 10) AS learning_rate, NULL::DOUBLE AS loss, "
            "round(1.7 + 400 / params ** 0.34 + 410 / tokens ** 0.28 + 0.01 * sin(7 * i), 2) AS validation_loss "
            "FROM range(45) t(i)"
        )
        yield opened


def test_rates_that_are_all_different_are_a_setting_that_the_law_does_not_use(lake: Lakehouse) -> None:
    notes = lake.sql(f"{FIT} tried WITH (resamples = 0)").notes
    assert any("another learning_rate, which the law does not use" in note for note in notes)


def test_who_clusters_the_seeds_of_a_size_is_not_advised_to(lake: Lakehouse) -> None:
    advice = "what a size has of its own, several seeds do not show"
    plain = lake.sql(f"{FIT} {PAIRS} WITH (resamples = 40, bootstrap = 'case')").notes
    assert any(advice in note for note in plain)
    clustered = lake.sql(f"{FIT} {PAIRS} WITH (resamples = 40, cluster = (params, tokens))").notes
    assert not any(advice in note or "repeats another one" in note for note in clustered)


def test_rows_without_a_loss_say_that_they_have_a_validation_loss(lake: Lakehouse) -> None:
    with pytest.raises(StatementError, match="loss is NULL") as caught:
        lake.sql("FIT loss ~ power(params) FROM tried")
    assert caught.value.hint == "45 of them have a validation_loss: fit that"


def test_what_lies_beyond_the_rows_says_which_ends_know_of_it(lake: Lakehouse) -> None:
    asked = f"OPTIMIZE ({FIT} tried WITH (resamples = 40)) MINIMIZE validation_loss OVER params IN [1e7, 1e13] LOG, "
    near, far = (lake.sql(f"{asked} tokens = 20 * params SUBJECT TO 6 * params * tokens <= {c}") for c in (6e17, 1e23))
    said = "optimum_lower, params_lower and their upper ends come from resamples"
    assert any(note.startswith(said) for note in far.notes) and not any(note.startswith(said) for note in near.notes)


@pytest.mark.parametrize("asked", ["PREDICT {}", "CROSS VALIDATE {} KFOLD 2", "COMPARE {}, (loss ~ power(params))"])
@pytest.mark.parametrize("name", ["mm", "published:hoffmann_2022"])
def test_a_law_of_given_coefficients_has_no_rows_to_be_asked_of(lake: Lakehouse, asked: str, name: str) -> None:
    numbers = "E = 1.69, A = 406.4, B = 410.7, alpha = 0.34, beta = 0.28"
    lake.sql(f"CREATE OR REPLACE LAW mm AS chinchilla(params, tokens) WITH COEFFICIENTS ({numbers})")
    with pytest.raises(StatementError, match="is of given coefficients: it has no rows of its own") as caught:
        lake.sql(asked.format(name))
    assert caught.value.text[caught.value.start : caught.value.end] == name


def test_the_rows_of_a_law_are_predicted_without_their_weights(lake: Lakehouse) -> None:
    lake.sql("CREATE OR REPLACE LAW heavy AS FIT validation_loss ~ power(params) FROM tried WEIGHT BY tokens")
    assert len(lake.sql("PREDICT heavy")) == 45


@pytest.mark.parametrize("form", ["power(params)", "chinchilla(params, tokens)"])
def test_rows_without_noise_raise_no_alarm(lake: Lakehouse, form: str) -> None:
    loss = "1.7 + 400 / params ** 0.34" + (" + 1200 / tokens ** 0.36" if "tokens" in form else "")
    rows = "SELECT 10.0 ** (7 + i % 6 * 0.4) AS params, 10.0 ** (9 + i // 6 * 0.4) AS tokens FROM range(36) t(i)"
    notes = lake.sql(f"FIT loss ~ {form} FROM (SELECT *, {loss} AS loss FROM ({rows}))").notes
    assert not any("other coefficients altogether" in note for note in notes)


@pytest.mark.parametrize(
    ("name", "said"), [("params_m", "in millions or billions?"), ('"Params (M)"', '"Params (M)" * 1e6 says the same')]
)
def test_sizes_in_millions_are_not_taken_for_billions(lake: Lakehouse, name: str, said: str) -> None:
    rows = f"(SELECT params / 1.1e6 AS {name}, tokens, validation_loss FROM tried)"
    notes = lake.sql(f"FIT validation_loss ~ chinchilla({name}, tokens) FROM {rows} WITH (resamples = 0)").notes
    assert any(said in note for note in notes)


@pytest.mark.parametrize(("shift", "is_said"), [(0.0, False), (0.05, True)])
def test_runs_of_two_imports_that_lie_apart_are_named(lake: Lakehouse, shift: float, is_said: bool) -> None:
    rows = (
        "SELECT 10.0 ** (7 + i % 10 / 4) AS params, 'import:' || ['a', 'b'][1 + i % 3 // 2] AS source, "
        f"(1.7 + 400 / params ** 0.34) * (1 + 0.003 * sin(7 * i) + {shift} * (i % 3 // 2)) AS loss FROM range(60) t(i)"
    )
    notes = lake.sql(f"FIT loss ~ power(params) FROM ({rows}) WITH (resamples = 0)").notes
    assert any("import:a 40, import:b 20" in note for note in notes) == is_said


@pytest.mark.parametrize("weight", ["-1", "0", "NULL"])
def test_a_weight_that_no_row_has_is_at_fault_itself(lake: Lakehouse, weight: str) -> None:
    with pytest.raises(StatementError, match="weight") as caught:
        lake.sql(f"FIT validation_loss ~ power(params) FROM tried WEIGHT BY {weight}")
    assert caught.value.text[caught.value.start : caught.value.end] == weight
