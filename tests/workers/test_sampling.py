"""Points that a sweep file draws: where they lie, that they stay, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from isoflop.lakehouse.errors import FileError
from isoflop.workers.expansion import SweepPlan
from isoflop.workers.sampling import METHODS
from isoflop.workers.sweep import checked_sweeps
from isoflop.workers.sweep_file import parse_documents

SWEEP = """\
name: drawn
family: command
command: run {rate} {width} {depth} {kind} {share}
sample: {rate: "log_uniform(1e-4, 1e-1)", width: "log_integer(16, 1024)", depth: "integer(1, 4)",
  kind: "choice(adam, sgd)", share: "uniform(0, 1)"}
points: 64
"""


def planned(text: str) -> SweepPlan:
    [sweep] = checked_sweeps(parse_documents(text, "sweep.yaml"))
    return sweep.expand()


def column(plan: SweepPlan, name: str) -> np.ndarray:
    return np.array([record.config[name] for record in plan.records])


@pytest.mark.parametrize("method", METHODS)
def test_draws_follow_their_distributions(method: str) -> None:
    plan = planned(SWEEP.replace("64", "256") + f"method: {method}\n")
    assert len(plan) == 256 and plan.notes == ()
    rates = column(plan, "rate")
    assert rates.min() >= 1e-4 and rates.max() <= 1e-1
    spread = 1 / np.sqrt(12 * 256)  # of the mean of 256 independent shares; the other methods scatter less
    assert abs(np.log10(rates).mean() + 2.5) < 4 * 3 * spread
    assert abs(column(plan, "share").mean() - 0.5) < 4 * spread
    widths = column(plan, "width")
    assert widths.min() >= 16 and widths.max() <= 1024 and all(isinstance(each, int) for each in widths.tolist())
    assert abs(np.mean(widths < 128) - 0.5) < 4 * 0.5 / 16
    counts = [int(np.sum(column(plan, "depth") == depth)) for depth in (1, 2, 3, 4)]
    assert sum(counts) == 256 and all(abs(count - 64) < 4 * np.sqrt(48) for count in counts)
    assert set(column(plan, "kind")) == {"adam", "sgd"}


def test_space_is_filled_more_evenly_than_by_chance() -> None:
    shares = METHODS["sobol"](64, 2, 3)
    boxes = np.unique(np.floor(shares * 8).astype(int), axis=0)
    by_chance = np.unique(np.floor(METHODS["random"](64, 2, 3) * 8).astype(int), axis=0)
    assert len(boxes) == 64 > 55 > len(by_chance)  # of 64 boxes; chance leaves a share of 1 / e of them empty
    each = np.sort(np.floor(METHODS["latin"](64, 2, 3) * 64), axis=0)
    assert (each == np.arange(64)[:, None]).all()


def test_a_file_draws_the_same_points_for_ever() -> None:
    """PCG64 begins with 0.636962 for the seed 0; the second point of the sequence differs in its first digit."""
    first = planned(SWEEP.replace("64", "2")).records
    expected = [1e-4 * 1000**0.6369616873214543, 1e-4 * 1000**0.1369616873214543]
    assert [record.config["rate"] for record in first] == pytest.approx(expected, rel=1e-5)  # six digits
    assert [record.run_id for record in planned(SWEEP).records] == [record.run_id for record in planned(SWEEP).records]
    other = planned(SWEEP + "sample_seed: 1\n")
    assert not {record.run_id for record in other.records} & {record.run_id for record in planned(SWEEP).records}


@pytest.mark.parametrize(("method", "grows"), [("sobol", True), ("random", True), ("latin", False)])
def test_a_sweep_may_grow(method: str, grows: bool) -> None:
    few, many = (
        [record.run_id for record in planned(SWEEP.replace("64", number) + f"method: {method}\n").records]
        for number in ("20", "70")
    )
    assert (many[:20] == few) == grows


def test_grid_and_seeds_multiply_the_points() -> None:
    plan = planned(SWEEP + "grid: {budget: [1, 2]}\nseeds: 3\n")
    assert len(plan) == 64 * 2 * 3
    assert plan.runs[0].config()["rate"] == plan.runs[5].config()["rate"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("integer(1, 4)", "integer(1, 4.5)", "sweep.yaml:4: 'integer(1, 4.5)' needs two whole numbers"),
        ("uniform(0, 1)", "uniform(1, 0)", "sweep.yaml:5: 'uniform(1, 0)' needs a low end below the high one"),
        ("1e-4", "0", "needs a low end below the high one, above 0"),
        ("uniform(0, 1)", "unform(0, 1)", "'unform' is no distribution\nHint: did you mean 'uniform'?"),
        ("uniform(0, 1)", "0.5", "'0.5' is no distribution\nHint: for example uniform(0, 0.5)"),
        ("adam, sgd", "", "'choice()' has nothing to choose from"),
        ("adam, sgd", "[", "has arguments that cannot be read"),
        ("points: 64", "points: 0", "sweep.yaml:6: 'points' is 0; it says how many are sampled"),
        ("points: 64\n", "", "sweep.yaml:4: 'points' is missing; it says how many are sampled"),
        ("points: 64", "points: 64\ngrid: {width: 3}", "'width' is set in grid (line 7) already"),
        ("points: 64", "points: 64\nmethod: halton", "'method' is 'halton'"),
        ("{rate}", "{rat}", "sweep.yaml:3: 'command' has {rat}, which is no setting; did you mean {rate}?"),
    ],
)
def test_a_wrong_sample_is_refused_at_its_line(old: str, new: str, problem: str) -> None:
    with pytest.raises(FileError) as caught:
        planned(SWEEP.replace(old, new, 1))
    assert problem in str(caught.value)


@pytest.mark.parametrize("line", ["points: 64", "method: sobol", "sample_seed: 1"])
def test_keys_of_a_sample_need_one(line: str) -> None:
    with pytest.raises(FileError, match=r"sweep.yaml:4: .* nothing is sampled: 'sample' is missing"):
        planned(f"name: a\nfamily: command\ncommand: run\n{line}\n")


def test_the_example_of_the_page_is_planned() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text()
    [example] = [text for text in re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S) if "sample:" in text]
    assert len(planned(example)) == 16
