"""Which runs go together, and which are tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoflop.lakehouse.errors import RunFailed
from isoflop.workers.cluster.board import Board
from isoflop.workers.cluster.capacity import Capacity, Node
from isoflop.workers.cluster.packs import MAX_PACK, Job, PackQueue, packed, retried
from isoflop.workers.cluster.placement import Held, Placement
from isoflop.workers.resources import Resources
from isoflop.workers.sweep import load_sweep

TEXT = """\
name: features
family: plrf
grid: {width: [8, 16], spectrum_exponent: 1.0, target_exponent: 0.8, tokens: 100}
seeds: 6
resources: {memory: 1 GiB}
"""


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Twelve jobs of two shapes."""
    (tmp_path / "s.yaml").write_text(TEXT)
    plan = load_sweep(tmp_path / "s.yaml").expand()
    return [Job(*parts) for parts in zip(plan.runs, plan.records, plan.resources, strict=True)]


def test_runs_of_one_shape_are_spread_over_all_slots(jobs: list[Job]) -> None:
    packs = packed(jobs, lambda need: 2)
    assert [len(pack.jobs) for pack in packs] == [3, 3, 3, 3]
    assert all(len({job.family.pack_key() for job in pack.jobs}) == 1 for pack in packs)
    assert [job for pack in packs for job in pack.jobs] == jobs
    assert [len(pack.jobs) for pack in packed(jobs, lambda need: 100)] == [1] * 12
    assert [len(pack.jobs) for pack in packed(jobs, lambda need: 0)] == [6, 6]
    assert [len(pack.jobs) for pack in packed(jobs, lambda need: 2, most=4)] == [2] * 6
    assert [len(pack.jobs) for pack in packed(jobs, lambda need: 2, most=1)] == [1] * 12


def test_a_pack_is_taken_in_part(jobs: list[Job]) -> None:
    queue = PackQueue(packed(jobs, lambda need: 1))
    assert [len(queue.take(most).jobs) for most in (4, 4, 4, None)] == [4, 2, 4, 2]
    assert not queue


def test_a_pack_is_never_larger_than_its_limit(jobs: list[Job]) -> None:
    packs = packed(jobs[:1] * (2 * MAX_PACK + 1), lambda need: 1)
    assert [len(pack.jobs) for pack in packs] == [MAX_PACK, MAX_PACK, 1]


def test_causes_are_counted_apart(jobs: list[Job]) -> None:
    retries = {"crash": 1, "out_of_memory": 0, "preempted": 2}
    job = jobs[0]
    assert job.failed_by("crash").may_retry(retries)
    assert not job.failed_by("crash").failed_by("crash").may_retry(retries)
    assert job.failed_by("crash").failed_by("preempted").failed_by("preempted").may_retry(retries)
    assert not job.failed_by("out_of_memory").may_retry(retries)
    assert not job.failed_by("never heard of").may_retry(retries)


def test_lack_of_memory_doubles_what_is_reserved(jobs: list[Job]) -> None:
    assert jobs[0].failed_by("out_of_memory").resources.memory == 2 * 2**30
    assert jobs[0].failed_by("crash").resources.memory == 2**30
    assert Resources().doubled() == Resources()


def test_runs_that_died_together_come_back_in_halves(jobs: list[Job]) -> None:
    assert [len(pack.jobs) for pack in retried(jobs[:5], died_together=True)] == [3, 2]
    assert [len(pack.jobs) for pack in retried(jobs[:1], died_together=True)] == [1]
    assert [len(pack.jobs) for pack in retried(jobs[:3], died_together=False)] == [1, 1, 1]
    assert retried([], died_together=True) == []


def test_repetitions_wait_behind_everything_else(jobs: list[Job]) -> None:
    queue = PackQueue(packed(jobs, lambda need: 1))
    first = queue.take()
    queue.put(retried(first.jobs, died_together=True))
    assert [len(queue.take().jobs) for _ in range(len(queue))] == [6, 3, 3]


