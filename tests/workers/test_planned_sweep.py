"""Planned runs as a sweep file: shapes for params, repeats as seeds, what another file says kept."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from isoflop.lakehouse.errors import UsageError
from isoflop.lakehouse.models.counts import transformer_params
from isoflop.workers.families.transformer_shape import transformer_shape
from isoflop.workers.planned_sweep import check_plan, planned_sweep
from isoflop.workers.sweep import checked_sweeps, load_sweeps
from isoflop.workers.sweep_file import parse_documents


@pytest.mark.parametrize("vocabulary", [256, 50304])
def test_every_size_has_a_shape_of_about_that_many_params(vocabulary: int) -> None:
    lowest = 4 * transformer_params(width=8, depth=1, vocabulary=vocabulary)
    for params in np.geomspace(lowest, 1e12, 40):
        width, depth = transformer_shape(params, vocabulary)
        counted = transformer_params(width=width, depth=depth, vocabulary=vocabulary)
        assert counted == pytest.approx(params, rel=0.1)
        assert width % 8 == 0


def test_params_without_a_shape_are_refused() -> None:
    with pytest.raises(UsageError, match="no transformer with a vocabulary of 50304 has about 1000 params"):
        transformer_shape(1000, 50304)


def test_a_plan_over_params_and_tokens_trains_about_those(tmp_path: Path) -> None:
    points = [
        {"params": 2.1e6, "tokens": 4.0e7},
        {"params": 3.3e5, "tokens": 1.0e8},
        {"params": 2.1e6, "tokens": 4.0e7},
    ]
    text = planned_sweep(points, name="next")
    (tmp_path / "next.yaml").write_text(text)
    sweeps = load_sweeps(tmp_path / "next.yaml")
    records = [record for sweep in sweeps for record in sweep.expand().records]
    assert [sweep.name for sweep in sweeps] == ["next", "next-2"]
    assert [record.seed for record in records] == [0, 0, 1] and len({record.run_id for record in records}) == 3
    for record, point in zip(records, points, strict=True):
        assert record.params == pytest.approx(point["params"], rel=0.1)
        assert record.tokens == pytest.approx(point["tokens"], rel=0.01)
    assert check_plan(text, "next.yaml", points) == []


def test_another_sweep_file_gives_the_rest(tmp_path: Path) -> None:
    like = tmp_path / "like.yaml"
    like.write_text(
        "name: old\nfamily: transformer\ngrid: {width: [64], budget: [1e9]}\ntimeout: 5 min\n"
        "derive: {depth: 2, sequence_length: 64, learning_rate: 0.02 * 64 / width, tokens: budget / (6 * params)}\n"
    )
    text = planned_sweep([{"width": 96, "depth": 3, "tokens": 1e6, "params": 4e5}], name="new", like=like)
    (sweep,) = checked_sweeps(parse_documents(text))
    (record,) = sweep.expand().records
    assert sweep.timeout_seconds == 300 and record.config["sequence_length"] == 64
    assert (record.config["width"], record.config["depth"]) == (96, 3)
    assert record.config["learning_rate"] == pytest.approx(0.02 * 64 / 96)


def test_a_plan_for_random_features_is_trained_as_it_is() -> None:
    points = [{"width": 100.0, "steps": 500.0, "spectrum_exponent": 1.2, "target_exponent": 0.7, "loss": 3.0}]
    (sweep,) = checked_sweeps(parse_documents(planned_sweep(points, name="rf", family="plrf")))
    (record,) = sweep.expand().records
    assert (record.params, record.steps) == (100, 500)


def test_runs_without_a_setting_of_the_family_are_refused() -> None:
    with pytest.raises(UsageError, match="name no setting of the family 'plrf'"):
        planned_sweep([{"params": 1e6}], name="rf", family="plrf")


def test_a_file_keeps_to_the_flops_of_its_plan_in_whole_steps() -> None:
    sizes = [(2.1e6, 4e7), (3.3e5, 1e8), (2.1e6, 4e7), (4.16e7, 2.2e9)]
    points = [{"params": params, "tokens": tokens, "flops": 6 * params * tokens} for params, tokens in sizes]
    text = planned_sweep(points, name="next")
    plans = [sweep.expand() for sweep in checked_sweeps(parse_documents(text))]
    records = [record for plan in plans for record in plan.records]
    assert sorted(record.seed for record in records) == [0, 0, 0, 1]
    by_size = sorted(records, key=lambda record: record.params or 0)
    for record, point in zip(by_size, sorted(points, key=lambda point: point["params"]), strict=True):
        assert record.flops is not None and record.steps is not None and record.tokens is not None
        assert record.flops <= point["flops"] * (1 + 1e-9)
        each_step = record.flops / record.steps  # one step more would be too much, or more than was asked for
        one_more = record.tokens * (1 + 1 / record.steps)
        assert record.flops + each_step > point["flops"] or one_more > point["tokens"]
    (note,) = check_plan(text, "next.yaml", points)
    assert "fewer tokens than planned" in note
    unlimited = [{key: value for key, value in point.items() if key != "flops"} for point in points]
    plain = planned_sweep(unlimited, name="next")
    assert check_plan(plain, "next.yaml", unlimited) == []
    (exceeds,) = check_plan(plain, "next.yaml", points)
    assert re.search(r"the file takes \S+ FLOPs, \d+\.\d% more than the plan", exceeds)


def test_runs_are_not_cut_short_where_a_family_counts_flops_otherwise() -> None:
    points = [{"width": 100.0, "steps": 500.0, "spectrum_exponent": 1.2, "target_exponent": 0.7, "flops": 1e3}]
    text = planned_sweep(points, name="rf", family="plrf")
    (record,) = checked_sweeps(parse_documents(text))[0].expand().records
    assert record.steps == 500 and any("more than the plan" in note for note in check_plan(text, "rf.yaml", points))
