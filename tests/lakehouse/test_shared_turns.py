"""Writers of one catalog take turns: none of them starves, and who cannot have the queue goes on without it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.address import SharedAddress, parse_address
from isoflop.lakehouse.shared import turns
from isoflop.lakehouse.shared.turns import Turns
from tests.lakehouse.test_shared_outages import COUNT, attempts_of, committers
from tests.postgres import Postgres


def queue_of(address: str) -> Turns:
    place = parse_address(address)
    assert isinstance(place, SharedAddress)
    return Turns(place.connection_string)


@pytest.mark.long
@pytest.mark.parametrize("count", [3, 4])
def test_the_slowest_of_equal_committers_commits_at_least_half_as_often_as_the_fastest(
    shared_address: str, tmp_path: Path, count: int
) -> None:
    with Lakehouse(shared_address):
        running = committers(shared_address, tmp_path, 30, count)
        done = [attempts_of(process, 200)[0] for process in running]
    assert min(done) >= max(done) / 2, done
    with Lakehouse(shared_address) as lake:
        points = 10 * sum(done)
        assert lake.query(COUNT).to_pylist() == [{"n": points, "different": points}]


def test_turns_are_given_in_the_order_of_asking(shared_address: str) -> None:
    queues = [queue_of(shared_address) for _ in range(3)]
    order: list[int] = []
    with Lakehouse(shared_address):
        for queue in queues:
            with queue.turn():
                pass

        def take(number: int) -> None:
            with queues[number].turn():
                order.append(number)

        threads = [threading.Thread(target=take, args=(number,)) for number in (1, 2)]
        with queues[0].turn():
            for thread in threads:
                thread.start()
                time.sleep(0.5)
            order.append(0)
        for thread in threads:
            thread.join()
    assert order == [0, 1, 2]
    for queue in queues:
        queue.close()


def test_who_cannot_have_the_queue_goes_on_without_it(shared_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LONGEST_WAIT", 1)
    with Lakehouse(shared_address) as lake:
        owner = queue_of(shared_address)
        with owner.turn():
            begun = time.monotonic()
            for i in range(3):
                lake.write([("INSERT INTO store.sweeps (name) VALUES (?)", [f"{i}"])])
            assert time.monotonic() - begun < 5 + turns.LONGEST_WAIT
        owner.close()
        assert lake.query("SELECT count(*) AS n FROM sweeps").to_pylist() == [{"n": 3}]


def test_a_queue_whose_server_has_gone_holds_up_nobody(tmp_path: Path, server: Postgres) -> None:
    own = Postgres()
    try:
        with Lakehouse(own.address(tmp_path / "data")) as lake:
            lake.write([("INSERT INTO store.sweeps (name) VALUES ('before')", None)])
            own.stop(hard=True)
            own.start()
            lake.write([("INSERT INTO store.sweeps (name) VALUES ('after')", None)])
            assert lake.query("SELECT count(*) AS n FROM sweeps").to_pylist() == [{"n": 2}]
    finally:
        own.close()
