"""A catalog that goes away, comes back, or falls silent: nothing is lost, nothing doubled, nobody waits for ever."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.maintenance import find_problems
from isoflop.lakehouse.shared import SharedStore, store
from isoflop.lakehouse.shared.outage import CatalogAway, Uncertain
from tests.postgres import Postgres

COUNT = "SELECT count(*) AS n, count(DISTINCT (run_id, attempt, step)) AS different FROM metrics"
# Commits a batch of ten points again and again, and writes a sweep, and says which were acknowledged.
COMMITTER = """
import sys, time, traceback
from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.shared import SharedStore
from isoflop.lakehouse.address import parse_address
from pathlib import Path
address, name, spool, until = sys.argv[1], sys.argv[2], Path(sys.argv[3]), time.monotonic() + float(sys.argv[4])
def opened():
    while True:
        try:
            return SharedStore(parse_address(address), spool)
        except StoreError as error:
            print("away", type(error).__name__, flush=True)
store, attempt = opened(), 0
while time.monotonic() < until:
    attempt += 1
    with Spool(spool, name, attempt) as file:
        for step in range(10):
            file.log(step, loss=1.0)
    for ask in (
        store.drain,
        lambda: store.write([("INSERT INTO store.sweeps (sweep_id, name) VALUES (?, ?)", [f"{name}-{attempt}", name])]),
        lambda: store.query("SELECT count(*) FROM runs"),
    ):
        while True:
            try:
                ask()
                break
            except StoreError as error:
                print("away", type(error).__name__, flush=True)
            except BaseException as error:
                print("RAW", type(error).__name__, str(error).splitlines()[0][:300], flush=True)
print("attempts", attempt, flush=True)
while True:
    try:
        store.drain()
        break
    except StoreError as error:
        print("away", type(error).__name__, flush=True)
store.close()
"""


@pytest.fixture
def own(server: Postgres) -> Iterator[Postgres]:
    """A PostgreSQL of the test's own, to be killed and frozen."""
    postgres = Postgres()
    yield postgres
    postgres.close()


