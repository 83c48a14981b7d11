"""Which run a source is: two sources are two runs, and one source is one, however and how often it comes."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from exchange_stores import STORES, copied
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import RecordError
from isoflop.lakehouse.exchange import import_path


def curve_file(path: Path, floor: float, steps: int = 5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("step,loss\n" + "".join(f"{step},{floor + 1 / step}\n" for step in range(1, steps + 1)))
    return path


def trial(folder: Path, floor: float, steps: int = 5) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"training_iteration": step, "loss": floor + 1 / step} for step in range(1, steps + 1)]
    (folder / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "params.json").write_text("{}")
    return folder


def counts(lake: Lakehouse) -> tuple[int, int]:
    (row,) = lake.query("SELECT (SELECT count(*) FROM runs) AS r, (SELECT count(*) FROM metrics) AS p").to_pylist()
    return row["r"], row["p"]


def names(lake: Lakehouse) -> list[str]:
    return [row["name"] for row in lake.query("SELECT name FROM runs ORDER BY name").to_pylist()]


def test_files_of_one_name_are_runs_of_their_own(lakehouse: Lakehouse, tmp_path: Path) -> None:
    for version in (0, 1):
        path = curve_file(tmp_path / f"version_{version}" / "metrics.csv", 2.0 + version)
        assert import_path(lakehouse, path).added == 1
    for folder in ("a", "b"):
        import_path(lakehouse, curve_file(tmp_path / folder / "wide.csv", 5.0))  # the same to the last digit
    assert counts(lakehouse) == (4, 20) and names(lakehouse) == ["b/wide", "version_0", "version_1", "wide"]
    origins = {row["o"] for row in lakehouse.query("SELECT results->>'origin' AS o FROM runs").to_pylist()}
    assert str(tmp_path / "version_1" / "metrics.csv") in origins


def test_a_file_is_one_run_by_whatever_path_and_when_it_grows(
    lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = curve_file(tmp_path / "version_1" / "metrics.csv", 2.0)
    import_path(lakehouse, curve_file(tmp_path / "version_0" / "metrics.csv", 3.0))
    import_path(lakehouse, path)
    (tmp_path / "latest").symlink_to(path.parent)
    (tmp_path / "last.csv").symlink_to(path)
    monkeypatch.chdir(path.parent)
    for other in (Path("metrics.csv"), tmp_path / "latest" / "metrics.csv", tmp_path / "last.csv", path):
        assert import_path(lakehouse, other).unchanged == 1, other
    curve_file(path, 2.0, steps=7)
    assert import_path(lakehouse, tmp_path / "last.csv").changed == 1 and counts(lakehouse) == (2, 12)


def test_a_folder_that_was_moved_holds_the_same_runs(lakehouse: Lakehouse, tmp_path: Path) -> None:
    for version in (0, 1):
        import_path(lakehouse, curve_file(tmp_path / "logs" / f"version_{version}" / "metrics.csv", 2.0 + version))
    moved = (tmp_path / "logs").rename(tmp_path / "archive")
    for version in (0, 1):
        done = import_path(lakehouse, moved / f"version_{version}" / "metrics.csv")
        assert (done.unchanged, "lies elsewhere now" in done.notes[0]) == (1, True)
    curve_file(moved / "version_0" / "metrics.csv", 2.0, steps=6)
    assert import_path(lakehouse, moved / "version_0" / "metrics.csv").changed == 1
    assert counts(lakehouse) == (2, 11)


def test_what_an_earlier_version_imported_keeps_its_id(lakehouse: Lakehouse, tmp_path: Path) -> None:
    first, second = (curve_file(tmp_path / f"version_{v}" / "metrics.csv", 2.0 + v) for v in (0, 1))
    import_path(lakehouse, first)
    (before,) = lakehouse.query("SELECT run_id FROM runs").to_pylist()
    forget = "UPDATE store.attempts SET results = json_object('content', results->>'content')"
    lakehouse.write([(forget, None), ("UPDATE store.runs SET name = 'metrics'", None)])
    curve_file(first, 2.0, steps=6)
    assert import_path(lakehouse, second).added == 1  # comes first, and yet is not the run of that id
    assert import_path(lakehouse, first).changed == 1
    assert counts(lakehouse) == (2, 11) and names(lakehouse) == ["metrics", "version_1"]
    (kept,) = lakehouse.query("SELECT run_id, attempt FROM runs WHERE name = 'metrics'").to_pylist()
    assert kept == {**before, "attempt": 1}
    assert [import_path(lakehouse, path).unchanged for path in (first, second)] == [1, 1]


@pytest.mark.parametrize("together", [True, False])
def test_trials_of_one_name_in_two_experiments(lakehouse: Lakehouse, tmp_path: Path, together: bool) -> None:
    folders = [trial(tmp_path / "out" / name / "small" / "trial_1", floor) for name, floor in (("a", 1), ("b", 2))]
    done = [import_path(lakehouse, path) for path in ([tmp_path / "out"] if together else folders)]
    assert counts(lakehouse) == (2, 10) and names(lakehouse) == ["b/trial_1", "trial_1"]
    notes = " ".join(note for one in done for note in one.notes)
    assert "kept apart" in notes and all(str(folder) in notes for folder in folders)
    assert import_path(lakehouse, tmp_path / "out").unchanged == 2
    curves = lakehouse.query("SELECT list(loss ORDER BY step) AS c FROM curves GROUP BY run_id ORDER BY c").to_pylist()
    assert [row["c"] for row in curves] == [[floor + 1 / step for step in range(1, 6)] for floor in (1, 2)]


def test_a_trial_is_named_by_its_folder_from_within_it(
    lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = copied("ray_tune", tmp_path)
    import_path(lakehouse, store)
    monkeypatch.chdir(next(store.glob("small/*width=64*")))
    assert import_path(lakehouse, Path(".")).unchanged == 1
    events = copied("tensorboard", tmp_path) / "torch"
    import_path(lakehouse, events)
    monkeypatch.chdir(events)
    assert import_path(lakehouse, Path(".")).unchanged == 1


def test_a_copied_store_beside_its_original_adds_no_points(lakehouse: Lakehouse, tmp_path: Path) -> None:
    for folder in ("work", "backup"):
        (tmp_path / folder).mkdir()
        copied("mlruns", tmp_path / folder)
    done = import_path(lakehouse, tmp_path)
    assert (done.runs, done.points, counts(lakehouse)) == (4, 14, (4, 14))
    assert any("taken once: " in note for note in done.notes)


def test_run_folders_that_say_no_id_are_told_apart(lakehouse: Lakehouse, tmp_path: Path) -> None:
    for name, loss in (("a", 2.0), ("b", 3.0)):
        (tmp_path / name / "run").mkdir(parents=True)
        (tmp_path / name / "run" / "wandb-summary.json").write_text(json.dumps({"train/loss": loss}))
    assert import_path(lakehouse, tmp_path).added == 2
    assert [row["loss"] for row in lakehouse.query("SELECT loss FROM runs ORDER BY loss").to_pylist()] == [2.0, 3.0]
    assert import_path(lakehouse, tmp_path / "b").unchanged == 1


def test_ids_that_a_person_gave_are_not_shared_by_two_files(lakehouse: Lakehouse, tmp_path: Path) -> None:
    paths = [tmp_path / name / "runs.csv" for name in ("a", "b")]
    for path, loss in zip(paths, (2.0, 3.0), strict=True):
        path.parent.mkdir()
        path.write_text(f"run_id,loss\n1,{loss}\n")
    import_path(lakehouse, paths[0])
    with pytest.raises(RecordError, match=r"run_id '1' is in the lake already[\s\S]*/a/runs.csv[\s\S]*/b/runs.csv"):
        import_path(lakehouse, paths[1])
    assert import_path(lakehouse, paths[1], mapping={"run_id": "'b-' || run_id"}).added == 1
    shutil.copy(paths[0], tmp_path / "a" / "kept.csv")
    paths[1].write_text(paths[0].read_text())
    assert import_path(lakehouse, paths[1]).unchanged == 1  # the same words of the same run


def test_names_in_two_files_are_two_runs(lakehouse: Lakehouse, tmp_path: Path) -> None:
    for name, loss in (("one", 2.0), ("two", 3.0)):
        (tmp_path / f"{name}.csv").write_text(f"name,step,loss\nbase,1,{loss}\nbase,2,{loss}\n")
        assert import_path(lakehouse, tmp_path / f"{name}.csv").added == 1
    assert names(lakehouse) == ["base", "two.csv/base"]


LAYOUTS = st.lists(
    st.tuples(
        st.sampled_from(["csv", "ray"]),
        st.sampled_from(["a", "b", "a/x", "b/x", "a/x/y"]),
        st.sampled_from(["metrics", "t1"]),
    ),
    min_size=1,
    max_size=8,
    unique=True,
)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(layout=LAYOUTS, seed=st.integers(0, 2**16))
def test_runs_are_sources_whatever_the_order_and_the_way(layout: list[tuple[str, str, str]], seed: int) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name, Lakehouse(Path(name).resolve() / "x.duckdb") as lake:
        root = Path(name).resolve() / "logs"
        sources: list[tuple[Path, float]] = []
        for number, (kind, folder, stem) in enumerate(layout):
            floor = float(number // 2)  # some say the same as another
            path = root / kind / folder / (f"{stem}.csv" if kind == "csv" else stem)
            sources.append(((curve_file if kind == "csv" else trial)(path, floor), floor))
            if chance.random() < 0.3:
                (path.parent / f"link_{stem}{path.suffix}").symlink_to(path)
        for again in range(3):
            chance.shuffle(sources)
            for path, _ in sources:
                by = path.parent / f"link_{path.name}"
                done = import_path(lake, by if by.exists() and chance.random() < 0.5 else Path(os.path.relpath(path)))
                assert again == 0 or (done.added, done.changed) == (0, 0)
                if again == 0 and chance.random() < 0.3 and path.is_dir():
                    import_path(lake, path.parents[chance.randrange(2)])
            if again:
                assert counts(lake) == (len(sources), 5 * len(sources))
        labels = lake.query("SELECT name, family FROM runs").to_pylist()
        assert len({tuple(row.values()) for row in labels}) == len(sources)
        for path, floor in sources:
            (curve_file if path.suffix else trial)(path, floor, 6)
            done = import_path(lake, path)
            assert (done.added, done.changed) == (0, 1)
        assert counts(lake) == (len(sources), 6 * len(sources))


def test_the_stores_of_trackers_are_known_again_from_copies(lakehouse: Lakehouse, tmp_path: Path) -> None:
    for name in ("ray_tune", "tensorboard", "mlruns", "wandb"):
        first = import_path(lakehouse, STORES / name)
        again = import_path(lakehouse, copied(name, tmp_path))
        assert (again.added, again.changed, again.unchanged) == (0, 0, first.runs), name
