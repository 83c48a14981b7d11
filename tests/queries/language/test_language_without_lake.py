"""Which texts need no lake: those that read no table of one, no saved law, and keep nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from statements import CHANGED

from isoflop.lakehouse import Lakehouse
from isoflop.queries.language import execute
from isoflop.queries.language.verbs import words
from isoflop.queries.language.without_lake import needs_no_lake

PUBLISHED = "EXTRAPOLATE published:hoffmann_2022 TO params = 70B, tokens = 1.4T"
NEED_NONE = (
    PUBLISHED, f"EXPLAIN {PUBLISHED}", f"SELECT predicted_loss FROM ({PUBLISHED})", f"WITH a AS ({PUBLISHED}) FROM a",
    "OPTIMIZE published:hoffmann_2022 MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens = 20 * params "
    "SUBJECT TO flops <= 1e21",
    "DESCRIBE LAW published:hoffmann_2022", "SHOW LAW FORMS", "SHOW PUBLISHED LAWS LIKE 'h%'", "SHOW THEORIES",
    "COMPARE GAIN OF published:hoffmann_2022 OVER published:besiroglu_2024 AT flops = 1e21",
    "EXTRAPOLATE published:hoffmann_2022 TO (SELECT 1e9 AS params, 2e10 AS tokens)",
    "PREDICT published:hoffmann_2022 FROM (SELECT 1e9 AS params, 1e10 AS tokens, 2.0 AS loss)",
    "FIT loss ~ power(params) FROM 'x.csv'", "SELECT 1", "SELECT $x", "FROM range(3)", "SELECT 1 first", "",
)  # fmt: skip
NEED_ONE = (
    "FROM runs", "SELECT (SELECT max(loss) FROM runs)", "SELECT 1; FROM runs", "DESCRIBE runs", "PIVOT runs ON family",
    "SHOW TABLES", "SHOW LAWS", "SHOW FORECASTS", "DESCRIBE LAW chin", "EXTRAPOLATE chin TO params = 1e9",
    "EXTRAPOLATE published:hoffmann_2022 TO (SELECT params, tokens FROM runs)", "RESIDUALS chin",
    "EXTRAPOLATE published:hoffmann_2022 TO params = (SELECT max(params) FROM runs), tokens = 1e9",
    "EXTRAPOLATE published:hoffmann_2022 THROUGH task TO params = 1e9, tokens = 2e10",
    "COMPARE published:hoffmann_2022, chin FROM 'x.csv'", "CROSS VALIDATE chin FROM 'x.csv' KFOLD 5",
    "FIT loss ~ power(params) FROM runs", "FROM (FIT loss ~ power(params) FROM (FROM runs)) SELECT 1",
    "FIT loss ~ power(params) FROM 'x.csv' WHERE loss < (SELECT min(loss) FROM runs)",
    "CREATE LAW x AS published:hoffmann_2022", "FORECAST published:hoffmann_2022 TO params = 1e9, tokens = 2e10",
    "PREDICT RUNS BY volterra_plrf FROM runs", "CREATE TABLE t AS SELECT 1",
    "SET threads = 1", "COPY (SELECT 1) TO 'x'",
)  # fmt: skip


@pytest.mark.parametrize("text", NEED_NONE)
def test_it_needs_none(text: str) -> None:
    assert needs_no_lake(text, words())


@pytest.mark.parametrize("text", (*NEED_ONE, *CHANGED.values()))
def test_it_needs_one(text: str) -> None:
    assert not needs_no_lake(text, words())


def test_a_rounded_law_points_at_its_digits_where_they_count(tmp_path: Path) -> None:
    over = "MINIMIZE loss OVER params IN [1e7, 1e13] LOG, tokens IN [1e8, 1e15] LOG SUBJECT TO flops <= 5.76e23"

    def rounded(text: str) -> list[str]:
        return [note for note in lake.sql(text).notes if note.startswith("rounded: ")]

    with Lakehouse(tmp_path / "x.duckdb", language=execute) as lake:
        for text in (f"OPTIMIZE published:hoffmann_2022 {over}", "DESCRIBE LAW published:hoffmann_2022"):
            (said,) = rounded(text)
            assert said.endswith("published:hoffmann_2022_unrounded has them")
        for text in (f"OPTIMIZE published:hoffmann_2022_unrounded {over}", PUBLISHED):
            assert not rounded(text)
