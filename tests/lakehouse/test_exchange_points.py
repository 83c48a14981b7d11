"""Points of curves as columns."""

from __future__ import annotations

import math

import numpy as np

from isoflop.lakehouse.exchange.points import PointColumns, Points


def points(rows: list[tuple[str, str, int, float, float]]) -> Points:
    columns = PointColumns()
    for run_id, metric, step, value, seconds in rows:
        columns.add(run_id, metric, [step], [value], [seconds])
    return columns.points()


ROWS = [
    ("a", "loss", 1, 3.0, 0.1),
    ("a", "loss", 2, math.nan, math.nan),
    ("a", "acc", 1, 0.5, 0.1),
    ("b", "loss", 1, math.inf, 0.2),
]


def test_sorting_puts_runs_metrics_and_steps_in_one_order() -> None:
    found = points(ROWS[::-1]).sorted()
    told = [
        (found.run_ids[r], found.metrics[m], int(s))
        for r, m, s in zip(found.run, found.metric, found.step, strict=True)
    ]
    assert told == [("b", "loss", 1), ("a", "acc", 1), ("a", "loss", 1), ("a", "loss", 2)]


def test_the_hash_of_a_run_does_not_depend_on_the_order_its_points_came_in() -> None:
    rng = np.random.default_rng(0)
    repeated = [("a", "loss", int(step), float(value), float(at)) for step, value, at in rng.integers(0, 4, (40, 3))]
    shuffled = [repeated[i] for i in rng.permutation(len(repeated))]
    assert points(repeated + ROWS).sorted().hashes() == points(ROWS[::-1] + shuffled).sorted().hashes()


def test_the_hash_changes_with_any_value_step_time_or_name() -> None:
    whole = points(ROWS).sorted().hashes()["a"]
    changes = [
        ("a", "loss", 1, 3.5, 0.1),
        ("a", "loss", 3, 3.0, 0.1),
        ("a", "loss", 1, 3.0, 0.2),
        ("a", "cost", 1, 3.0, 0.1),
    ]
    for changed in changes:
        assert points([changed, *ROWS[1:]]).sorted().hashes()["a"] != whole
    assert points([*ROWS[:3], ("b", "loss", 9, 0.0, 0.0)]).sorted().hashes()["a"] == whole


def test_every_nan_hashes_alike() -> None:
    strange = np.frombuffer(np.uint64(0xFFF8_0000_0000_0001).tobytes(), dtype=np.float64)
    first, second = PointColumns(), PointColumns()
    first.add("a", "loss", [1], strange)
    second.add("a", "loss", [1], [math.nan])
    assert first.points().sorted().hashes() == second.points().sorted().hashes()


def test_the_last_point_of_each_metric_is_found() -> None:
    lasts = points(ROWS).sorted().lasts()
    assert lasts["a"]["acc"] == (1, 0.5, 0.1) and lasts["a"]["loss"][0] == 2 and math.isnan(lasts["a"]["loss"][1])


def test_renaming_leaves_runs_alone_that_have_the_name_already() -> None:
    found, count = points([("a", "loss", 1, 1.0, 0), ("a", "train", 1, 2.0, 0), ("b", "train", 1, 3.0, 0)]).renamed(
        "loss", "train"
    )
    assert count == 1 and found.sorted().lasts() == {
        "a": {"loss": (1, 1.0, 0.0), "train": (1, 2.0, 0.0)}, "b": {"loss": (1, 3.0, 0.0)},
    }  # fmt: skip


def test_an_axis_keeps_the_last_value_of_a_step() -> None:
    found = points(
        [("a", "tokens", 1, 5, 0.2), ("a", "tokens", 1, 4, 0.1), ("a", "loss", 1, 2, 0), ("a", "loss", 1, 3, 0)]
    )
    kept = found.sorted().with_one_value_a_step(("tokens",))
    assert sorted(kept.value.tolist()) == [2, 3, 5]


def test_no_points_are_fine() -> None:
    none = Points.none().sorted()
    assert (len(none), none.lasts(), none.hashes(), none.arrow({}).num_rows) == (0, {}, {}, 0)