def test_capacity_is_counted_machine_by_machine() -> None:
    small, large = (
        Node("a", "one", {"CPU": 4, "memory": 2**30}),
        Node("b", "two", {"CPU": 2, "GPU": 2, "memory": 2**34}),
    )
    capacity = Capacity([small, large])
    assert capacity.slots(Resources(cpus=3, gpus=0)) == 1  # six cores, but no machine has three twice
    assert capacity.slots(Resources(cpus=1)) == 2  # left open: one GPU each
    assert capacity.slots(Resources(cpus=1, gpus=0.25)) == 2
    assert capacity.slots(Resources(cpus=1, gpus=0, memory=2**33)) == 2
    assert capacity.decided(Resources()).gpus == 1.0
    assert Capacity([small]).decided(Resources()).gpus == 0.0
    assert capacity.has_room(Resources(cpus=1, gpus=1), [Resources(cpus=1, gpus=1)])
    assert not capacity.has_room(Resources(cpus=1, gpus=1), [Resources(cpus=1, gpus=1)] * 2)
    assert capacity.largest() == "2 CPUs, 2 GPUs, 16 GiB"


def test_the_board_counts_every_run_once(jobs: list[Job]) -> None:
    board = Board(sweep_id="s", name="n", total=14, excluded=1, to_do=jobs)
    for job in jobs[:5]:
        board.begun(job, 1)
    board.ended(jobs[0], 1, status="finished", reason=None, loss=1.0)
    board.ended(jobs[1], 1, status="failed", reason="diverged", loss=None)
    board.failed(jobs[2], 1, "crash", "ValueError: no\nmore")
    board.retried(jobs[3], 1, "preempted", None)
    state = board.state()
    assert (state.skipped, state.finished, state.diverged, state.failed, state.retried) == (2, 1, 1, 1, 1)
    assert state.queued == 14 - 2 - 3
    assert (state.done, state.is_complete, state.exit_code) == (4, False, 4)
    assert [event.level for event in state.events] == ["info", "info", "error", "warning"]
    assert "ValueError: no" in state.events[2].message and "more" not in state.events[2].message
    assert state.remaining_seconds is not None


def test_exclusive_runs_get_a_machine_each_and_all_its_processors() -> None:
    nodes = [Node("1" * 56, "a", {"CPU": 2.0}), Node("2" * 56, "b", {"CPU": 8.0})]
    capacity, need, placement = Capacity(nodes), Resources(cpus=1), Placement(is_exclusive=True)
    first = placement.machine(capacity, need, [])
    assert first == nodes[0] and placement.options(need, first)["num_cpus"] == 2.0
    second = placement.machine(capacity, need, [Held(need, nodes[0].node_id)])
    assert second == nodes[1] and placement.options(need, second)["num_cpus"] == 8.0
    both = [Held(need, nodes[0].node_id), Held(need, nodes[1].node_id)]
    assert not placement.has_room(capacity, need, both) and not placement.may_wait(2, 10)
    assert Placement().has_room(capacity, need, both) and Placement().machine(capacity, need, []) is None
    assert placement.machine(capacity, Resources(cpus=4), []) == nodes[1]


def test_exclusive_runs_on_gpus_have_whole_ones() -> None:
    capacity, placement = Capacity([Node("one", "a", {"CPU": 8.0, "GPU": 2.0})]), Placement(is_exclusive=True)
    on_one = Resources(cpus=1, gpus=1)
    assert placement.machine(capacity, on_one, []) is None
    assert placement.has_room(capacity, on_one, [Held(on_one)])
    assert not placement.has_room(capacity, on_one, [Held(on_one)] * 2)
    with pytest.raises(RunFailed, match=r"a run asks for 0.5 GPUs, and timing: exclusive gives it none to share"):
        placement.has_room(capacity, Resources(cpus=1, gpus=0.5), [])
