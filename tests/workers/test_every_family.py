"""What holds for every family there is: the built-in ones, and one as somebody else's package declares it."""

from __future__ import annotations

import dataclasses
import math
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from isoflop.lakehouse import Lakehouse, Spool
from isoflop.lakehouse.errors import UsageError
from isoflop.lakehouse.models.counts import SHAPE_OUTPUTS
from isoflop.workers import Experiment, Outcome, TrainOptions, train_packed
from isoflop.workers.families import FAMILIES, find
from isoflop.workers.sweep import checked_sweeps
from isoflop.workers.sweep_file import dump, parse_documents
from tests.workers.outside_family import RandomLayers

ROOT = Path(__file__).resolve().parents[2]
ALL = {**FAMILIES, RandomLayers.name: RandomLayers}
Values = dict[str, list[tuple[int, str, float]]]


@pytest.fixture(params=ALL.values(), ids=ALL)
def family(request: pytest.FixtureRequest) -> type[Experiment]:
    chosen: type[Experiment] = request.param
    return chosen


@pytest.fixture(autouse=True)
def a_package_declares_a_family(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    declare(monkeypatch, "tests.workers.outside_family:RandomLayers")
    yield
    find._outside_families.cache_clear()


def declare(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    entry = EntryPoint(name="random_layers", value=value, group="isoflop.families")
    monkeypatch.setattr(find, "entry_points", lambda group: [entry] if group == entry.group else [])
    find._outside_families.cache_clear()


def example(family: type[Experiment], **changes: Any) -> Experiment:
    return family.parse({**family.example, **changes})


def trained(lake: Lakehouse, runs: list[Experiment], **options: Any) -> list[Outcome]:
    """Train runs in one program, or one alone, as their next attempts, and land them."""
    lake.record_runs([run.record() for run in runs])
    attempts = lake.begin_attempts([run.record().run_id for run in runs], "test")
    spools = [Spool(lake.spool_folder, run_id, attempts[run_id]) for run_id in (run.record().run_id for run in runs)]
    given = dataclasses.replace(TrainOptions(device="cpu", threads=1), **options)
    outcomes = train_packed(runs, spools, options=given)
    for spool in spools:
        spool.close()
    lake.drain()
    return outcomes


def measured(lake: Lakehouse) -> Values:
    """Every point of every run that counts, by run; seconds apart."""
    rows = lake.query("SELECT run_id, step, metric, value FROM metric_curves ORDER BY ALL").to_pylist()
    found: Values = {}
    for row in rows:
        found.setdefault(row["run_id"], []).append((row["step"], row["metric"], row["value"]))
    return found


def test_a_config_survives_every_way_that_it_travels(family: type[Experiment]) -> None:
    run = example(family, seed=3)
    assert pickle.loads(pickle.dumps(run)) == run
    assert family.model_validate(run.model_dump()) == run
    assert all(value is None or isinstance(value, int | float | str | bool) for value in run.config().values())
    known = {name: value for name, value in run.values().items() if value is not None}
    assert family.parse(known) == run, "the flat settings of a run do not give the run"
    assert family.parse(known).record().run_id == run.record().run_id


def test_settings_and_fields_have_names_of_their_own_and_say_what_they_are(family: type[Experiment]) -> None:
    undescribed = {"width", "depth", "beta1", "beta2"}
    names = [name for name in family.model_fields if name not in family.components()]
    for name, choices in family.components().items():
        for choice in choices:
            for field, info in choice.model_fields.items():
                assert info.description or field in undescribed, (choice.__name__, field)
        names += {setting: None for choice in choices for setting in choice.settings(name)}
    assert sorted(names) == sorted(family.settings())
    for name, info in family.model_fields.items():
        assert info.description or name in undescribed, (family.name, name)


def test_the_seed_is_part_of_the_identity_and_no_setting_is_left_out_of_it(family: type[Experiment]) -> None:
    run = example(family)
    assert example(family, seed=1).record().run_id != run.record().run_id
    config = run.record().config
    assert {name for name, value in run.values().items() if value is not None} - {"seed", "steps"} <= {
        *config, *run.record().extra,
    }  # fmt: skip
    longer = {name: 2 * value for name, value in run.values().items() if name in family.length_settings}
    if longer:
        assert example(family, **longer).record().run_id != run.record().run_id


def test_costs_are_counted_or_open_and_never_negative(family: type[Experiment]) -> None:
    run = example(family)
    counts = run.counts()
    assert tuple(counts.outputs()) == SHAPE_OUTPUTS
    for name, value in counts.outputs().items():
        assert value is None or (math.isfinite(value) and value >= 0), name
    assert family.parse_shape(family.example).counts() == counts
    record = run.record()
    assert record.flops == (None if counts.flops_per_step is None else run.length * counts.flops_per_step)
    assert record.steps == (run.length if family.axis == "step" else None)


def test_a_run_lands_with_every_metric_that_its_family_names(family: type[Experiment], tmp_path: Path) -> None:
    run = example(family)
    assert all(unit for unit in run.metrics().values())
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        [outcome] = trained(lake, [run])
        assert (outcome.status, outcome.reason) == ("finished", None)
        assert (outcome.loss is not None) == ("loss" in run.metrics())
        points = measured(lake)[outcome.run_id]
        assert {name for _, name, _ in points} == set(run.metrics())
        assert max(step for step, _, _ in points) == run.length
        [row] = lake.query("SELECT * FROM runs").to_pylist()
        assert (row["family"], row["status"], row["loss"]) == (family.name, "finished", outcome.loss)
        assert (row["params"], row["tokens"], row["flops"]) == (
            run.record().params, run.record().tokens, run.record().flops,
        )  # fmt: skip


def test_a_run_has_the_same_bits_alone_and_in_company(family: type[Experiment], tmp_path: Path) -> None:
    runs = [example(family, seed=seed) for seed in range(4)]
    if runs[0].pack_key() is None:
        with pytest.raises(UsageError, match="cannot train together"):
            train_packed(runs, [Spool(tmp_path, str(number), 1) for number in range(4)])
        return
    assert {run.pack_key() for run in runs} == {runs[0].pack_key()}
    with Lakehouse(tmp_path / "together.duckdb") as lake:
        trained(lake, runs[::-1])
        together = measured(lake)
    with Lakehouse(tmp_path / "alone.duckdb") as lake:
        for run in runs:
            trained(lake, [run])
        assert measured(lake) == together
    assert len({tuple(points) for points in together.values()}) == 4, "different seeds give the same numbers"


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bits(family: type[Experiment], tmp_path: Path) -> None:
    run = example(family)
    with Lakehouse(tmp_path / "straight.duckdb") as lake:
        [straight] = trained(lake, [run])
        expected = measured(lake)
    folder = tmp_path / "checkpoints"
    with Lakehouse(tmp_path / "resumed.duckdb") as lake:
        asked = iter(range(10_000))
        [stopped] = trained(lake, [run], checkpoint_folder=folder, stop=lambda: next(asked) >= 5)
        assert stopped.reason == "stopped" and len(list(folder.iterdir())) == 1
        [resumed] = trained(lake, [run], checkpoint_folder=folder)
        assert (resumed.status, resumed.loss) == ("finished", straight.loss)
        assert measured(lake) == expected
        [row] = lake.query("SELECT max(resumed_step) AS step FROM store.attempts").to_pylist()
        assert 0 < row["step"] < run.length, "the second attempt began anew"
    assert list(folder.iterdir()) == []


def sweep_of(family: type[Experiment]) -> str:
    corpus = {"corpus": family.example["corpus"]} if "corpus" in family.example else {}
    grid = {name: value for name, value in family.example.items() if name != "corpus"}
    return dump({"name": "example", "family": family.name, **corpus, "grid": grid, "seeds": 2})


def test_a_sweep_file_plans_it(family: type[Experiment]) -> None:
    [sweep] = checked_sweeps(parse_documents(sweep_of(family)))
    assert list(sweep.expand().runs) == [example(family, seed=seed) for seed in range(2)]


def test_a_dry_run_shows_its_size(family: type[Experiment], tmp_path: Path) -> None:
    from isoflop.cli.dry_run import describe_plans

    answer = describe_plans(checked_sweeps(parse_documents(sweep_of(family))), str(tmp_path / "none.duckdb"))
    rows = answer.table.to_pylist()
    shown: Mapping[str, object] = example(family).shown()
    assert len(rows) == 2 and [row["seed"] for row in rows] == [0, 1]
    for row in rows:
        assert {name: row[name] for name in shown} == dict(shown)
        assert row["status"] == "new"


@pytest.mark.parametrize("name", FAMILIES)
def test_it_has_a_page_in_the_documentation(name: str) -> None:
    page = (ROOT / "docs" / "families.md").read_text()
    assert f"## `{name}`" in page
    for metric in FAMILIES[name].parse(FAMILIES[name].example).metrics():
        assert f"`{metric}`" in page, metric
    for setting in FAMILIES[name].settings():
        assert f"| `{setting}` |" in page, setting


def test_a_family_of_another_package_is_found_by_its_name() -> None:
    assert find.find_family("random_layers") is RandomLayers
    with pytest.raises(UsageError, match=r"family 'random_layer' does not exist\nHint: did you mean 'random_layers'"):
        find.find_family("random_layer")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("math:pi", "entry point 'random_layers' of group isoflop.families is float, which is not a family"),
        ("math:sin", "which is not a family"),
        ("pathlib:Path", "is Path, which is not a family"),
        ("no_such_package:Thing", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)
def test_what_is_no_family_is_refused_with_a_sentence_and_disturbs_no_built_in_one(
    monkeypatch: pytest.MonkeyPatch, value: str, problem: str
) -> None:
    declare(monkeypatch, value)
    with pytest.raises(UsageError) as caught:
        find.find_family("random_layers")
    assert problem in str(caught.value)
    assert find.find_family("plrf") is FAMILIES["plrf"]


def test_describing_any_family_needs_no_torch() -> None:
    code = """
import sys
from isoflop.workers.families import FAMILIES
for family in FAMILIES.values():
    run = family.parse(family.example)
    run.record(), run.shown(), run.metrics()
sys.exit(any(name in sys.modules for name in ("torch", "scipy", "ray")))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, cwd=ROOT)
