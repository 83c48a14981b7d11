"""One statement reads one state of the lake, whoever commits while it is answered, and wherever the lake is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError, StoreError
from isoflop.lakehouse.sql.cancellation import Progress
from tests.keepers import kill_keeper
from tests.lakehouse.test_session import held

FIT = "FIT loss ~ power(params) FROM runs WITH (resamples = 0, forward = false)"
TWICE = f"SELECT count(*) AS here, any_value(f.rows) AS fitted FROM runs, ({FIT}) f"


def land(lake: Lakehouse, *widths: int) -> None:
    """Have the writer commit finished runs of these widths, through the spool."""
    for width in widths:
        params = 12.0 * width**2
        with lake.run("net", {"width": width}, params=params) as run:
            run.log(step=1, loss=1.5 + 40 / params**0.4 + 0.001 * (width % 3))
    lake.drain()


@dataclass
class Between:
    """Does something between two queries of a statement: when its fit first tells how far it is.

    Parameters
    ----------
    act : what is done
    times : how many fits it is done in
    """

    act: Callable[[int], object]
    times: int = 1
    done: int = field(default=0, init=False)

    def __call__(self, progress: Progress) -> None:
        if self.done < self.times and progress.part != "percent of a query":
            self.done += 1
            self.act(self.done)


@pytest.fixture(params=["file", "held", pytest.param("shared", marks=pytest.mark.long)])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lakehouse]:
    """A lake with eight runs: in our own file, in a file that another process holds, in a shared catalog."""
    with contextlib.ExitStack() as stack:
        place = str(tmp_path / "runs.duckdb")
        if request.param == "shared":
            place = request.getfixturevalue("shared_address")
        if request.param == "held":
            stack.enter_context(held(Path(place)))
        opened = stack.enter_context(isoflop.open(place))
        land(opened, 16, 24, 33, 48, 64, 97, 128, 200)
        yield opened


@pytest.mark.slow
def test_what_is_committed_between_two_queries_of_a_statement_is_not_seen_by_it(lake: Lakehouse) -> None:
    between = Between(lambda done: land(lake, 300 + done))
    assert lake.sql(TWICE, progress=between).records() == [{"here": 8, "fitted": 8}]
    assert between.done == 1
    assert lake.sql(TWICE).records() == [{"here": 9, "fitted": 9}]
    with lake.session() as session:
        between = Between(lambda done: land(lake, 400 + done))
        assert session.sql(TWICE, progress=between).records() == [{"here": 9, "fitted": 9}]
        assert session.sql(TWICE).records() == [{"here": 10, "fitted": 10}]
        session.query("BEGIN; COMMIT")


@pytest.mark.slow
def test_a_shared_lake_answers_a_statement_from_one_state_too(shared_address: str) -> None:
    with isoflop.open(shared_address) as lake:
        land(lake, 16, 24, 33, 48)
        assert lake.sql(TWICE, progress=Between(lambda _: land(lake, 300))).records() == [{"here": 4, "fitted": 4}]
        with isoflop.open(shared_address, read_only=True) as reader:
            between = Between(lambda _: land(lake, 400))
            assert reader.sql(TWICE, progress=between).records() == [{"here": 5, "fitted": 5}]


@pytest.mark.slow
def test_what_a_statement_writes_is_there_for_everybody_afterwards(lake: Lakehouse) -> None:
    made = lake.sql(f"CREATE LAW size AS {FIT}", progress=Between(lambda done: land(lake, 300 + done)))
    assert made.records()[0]["rows"] == 8
    assert lake.sql("SELECT name, stale FROM (SHOW LAWS)").records() == [{"name": "size", "stale": True}]
    assert lake.sql("REFIT LAW size").records()[0]["rows"] == 9
    lake.sql(
        f"CREATE TABLE kept AS {FIT}; INSERT INTO kept FROM ({FIT})", progress=Between(lambda done: land(lake, 500))
    )
    assert lake.query("SELECT rows FROM kept ORDER BY rows").to_pylist() == [{"rows": 9}, {"rows": 10}]
    seen = lake.sql("SELECT count(*) AS n FROM (FORECAST size TO params = [1e8, 1e9]), store.forecasts").records()
    assert seen == [{"n": 0}], "a statement does not see what it writes"
    assert lake.query("SELECT count(*) AS n FROM store.forecasts").to_pylist() == [{"n": 2}]
    with lake.session() as session:
        session.sql("COMMENT ON LAW size IS 'by width'; ALTER LAW size RENAME TO extent")
        assert lake.sql("SHOW LAWS").records()[0]["comment"] == "by width"
        session.sql("DROP LAW extent")
    assert len(lake.sql("SHOW LAWS")) == 0


@pytest.mark.slow
def test_the_transaction_of_a_person_is_theirs(lake: Lakehouse) -> None:
    with lake.session() as session:
        session.sql("BEGIN")
        assert session.sql(TWICE).records() == [{"here": 8, "fitted": 8}]
        land(lake, 300)
        session.sql(f"CREATE LAW size AS {FIT}")
        assert session.sql(TWICE).records() == [{"here": 8, "fitted": 8}]
        assert len(session.sql("SHOW LAWS")) == 1 and len(lake.sql("SHOW LAWS")) == 0
        session.sql("ROLLBACK")
        assert session.sql(TWICE).records() == [{"here": 9, "fitted": 9}]
        assert len(session.sql("SHOW LAWS")) == 0
        session.sql(f"BEGIN; CREATE LAW size AS {FIT}; COMMIT")
        assert len(lake.sql("SHOW LAWS")) == 1


@pytest.mark.slow
def test_an_error_leaves_no_transaction_open(lake: Lakehouse) -> None:
    with lake.session() as session:
        for wrong in (
            f"SELECT error('on purpose') FROM ({FIT})", f"SELECT nope FROM ({FIT})", "FIT no ~ power(params) FROM runs",
            f"CREATE TABLE kept AS SELECT rows, error('on purpose') AS x FROM ({FIT})",
        ):  # fmt: skip
            with pytest.raises((duckdb.Error, StatementError)):
                session.sql(wrong)
            session.query("BEGIN")
            session.query("ROLLBACK")
        assert session.query("SELECT count(*) AS n FROM duckdb_tables() WHERE table_name = 'kept'").to_pylist() == [
            {"n": 0}
        ]
        assert session.sql(TWICE).records() == [{"here": 8, "fitted": 8}]


def test_a_conflict_with_another_writer_is_tried_again(tmp_path: Path) -> None:
    with isoflop.open(tmp_path / "runs.duckdb") as lake:
        land(lake, 16, 24, 33, 48, 64)
        lake.query("CREATE TABLE notes AS SELECT 0 AS n, 0 AS rows")
        note = f"UPDATE notes SET rows = f.rows FROM ({FIT}) f"
        between = Between(lambda done: lake.query("UPDATE notes SET rows = 0, n = n + 1"))
        lake.sql(note, progress=between)
        assert lake.query("FROM notes").to_pylist() == [{"n": 1, "rows": 5}]
        always = Between(lambda done: lake.query("UPDATE notes SET rows = 0, n = n + 1"), times=1000)
        with pytest.raises((duckdb.TransactionException, StatementError), match="Conflict"):
            lake.sql(note, progress=always)
        assert lake.query("FROM notes").to_pylist() == [{"n": 1 + always.done, "rows": 0}]


def test_an_error_that_is_passed_over_does_not_spoil_the_statement(tmp_path: Path) -> None:
    with isoflop.open(tmp_path / "runs.duckdb") as lake:
        lake.query(
            "CREATE TABLE texts AS SELECT (10.0 ** (6 + i))::VARCHAR AS size, 3.0 - i / 5 AS loss FROM range(6) t(i)"
        )
        source = "(SELECT size::DOUBLE AS size, loss FROM texts)"
        lake.sql(f"CREATE LAW size_law AS FIT loss ~ power(size) FROM {source} WITH (resamples = 0, forward = false)")
        lake.query("UPDATE texts SET size = 'many' WHERE loss = 3.0")
        (row,) = lake.sql(
            "SELECT count(*) AS n, any_value(stale) AS stale FROM (DESCRIBE LAW size_law), texts"
        ).records()
        assert row["stale"] is None and row["n"] > 0
        assert len(lake.sql("SELECT * FROM (EXTRAPOLATE size_law TO size = 1e9), (SELECT count(*) FROM runs)")) == 1


@pytest.mark.slow
def test_a_lake_open_for_reading_only_answers_from_one_state_too(lake: Lakehouse) -> None:
    is_file = not lake.is_shared and lake.is_owner
    if is_file:
        lake.close()
    with isoflop.open(lake.address, read_only=True) as reader:
        between = Between(lambda done: None if is_file else land(lake, 300 + done))
        assert reader.sql(TWICE, progress=between).records() == [{"here": 8, "fitted": 8}]
        assert between.done == 1
        with reader.session() as session:
            here = 8 if is_file else 9
            between = Between(lambda done: None if is_file else land(lake, 400 + done))
            assert session.sql(TWICE, progress=between).records() == [{"here": here, "fitted": here}]
            for refused in ("BEGIN", f"CREATE TABLE kept AS {FIT}", f"COPY ({FIT}) TO 'kept.csv'"):
                with pytest.raises((duckdb.PermissionException, StatementError), match="reading only"):
                    session.sql(refused)
            with pytest.raises((StatementError, StoreError)):
                session.sql(f"CREATE LAW size AS {FIT}")


@pytest.mark.slow
def test_a_file_is_not_rewritten_under_a_statement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isoflop.lakehouse.backends.store.WAIT_FOR_STATEMENTS", 0.0)
    with isoflop.open(tmp_path / "runs.duckdb") as lake:
        land(lake, 16, 24, 33, 48, 64)

        def compact(_: int) -> None:
            with pytest.raises(StoreError, match="while a statement is being answered"):
                lake.compact()

        between = Between(compact)
        assert lake.sql(TWICE, progress=between).records() == [{"here": 5, "fitted": 5}] and between.done == 1
        lake.compact()


def test_a_keeper_that_dies_over_a_statement_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with isoflop.open(path) as lake:
        land(lake, 16, 24, 33, 48, 64)

        def kill(_: int) -> None:
            kill_keeper(path)

        assert lake.sql(TWICE, progress=Between(kill)).records() == [{"here": 5, "fitted": 5}]
