"""What is kept of a law is enough to make it again to the last bit, and to say when its rows have changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError, UnknownName
from isoflop.queries.language.plans import refit

POINTS = """
CREATE TABLE points AS
SELECT 10.0 ** (6 + i / 4) AS params, 2 + 100 / params ** 0.3 + 0.01 * sin(7 * i) AS loss, i % 4 AS part
FROM range(16) t(i)
"""
FIT = (
    "FIT loss ~ power(params) FROM points WHERE params < $most AND part <> $part "
    "WITH (resamples = 40, seed = 7, level = 0.9, forward = false)"
)
MOST = {"most": 1e9, "part": Decimal("3.5")}
AGAIN = "law 'best' comes out of its 12 rows bit for bit as it was: nothing new is kept"


@pytest.fixture
def lake(lakehouse: Lakehouse) -> Iterator[Lakehouse]:
    lakehouse.query(POINTS)
    yield lakehouse


def test_a_law_comes_out_bit_for_bit_from_what_is_kept(lake: Lakehouse) -> None:
    lake.sql(f"CREATE LAW best AS {FIT}", MOST)
    answer = lake.sql("REFIT LAW best")
    (row,) = answer.records()
    assert (row["law"], row["version"], row["rows_changed"], row["bit_equal"]) == ("best", 1, False, True)
    assert AGAIN in answer.notes
    assert lake.query("SELECT count(*) AS n FROM laws").to_pylist() == [{"n": 1}]


def test_it_does_so_in_a_copy_and_in_another_process(lake: Lakehouse, tmp_path: Path) -> None:
    parameters = "PARAMETERS (E > 0, A > 0, a IN [0, 1] INIT 0.2)"
    typed = f"FIT loss AS nats ~ E + A / params ^ a {parameters} FROM points WITH (cluster = part, resamples = 20)"
    lake.sql(f"CREATE LAW best AS {FIT}; CREATE LAW typed AS {typed}", MOST)
    copy = tmp_path / "copy.duckdb"
    lake.snapshot(copy)
    lake.close()
    program = (
        "import sys, isoflop\n"
        "with isoflop.open(sys.argv[1]) as lake:\n"
        "    for name in ('best', 'typed'):\n"
        "        print(lake.sql(f'REFIT LAW {name}').records()[0]['bit_equal'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(copy)], capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.stderr) == ("True\nTrue\n", "")


def test_options_hold_as_they_were_whatever_is_usual_now(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    from isoflop.queries.language import options

    lake.sql("CREATE LAW best AS FIT loss ~ power(params) FROM points")
    usual = options.read_fit_options

    def other(*args: object, **more: object) -> options.ClauseOptions:
        found = usual(*args, **more)  # type: ignore[arg-type]
        return options.ClauseOptions(found.objective, resamples=10, seed=3, level=0.5, forward=False)

    monkeypatch.setattr("isoflop.queries.language.fits.read_fit_options", other)
    assert lake.sql("REFIT LAW best").records()[0]["bit_equal"] is True


def test_unnamed_parameters_are_kept_as_the_statement_alone_names_them(lake: Lakehouse) -> None:
    fit = "FIT loss ~ power(params) FROM points WHERE params < ? AND part <> ? WITH (resamples = ?, forward = false)"
    lake.sql(f"SELECT ?; CREATE LAW best AS {fit}", ["first", 1e9, 5, 10])
    assert lake.sql("REFIT LAW best").records()[0]["bit_equal"] is True
    assert len(lake.sql("RESIDUALS best")) == 12


def test_other_rows_make_another_version(lake: Lakehouse) -> None:
    lake.sql(f"CREATE LAW best AS {FIT}; ALTER LAW best RENAME TO good", MOST)
    lake.query("INSERT INTO points VALUES (5e7, 2.5, 0)")
    answer = lake.sql("REFIT LAW good")
    (row,) = answer.records()
    assert (row["law"], row["version"], row["rows_changed"], row["bit_equal"]) == ("good", 2, True, False)
    assert "version 2 of law 'good' is fitted to other rows: 12 then, 13 now" in answer.notes
    assert len(lake.sql("DESCRIBE LAW good VERSION 1")) == 3
    versions = lake.query(
        "SELECT name, version, rows, statement, seed, data_hash FROM laws ORDER BY version"
    ).to_pylist()
    assert [(row["name"], row["version"], row["rows"], row["seed"]) for row in versions] == [
        ("good", 1, 12, 7),
        ("good", 2, 13, 7),
    ]
    assert versions[0]["statement"] == versions[1]["statement"] and versions[0]["data_hash"] != versions[1]["data_hash"]
    assert lake.sql("REFIT LAW good").records()[0]["bit_equal"] is True


def test_another_result_of_the_same_rows_is_another_version(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.sql(f"CREATE LAW best AS {FIT}", MOST)
    monkeypatch.setattr(refit, "KEPT", ("level", "forward"))  # as if resamples came out otherwise
    lake.query(
        "UPDATE store.laws SET statement = replace(statement, 'resamples = 40', 'resamples = 41'), "
        "code_version = '0.0.1'"
    )
    answer = lake.sql("REFIT LAW best")
    (row,) = answer.records()
    assert (row["version"], row["rows_changed"], row["bit_equal"]) == (2, False, False)
    assert any("fitted to the same rows, and its resamples differ: isoflop 0.0.1 then" in note for note in answer.notes)


def test_a_law_is_stale_when_its_rows_have_changed(lake: Lakehouse) -> None:
    lake.sql(f"CREATE LAW best AS {FIT}", MOST)
    ask = "SELECT stale FROM laws"
    assert lake.sql(ask).rows() == [(False,)] and lake.sql("SHOW LAWS").records()[0]["stale"] is False
    assert lake.sql("EXTRAPOLATE best TO params = 1e8").notes == ()
    lake.query("INSERT INTO points VALUES (1e12, 2.1, 0)")  # outside its WHERE
    assert lake.sql(ask).rows() == [(False,)]
    lake.query("UPDATE points SET loss = loss + 0.01 WHERE params = 1e6")
    note = (
        "law 'best' is stale: the rows behind it have changed since it was fitted "
        "(12 then and now, with other values); REFIT LAW best fits it to them"
    )
    optimum = "OPTIMIZE best MINIMIZE loss OVER params IN [1e6, 1e8] LOG"
    for text in (
        "EXTRAPOLATE best TO params = 1e8",
        "PREDICT best FROM points WHERE params < 1e8",
        optimum,
        "DESCRIBE LAW best",
    ):
        assert lake.sql(text).notes.count(note) == 1, text
    twice = "FROM (EXTRAPOLATE best TO params = 1e8) UNION ALL FROM (EXTRAPOLATE best TO params = 1e7)"
    assert lake.sql(twice).notes == (note,)
    assert lake.sql("FROM laws SELECT stale").rows() == [(True,)]
    assert {row["stale"] for row in lake.sql("DESCRIBE LAW best").records()} == {True}
    lake.sql("REFIT LAW best")
    assert lake.sql("SELECT version, stale FROM laws ORDER BY version").rows() == [(1, None), (2, False)]
    assert lake.sql("EXTRAPOLATE best TO params = 1e8").notes == ()


def test_weights_and_dropped_rows_count_among_the_rows(lake: Lakehouse) -> None:
    lake.query("INSERT INTO points VALUES (1e7, NULL, 1)")
    lake.sql(
        "CREATE LAW best AS FIT loss ~ power(params) FROM points WEIGHT BY part WITH (resamples = 5, forward = false)"
    )
    assert lake.sql("SHOW LAWS").records()[0]["stale"] is False
    lake.query("UPDATE points SET part = 2 WHERE part = 1 AND loss IS NOT NULL")
    assert lake.sql("SHOW LAWS").records()[0]["stale"] is True


def test_a_law_whose_table_is_gone_is_neither(lake: Lakehouse) -> None:
    lake.sql("CREATE LAW best AS FIT loss ~ power(params) FROM points WITH (resamples = 5, forward = false)")
    lake.query("DROP TABLE points")
    assert lake.sql("SHOW LAWS").records()[0]["stale"] is None
    answer = lake.sql("DESCRIBE LAW best")
    assert answer.records()[0]["stale"] is None
    assert any(
        note.startswith("whether law 'best' is stale is unknown: ") and "points" in note for note in answer.notes
    )
    assert lake.sql("EXTRAPOLATE best TO params = 1e8").notes == ()
    with pytest.raises(StatementError, match=r"Table with name points does not exist") as caught:
        lake.sql("REFIT LAW best")
    assert "LINE 1: CREATE LAW best AS FIT loss ~ power(params) FROM points" in str(caught.value)


def test_a_law_that_does_not_exist_is_not_refitted(lake: Lakehouse) -> None:
    lake.sql("CREATE LAW best AS FIT loss ~ power(params) FROM points WITH (resamples = 5, forward = false)")
    with pytest.raises(UnknownName, match="did you mean 'best'"):
        lake.sql("REFIT LAW bets")


def test_what_is_kept_names_all_that_made_a_law(lake: Lakehouse) -> None:
    lake.sql(f"CREATE LAW best AS {FIT}", MOST)
    (row,) = lake.query(
        "SELECT statement, options->>'$.values.most' AS most, (options->>'$.resamples')::INT AS resamples, "
        "level, seed, data_hash, code_version, source FROM laws"
    ).to_pylist()
    assert row["statement"].startswith("CREATE LAW best AS FIT") and float(row["most"]) == 1e9
    assert (row["resamples"], row["level"], row["seed"]) == (40, 0.9, 7)
    assert len(row["data_hash"]) == 16 and row["code_version"] == isoflop.lakehouse.runs.provenance.code_version()
    assert row["source"] == "FROM points WHERE params < $most AND part <> $part"