def committers(address: str, folder: Path, seconds: float, count: int) -> list[subprocess.Popen[str]]:
    """Start processes that commit to one lake, each from a spool of its own."""
    started = []
    for i in range(count):
        spool = folder / f"spool{i}"
        spool.mkdir()
        command = [sys.executable, "-X", "faulthandler", "-c", COMMITTER, address, f"run{i}", str(spool), str(seconds)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    return started


def attempts_of(process: subprocess.Popen[str], seconds: float) -> tuple[int, str]:
    """Wait for a committer and return how many attempts it committed, and what it said."""
    said, errors = process.communicate(timeout=seconds)
    assert process.returncode == 0, (process.returncode, said, errors)
    assert "RAW" not in said, said
    return int(said.split("attempts ")[1].split()[0]), said


@pytest.mark.long
def test_committers_outlive_a_catalog_that_is_killed_every_other_second(own: Postgres, tmp_path: Path) -> None:
    address = own.address(tmp_path / "data")
    with Lakehouse(address) as lake:
        lake.record_runs([RunRecord(family="mine")])
    running = committers(address, tmp_path, 60, 2)
    until = time.monotonic() + 60
    kills = 0
    while time.monotonic() < until:
        time.sleep(1.5)
        own.stop(hard=True)
        time.sleep(0.3)
        own.start()
        kills += 1
    done = [attempts_of(process, 300)[0] for process in running]
    assert kills > 10 and min(done) > 0
    with Lakehouse(address) as lake:
        points = 10 * sum(done)
        assert lake.query(COUNT).to_pylist() == [{"n": points, "different": points}]
        assert lake.query("SELECT count(*) AS n FROM store.sweeps").to_pylist() == [{"n": sum(done)}]
        assert not [each for each in find_problems(lake).records() if "no run" not in str(each)]


def test_a_commit_whose_answer_was_lost_is_not_done_twice(own: Postgres, tmp_path: Path) -> None:
    run = RunRecord(family="mine")
    with Lakehouse(own.address(tmp_path / "data")) as lake:
        lake.record_runs([run])
        shared = lake._reach()
        assert isinstance(shared, SharedStore)
        with Spool(lake.spool_folder, run.run_id, 1) as spool:
            for step in range(10):
                spool.log(step, loss=1.0)
        with _Unheard(own, shared):
            lake.drain()
        with _Unheard(own, shared):
            lake.write([("INSERT INTO store.sweeps (name) VALUES ('once')", None)])
        assert lake.query(COUNT).to_pylist() == [{"n": 10, "different": 10}]
        assert lake.query("SELECT name FROM store.sweeps").to_pylist() == [{"name": "once"}]
        assert find_problems(lake).records() == []


class _Unheard:
    """Kills the server and starts it again right after the next transaction of a store has been committed."""

    def __init__(self, server: Postgres, shared: SharedStore) -> None:
        self._server, self._shared = server, shared

    def __enter__(self) -> None:
        once = self._shared._once

        def unheard(*arguments: object) -> object:
            once(*arguments)  # type: ignore[arg-type]
            self._shared._once = once  # type: ignore[method-assign]
            self._server.stop(hard=True)
            self._server.start()
            raise duckdb.IOException('Failed to commit: Failed to execute query "COMMIT": server closed the connection')

        self._shared._once = unheard  # type: ignore[assignment, method-assign]

    def __exit__(self, *_: object) -> None:
        assert self._shared._once.__name__ == "_once"


def test_a_statement_that_may_have_been_carried_out_is_not_repeated(own: Postgres, tmp_path: Path) -> None:
    with Lakehouse(own.address(tmp_path / "data")) as lake:
        threading.Timer(1.0, lambda: (own.stop(hard=True), own.start())).start()
        with pytest.raises(Uncertain, match=r"not known whether[\s\S]*look whether it was"):
            lake.query(
                "CALL postgres_execute('__ducklake_metadata_lake', 'CREATE TABLE IF NOT EXISTS x (i INT); "
                "SELECT pg_sleep(20)')"
            )
        assert lake.query("SELECT count(*) AS n FROM runs").to_pylist() == [{"n": 0}]


@pytest.mark.slow
def test_a_frozen_catalog_is_given_up_after_a_while(
    own: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PATIENCE", 4.0)
    run = RunRecord(family="mine")
    address = own.address(tmp_path / "data")
    with Lakehouse(address) as lake, Lakehouse(address, read_only=True) as reader:
        lake.record_runs([run])
        assert reader.query("SELECT count(*) AS n FROM runs").to_pylist() == [{"n": 1}]
        with Spool(lake.spool_folder, run.run_id, 1) as spool:
            spool.log(1, loss=1.0)
        own.freeze()
        try:
            asked = (
                lambda: reader.query("SELECT count(*) FROM runs"),
                lake.drain,
                lambda: lake.write([("INSERT INTO store.sweeps (name) VALUES ('later')", None)]),
                lake.compact,
                lambda: Lakehouse(address).close(),
            )
            for ask in asked:
                begun = time.monotonic()
                with pytest.raises(CatalogAway, match="does not answer"):
                    ask()
                assert time.monotonic() - begun < 20
        finally:
            own.thaw()
        monkeypatch.setattr(store, "PATIENCE", 20.0)
        lake.drain()
        assert lake.query(COUNT).to_pylist() == [{"n": 1, "different": 1}]
        assert reader.query("SELECT count(*) AS n FROM sweeps").to_pylist() in ([{"n": 0}], [{"n": 1}])


@pytest.mark.slow
def test_a_long_question_is_waited_for_as_long_as_the_catalog_greets_back(
    shared_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PATIENCE", 3.0)
    with Lakehouse(shared_address) as lake:
        slept = lake.query("FROM postgres_query('__ducklake_metadata_lake', 'SELECT 7 AS n FROM pg_sleep(9)')")
        assert slept.to_pylist() == [{"n": 7}]


def test_what_is_wrong_with_a_statement_is_said_at_once_in_its_own_words(shared_address: str) -> None:
    with Lakehouse(shared_address) as lake:
        for wrong, words in (("SELECT nope FROM runs", "LINE 1"), ("SELECT 'x'::INT", "Could not convert")):
            with pytest.raises(duckdb.Error, match=words):
                lake.query(wrong)
        with pytest.raises(duckdb.Error, match="no such thing"):
            lake.write([("SELECT error('no such thing')", None)])
        with pytest.raises(StoreError, match=r"refuses us"):
            Lakehouse(shared_address.replace("/lake_", "/other_"))
