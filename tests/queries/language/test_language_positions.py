"""Every verb stands wherever a query may: the verbs of the grammar times the places, each place with the same rows."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from isoflop.lakehouse import Lakehouse, RunRecord
from isoflop.lakehouse.errors import StatementError
from isoflop.queries.language.verbs import VERBS
from tests.queries.language.statements import CHANGED, RELATIONS


def rows(lake: Lakehouse, text: str, parameters: object = None) -> list[str]:
    """The rows of an answer as texts, in one order; forecasts score themselves, which is no row's business."""
    return sorted(map(str, lake.sql(text, parameters).records()))


@pytest.fixture(scope="module")
def asked(planted: Lakehouse) -> dict[str, list[str]]:
    """What each verb answers as a statement."""
    features = {"width": 4, "ambient": 40, "spectrum_exponent": 0.8, "target_exponent": 0.7, "batch_size": 1}
    rates = {"learning_rate": 0.1, "learning_rate_constant": None, "feature_seed": None}
    planted.record_runs([RunRecord(family="plrf", config=features | rates, steps=100)])
    planted.sql(RELATIONS["forecast"][0])
    return {verb: rows(planted, text) for verb, (text, _) in RELATIONS.items()}


def test_every_verb_is_tried() -> None:
    assert set(RELATIONS) == {verb.key for verb in VERBS if not verb.is_statement}
    assert set(CHANGED) == {verb.key for verb in VERBS if verb.is_statement}


PLACES = {
    "in parentheses": "({})",
    "in FROM": "FROM ({})",
    "in FROM with an alias": "SELECT v.* FROM ({}) AS v",
    "in JOIN": "SELECT v.* FROM (SELECT 1) one JOIN ({}) v ON true",
    "behind a comma": "SELECT v.* FROM (VALUES (1)) one, ({}) v",
    "in a lateral join": "SELECT v.* FROM (SELECT 1) one, LATERAL ({}) v",
    "in a CTE": "WITH v AS ({}) FROM v",
    "in a CTE of a CTE": "WITH v AS MATERIALIZED ({}), w AS (FROM v) SELECT * FROM w",
    "behind WITH": "WITH unused AS (SELECT 1) {}",
    "in UNION": "({}) UNION ALL (FROM ({}) LIMIT 0)",
    "in a subquery": "SELECT * FROM (SELECT * FROM ({}))",
    "behind another statement": "SELECT 1; {};",
    "between comments": "/* ( */ {} -- )",
    "in lines": "FROM\n(\n{}\n)\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("verb", RELATIONS)
def test_a_verb_has_the_same_rows_in_every_place(
    planted: Lakehouse, asked: dict[str, list[str]], verb: str, place: str
) -> None:
    assert rows(planted, PLACES[place].replace("{}", RELATIONS[verb][0])) == asked[verb]
    assert asked[verb]


@pytest.mark.slow
@pytest.mark.parametrize("verb", RELATIONS)
def test_a_verb_is_kept_in_a_table_and_in_a_file(
    planted: Lakehouse, asked: dict[str, list[str]], verb: str, tmp_path: Path
) -> None:
    text, _ = RELATIONS[verb]
    planted.sql(f"CREATE OR REPLACE TABLE kept AS {text}")
    assert rows(planted, "FROM kept") == asked[verb]
    planted.sql(f"INSERT INTO kept FROM ({text})")
    assert len(planted.sql("FROM kept")) == 2 * len(asked[verb])
    planted.sql(f"COPY ({text}) TO '{tmp_path / 'kept.parquet'}'")
    assert len(planted.sql(f"FROM '{tmp_path / 'kept.parquet'}'")) == len(asked[verb])


@pytest.mark.slow
@pytest.mark.parametrize("verb", RELATIONS)
def test_a_verb_is_read_by_other_verbs(planted: Lakehouse, asked: dict[str, list[str]], verb: str) -> None:
    counted = f"SELECT count(*) * 1e9 AS params, 2e10 AS tokens FROM ({RELATIONS[verb][0]}) v"
    size = len(asked[verb]) * 1e9
    for outer in ("PREDICT chin FROM ({})", "EXTRAPOLATE chin TO ({})", "SELECT * FROM (PREDICT chin FROM ({}) q)"):
        (row,) = planted.sql(outer.replace("{}", counted)).records()
        assert row["params"] == size and row["predicted_loss"] > 1.7
    inner = f"FIT loss ~ power(params) FROM points JOIN ({counted}) c ON c.params > id WITH (resamples = 0)"
    (fitted,) = planted.sql(inner.replace("power(params)", "power(points.params)")).records()
    assert fitted["rows"] == 60


@pytest.mark.slow
@pytest.mark.parametrize("verb", RELATIONS)
@pytest.mark.parametrize("style", ["$name", "?", "$1"])
def test_a_verb_takes_parameters_inside_and_around(
    planted: Lakehouse, asked: dict[str, list[str]], verb: str, style: str
) -> None:
    text, value = RELATIONS[verb]
    values = [float(value) if "e" in value or "." in value else int(value)] if value is not None else []
    inside = text.replace(f"{value}", style.replace("name", "inside"), 1) if value is not None else text
    around = {"$name": "$around", "?": "?", "$1": f"${len(values) + 1}"}[style]
    parameters = {"inside": values[0], "around": 0} if style == "$name" and values else [*values, 0]
    if style == "$name" and not values:
        parameters = {"around": 0}
    found = rows(planted, f"SELECT * FROM ({inside}) WHERE 1 > {around}", parameters)
    # EXPLAIN and OPTIMIZE show conditions as they were typed.
    assert len(found) == len(asked[verb]) and (verb in ("explain", "optimize", "design") or found == asked[verb])


@pytest.mark.parametrize("place", ["FROM ({})", "WITH v AS ({}) FROM v", "CREATE TABLE nothing AS {}", "({})"])
@pytest.mark.parametrize("verb", CHANGED)
def test_what_changes_laws_is_a_statement_and_nothing_else(planted: Lakehouse, verb: str, place: str) -> None:
    before = planted.sql("SHOW LAWS").rows()
    with pytest.raises((StatementError, duckdb.Error)):
        planted.sql(place.replace("{}", CHANGED[verb]))
    assert planted.sql("SHOW LAWS").rows() == before
    assert "nothing" not in planted.query("SHOW TABLES").column("name").to_pylist()
