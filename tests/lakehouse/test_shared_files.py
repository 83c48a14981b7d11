"""A shared lake one of whose Parquet files is gone: what was in it is said, and everything else answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import isoflop
from isoflop.cli.main import main
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import DataFileMissing
from isoflop.lakehouse.maintenance import find_problems
from isoflop.lakehouse.session import Session

LACKS = "table big lacks its data file {}, which held 20,000 of its 20,000 rows in files"
READS = (
    "SELECT sum(loss) FROM big",
    "CREATE TABLE copied AS FROM big",
    "FIT loss ~ power(x) FROM big WHERE x BETWEEN 1 AND 50 WITH (resamples = 0)",
    "SELECT status FROM (FIT loss ~ power(x) FROM big WITH (resamples = 0))",
    "COMPARE (loss ~ power(x)), (loss ~ plain_power(x)) FROM big",
    "REFIT LAW of_big",
)


@pytest.fixture
def lake(shared_address: str) -> Iterator[Lakehouse]:
    """A shared lake with two tables large enough to be files, a law of each, and a run."""
    with isoflop.open(shared_address) as opened:
        opened.sql("CREATE TABLE big AS SELECT i AS x, 2 + 30 / (1 + i) AS loss FROM range(20000) t(i)")
        opened.sql("CREATE TABLE other AS SELECT i AS x, 2 + 30 / (1 + i) AS loss FROM range(30000) t(i)")
        for table in ("big", "other"):
            text = f"CREATE LAW of_{table} AS FIT loss ~ shifted_power(x) FROM {table} WHERE x BETWEEN 1 AND 40"
            opened.sql(f"{text} WITH (resamples = 0)")
        yield opened


def file_of(lake: Lakehouse, table: str) -> Path:
    """The only Parquet file of a table."""
    (row,) = lake.query(f"SELECT data_file FROM ducklake_list_files('lake', '{table}')").to_pylist()
    return Path(row["data_file"])


@pytest.mark.slow
def test_every_statement_says_which_file_of_which_table_is_gone(lake: Lakehouse) -> None:
    file = file_of(lake, "big")
    kept = file.rename(file.with_suffix(".kept"))
    said = LACKS.format(file)
    with lake.session() as session:
        session.sql("CREATE TEMP TABLE mine AS SELECT 1 AS x")
        for statement in READS:
            askers: tuple[Lakehouse | Session, ...] = (lake, session)
            for asked in askers:
                with pytest.raises(DataFileMissing) as lost:
                    asked.sql(statement)
                assert lost.value.message == said, statement
                assert lost.value.hint is not None and "isoflop lake check" in lost.value.hint
        assert session.sql("SELECT x FROM mine").rows() == [(1,)]  # no session was given up for it
    assert lake.sql("SELECT count(loss) FROM other").rows() == [(30000,)]
    assert {row["name"]: row["stale"] for row in lake.sql("SHOW LAWS").records()} == {"of_big": None, "of_other": False}
    described = lake.sql("DESCRIBE LAW of_big")
    assert any(said in note for note in described.notes)
    assert lake.sql("EXTRAPOLATE of_big TO x = 1e5").records()[0]["predicted_loss"] > 0
    kept.rename(file)
    assert lake.sql("SELECT count(loss) FROM big").rows() == [(20000,)]


@pytest.mark.slow
def test_the_check_names_every_file_that_is_gone(
    lake: Lakehouse, shared_address: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert find_problems(lake).records() == []
    with lake.run("mine", {"width": 8}, params=10.0) as run:
        run.log(step=1, loss=2.5)
    files = {name: file_of(lake, name) for name in ("big", "other")}
    for file in files.values():
        file.unlink()
    rows = {(row["kind"], row["subject"]): row["detail"] for row in find_problems(lake).records()}
    assert rows == {
        ("data file missing", "big"): LACKS.format(files["big"]),
        ("data file missing", "other"): LACKS.format(files["other"]).replace("big", "other").replace("20,", "30,"),
    }
    assert lake.sql("SELECT count(*) FROM runs").rows() == [(1,)]
    with isoflop.open(shared_address, read_only=True) as looking:
        assert len(find_problems(looking).records()) == 2
        with pytest.raises(DataFileMissing, match="table other lacks its data file"):
            looking.sql("SELECT sum(x) FROM other")
    monkeypatch.setattr(sys, "argv", ["isoflop", "lake", "check", "--lake", shared_address, "--json"])
    capfd.readouterr()
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code and {row["subject"] for row in json.loads(capfd.readouterr().out)} == {"big", "other"}


@pytest.mark.slow
def test_a_check_answers_where_a_table_of_its_own_lacks_a_file(lake: Lakehouse, shared_address: str) -> None:
    with lake.run("mine", {"width": 8}, params=10.0) as run:
        run.log(step=1, loss=2.5)
    (row,) = lake.query("SELECT data_file FROM ducklake_list_files('lake', 'runs', schema => 'store')").to_pylist()
    Path(row["data_file"]).unlink()
    (problem,) = find_problems(lake).records()
    assert problem["subject"] == "store.runs" and "held 1 of its 1 rows" in problem["detail"]
    with pytest.raises(DataFileMissing, match=r"table store\.runs lacks"):
        lake.sql("SELECT name FROM runs")


@pytest.mark.slow
def test_a_file_that_is_no_table_s_is_duckdb_s_own_matter(lake: Lakehouse, tmp_path: Path) -> None:
    with pytest.raises(duckdb.IOException, match="No files found"):
        lake.sql(f"FROM '{tmp_path}/nothing.parquet'")
    damaged = file_of(lake, "big")
    damaged.write_bytes(b"PAR1")
    with pytest.raises(DataFileMissing, match=r"of table big of .* with 20,000 rows, cannot be read"):
        lake.sql("SELECT sum(loss) FROM big")
