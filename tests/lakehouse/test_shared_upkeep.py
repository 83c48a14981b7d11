"""Upkeep of a shared lake beside sessions that remember how its tables were: none of them may lose its database."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import duckdb
import pytest

from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from isoflop.lakehouse.address import SharedAddress, parse_address
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.maintenance import find_problems
from isoflop.lakehouse.shared.extensions import load_extension

Count = Callable[[], int]
RUNS = "SELECT count(*) AS n FROM runs"
INLINED = """
    FROM postgres_query('__ducklake_metadata_lake', 'SELECT table_id, count(*) AS versions FROM
    ducklake_inlined_data_tables GROUP BY table_id ORDER BY versions DESC LIMIT 1')
"""


def plain_session(address: str, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Attach the lake as somebody does who has DuckDB and no isoflop."""
    place = parse_address(address)
    assert isinstance(place, SharedAddress)
    con = duckdb.connect()
    for name in ("postgres_scanner", "ducklake"):
        load_extension(con, name)
    options = ", READ_ONLY" if read_only else ""
    con.execute(f"ATTACH 'ducklake:postgres:{place.connection_string}' AS lake (DATA_PATH '{place.data}/'{options})")
    con.execute("USE lake")
    return con


def counting(con: duckdb.DuckDBPyConnection) -> int:
    row = con.execute(RUNS).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def sessions(shared_address: str) -> Iterator[Callable[[], dict[str, Count]]]:
    """Open a session of every kind on a lake that exists, and count its runs from each."""
    with ExitStack() as open_:

        def open_all() -> dict[str, Count]:
            found: dict[str, Count] = {}
            for name, read_only in (("another writer", False), ("a reader", True)):
                lake = open_.enter_context(Lakehouse(shared_address, drains=False, read_only=read_only))
                found[name] = lambda lake=lake: lake.query(RUNS)["n"].to_pylist()[0]  # type: ignore[misc]
            for name, read_only in (("plain DuckDB", False), ("plain DuckDB for reading", True)):
                con = open_.enter_context(plain_session(shared_address, read_only=read_only))
                found[name] = lambda con=con: counting(con)  # type: ignore[misc]
            return found

        yield open_all


@pytest.mark.slow
def test_every_kind_of_session_survives_upkeep_between_new_config_keys(
    shared_address: str, sessions: Callable[[], dict[str, Count]]
) -> None:
    with Lakehouse(shared_address) as lake, Lakehouse(shared_address, drains=False) as other:
        lake.record_runs([RunRecord(family="mine", config={"first": 1})])
        counts = sessions()
        for i in range(3):
            lake.record_runs([RunRecord(family="mine", config={f"new_{i}": i})])
            other.record_runs([RunRecord(family="mine", config={f"newer_{i}": str(i)})])
            expected = dict.fromkeys(counts, 2 * i + 3)
            assert {name: count() for name, count in counts.items()} == expected
            (lake, other)[i % 2].compact()
            assert {name: count() for name, count in counts.items()} == expected
        assert other.query("SELECT newer_2 FROM runs WHERE newer_2 IS NOT NULL").to_pylist() == [{"newer_2": "2"}]
        assert find_problems(other).records() == []


@pytest.mark.slow
def test_a_lake_that_keeps_rows_of_several_versions_in_its_catalog_survives_upkeep(
    shared_address: str, sessions: Callable[[], dict[str, Count]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As lakes were made before runs were kept in files: this session and what it makes know nothing of that.
    with monkeypatch.context() as before:
        before.setattr("isoflop.lakehouse.shared.attaching.keep_runs_in_files", lambda *_: None)
        old = Lakehouse(shared_address, drains=False)
        for i in range(4):
            old.record_runs([RunRecord(family="old", config={f"old_{i}": i})])
    with old, Lakehouse(shared_address) as lake:
        versions = lake.query(INLINED).to_pylist()[0]["versions"]
        assert versions > 3
        counts = sessions()
        everything = "SELECT * FROM store.runs ORDER BY run_id"
        for i in range(3):
            expected = dict.fromkeys(counts, 4 + 2 * i)
            assert {name: count() for name, count in counts.items()} == expected
            before_upkeep = lake.query(everything)
            lake.compact()
            assert lake.query(everything) == before_upkeep == old.query(everything)
            assert {name: count() for name, count in counts.items()} == expected
            old.record_runs([RunRecord(family="old", config={f"still_{i}": i})])
            lake.record_runs([RunRecord(family="new", config={f"new_{i}": i})])
        assert lake.query(INLINED).to_pylist()[0]["versions"] < versions
        assert find_problems(lake).records() == []
    with Lakehouse(shared_address) as lake:
        assert lake.query(RUNS).to_pylist() == [{"n": 10}]
        assert lake.query("SELECT old_0, still_2, new_2 FROM runs WHERE new_2 = 2").to_pylist() == [
            {"old_0": None, "still_2": None, "new_2": 2}
        ]


@pytest.mark.slow
def test_a_flush_of_plain_duckdb_takes_nothing_from_others(
    shared_address: str, sessions: Callable[[], dict[str, Count]]
) -> None:
    with Lakehouse(shared_address) as lake, plain_session(shared_address, read_only=False) as plain:
        lake.record_runs([RunRecord(family="mine", config={"first": 1})])
        counts = sessions()
        for i in range(2):
            lake.record_runs([RunRecord(family="mine", config={f"new_{i}": i})])
            plain.execute("CALL ducklake_flush_inlined_data('lake')")
            assert {name: count() for name, count in counts.items()} == dict.fromkeys(counts, i + 2)
        assert find_problems(lake).records() == []


@pytest.mark.slow
def test_a_process_with_ever_new_config_keys_outlives_upkeep_from_another(shared_address: str) -> None:
    program = (
        "import sys\nfrom isoflop.lakehouse import Lakehouse, RunRecord, Spool\nlake = Lakehouse(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "for i, line in enumerate(sys.stdin):\n"
        "    run = RunRecord(family='mine', config={f'key_{i}': i})\n    lake.record_runs([run])\n"
        "    with Spool(lake.spool_folder, run.run_id, 1) as spool:\n        spool.log(1, loss=1.0)\n"
        "    lake.drain()\n    print(lake.query('SELECT count(*) AS n FROM runs')['n'][0], flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, shared_address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        with Lakehouse(shared_address, drains=False) as lake:
            for i in range(6):
                process.stdin.write("next\n")
                process.stdin.flush()
                assert process.stdout.readline() == f"{i + 1}\n"
                if i % 2:
                    lake.compact()
            assert lake.query("SELECT count(*) AS n FROM metrics").to_pylist() == [{"n": 6}]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_store_whose_database_died_attaches_the_lake_anew_and_a_session_is_told(shared_address: str) -> None:
    run = RunRecord(family="mine", config={"k": 1})
    with Lakehouse(shared_address) as lake, plain_session(shared_address, read_only=False) as plain:
        lake.record_runs([run])
        with lake.session() as session:
            assert session.query(RUNS).to_pylist() == [{"n": 1}]
            pull_away(plain, "sweeps")
            assert lake.query("SELECT count(*) AS n FROM sweeps").to_pylist() == [{"n": 0}]
            with pytest.raises(StoreError, match=r"session's connection to .* is lost[\s\S]*open a new session"):
                session.query(RUNS)
        with Spool(lake.spool_folder, run.run_id, 1) as spool:
            spool.log(1, loss=1.0)
        pull_away(plain, "batches")
        assert lake.drain().points == 1
        pull_away(plain, "sweep_runs")
        assert lake.record_sweep(name="s", spec="", runs=[run], sweep_id=None)
        assert lake.query("SELECT runs FROM sweeps").to_pylist() == [{"runs": 1}]
        assert find_problems(lake).records() == []


def pull_away(plain: duckdb.DuckDBPyConnection, table: str) -> None:
    """Drop the catalog's table of inlined rows that other sessions remember, as a flush did."""
    metadata = "__ducklake_metadata_lake"
    found = plain.execute(
        f"SELECT d.table_name FROM {metadata}.ducklake_inlined_data_tables d "
        f"JOIN {metadata}.ducklake_table t USING (table_id) WHERE t.table_name = ?",
        [table],
    ).fetchall()
    assert found
    for (name,) in found:
        forget = f"DELETE FROM ducklake_inlined_data_tables WHERE table_name = ''{name}''"
        plain.execute(f"CALL postgres_execute('{metadata}', 'DROP TABLE {name}; {forget}')")
