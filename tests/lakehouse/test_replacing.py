"""`import --replace`: the lake then has of a path what the path has, and everything else as before."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from exchange_stores import STORES, copied
from typer.testing import CliRunner

import isoflop
from isoflop.cli.main import app
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import RecordError, UsageError
from isoflop.lakehouse.exchange import Imported, Replacing, import_path, writing
from isoflop.lakehouse.maintenance import find_problems

SIZES = (10, 20, 40, 80, 160, 320)  # million params


def runs_file(path: Path, sizes: tuple[int, ...] = SIZES, *, shift: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"m{size},{size}M,{20 * size}M,{2 + 5 * size**-0.3 + shift:.6f}" for size in sizes]
    path.write_text("name,params,tokens,loss\n" + "\n".join(rows) + "\n")
    return path


def replaced(lakehouse: Lakehouse, path: Path, **options: object) -> Imported:
    return import_path(lakehouse, path, replacing=Replacing(path, **options))  # type: ignore[arg-type]


def names(lakehouse: Lakehouse) -> list[str]:
    return [row["name"] for row in lakehouse.query("SELECT name FROM runs ORDER BY name").to_pylist()]


def did(done: Imported) -> tuple[int, int, int, int]:
    return done.added, done.changed, done.unchanged, done.removed


@pytest.fixture
def lake(address: str) -> Iterator[Lakehouse]:
    """A lake of each kind."""
    with Lakehouse(address, hold=True) as opened:
        yield opened


@pytest.mark.slow
def test_rows_that_left_a_file_leave_the_lake_with_all_that_is_known(lake: Lakehouse, tmp_path: Path) -> None:
    path = runs_file(tmp_path / "runs.csv")
    other = runs_file(tmp_path / "elsewhere" / "other.csv", (11, 12))
    import_path(lake, path), import_path(lake, other)
    runs_file(path, SIZES[:4])
    assert did(import_path(lake, path)) == (0, 0, 4, 0) and len(names(lake)) == 8  # without it, runs are only added
    asked: list[str] = []
    done = replaced(lake, path, agreed=lambda question: not asked.append(question))
    assert did(done) == (0, 0, 4, 2) and names(lake) == ["m10", "m11", "m12", "m20", "m40", "m80"]
    assert "no longer has 2 runs that the lake has from it: m160, m320. Remove them" in asked[0]
    assert "removed: m160, m320" in done.notes
    (left,) = lake.query("SELECT count(*) AS n FROM store.attempts").to_pylist()
    assert left["n"] == 6 and not find_problems(lake)
    assert did(replaced(lake, path)) == (0, 0, 4, 0)


def test_a_corrected_row_takes_the_place_of_the_old_one(lakehouse: Lakehouse, tmp_path: Path) -> None:
    path = runs_file(tmp_path / "runs.csv")
    import_path(lakehouse, path)
    path.write_text(path.read_text().replace("m320,320M", "m320,330M"))
    assert did(replaced(lakehouse, path)) == (1, 0, 5, 1)
    assert lakehouse.query("SELECT params FROM runs WHERE name = 'm320'").to_pylist() == [{"params": 330e6}]


def test_curves_and_predictions_of_a_removed_run_go_too(lakehouse: Lakehouse, tmp_path: Path) -> None:
    folder = tmp_path / "curves"
    for name in ("a", "b"):
        (folder / f"{name}.csv").parent.mkdir(exist_ok=True)
        (folder / f"{name}.csv").write_text("step,loss\n1,3.0\n2,2.5\n")
    assert import_path(lakehouse, folder).points == 4
    (folder / "b.csv").unlink()
    assert did(replaced(lakehouse, folder)) == (0, 0, 1, 1)
    tables = lakehouse.query(
        "SELECT (SELECT count(*) FROM store.metrics) AS m, (SELECT count(*) FROM store.finals) AS f, "
        "(SELECT count(*) FROM store.attempts) AS a"
    ).to_pylist()
    assert tables == [{"m": 2, "f": 1, "a": 1}]


@pytest.mark.slow
def test_it_is_one_transaction(lake: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = runs_file(tmp_path / "runs.csv")
    import_path(lake, path)
    before = names(lake)
    runs_file(path, (10, 640))
    with monkeypatch.context() as broken:
        broken.setattr(writing, "REMOVE", (*writing.REMOVE, ("SELECT error('the disk is gone')", None)))
        with pytest.raises(duckdb.Error, match="the disk is gone"):
            replaced(lake, path)
    assert names(lake) == before and not find_problems(lake)
    assert did(replaced(lake, path)) == (1, 0, 1, 5)


def test_a_killed_import_leaves_what_was_there(tmp_path: Path) -> None:
    path, place = runs_file(tmp_path / "runs.csv"), tmp_path / "x.duckdb"
    with Lakehouse(place) as lake:
        import_path(lake, path)
    runs_file(path, (10, 640))
    program = textwrap.dedent(f"""
        import pathlib
        from isoflop.lakehouse import Lakehouse
        from isoflop.lakehouse.exchange import Replacing, import_path, writing
        slow = "SELECT sum(sqrt(a.range * b.range)) FROM range(1000000) a, range(1000000) b"
        writing.REMOVE = (*writing.REMOVE, (slow, None))
        with Lakehouse({str(place)!r}) as lake:
            path = pathlib.Path({str(path)!r})
            import_path(lake, path, replacing=Replacing(path, lambda _: not print("asked", flush=True)))
    """)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "asked\n"
        time.sleep(1.0)  # by now it has deleted, and sums what takes it hours
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
    with Lakehouse(place) as lake:
        assert names(lake) == sorted(f"m{size}" for size in SIZES) and not find_problems(lake)


def test_refused_nothing_is_imported_or_removed(lakehouse: Lakehouse, tmp_path: Path) -> None:
    path = runs_file(tmp_path / "runs.csv")
    import_path(lakehouse, path)
    runs_file(path, (10, 640))
    with pytest.raises(UsageError, match="nothing was imported and nothing removed"):
        replaced(lakehouse, path, agreed=lambda _: False)
    assert names(lakehouse) == sorted(f"m{size}" for size in SIZES)


def test_dry_it_says_what_would_go_and_does_nothing(lakehouse: Lakehouse, tmp_path: Path) -> None:
    path = runs_file(tmp_path / "runs.csv")
    import_path(lakehouse, path)
    runs_file(path, (10, 640))
    done = replaced(lakehouse, path, is_dry=True, agreed=lambda _: pytest.fail("asked"))
    assert did(done) == (1, 0, 1, 5) and "would remove: m160, m20, m320, m40, m80" in done.notes
    assert names(lakehouse) == sorted(f"m{size}" for size in SIZES)


def test_a_file_of_the_same_name_elsewhere_loses_nothing(lakehouse: Lakehouse, tmp_path: Path) -> None:
    first = runs_file(tmp_path / "exp1" / "runs.csv", (10, 20))
    second = runs_file(tmp_path / "exp2" / "runs.csv", (40, 80), shift=0.5)
    import_path(lakehouse, first), import_path(lakehouse, second)
    first.unlink()  # it is gone, and was no earlier place of the other
    assert did(replaced(lakehouse, second)) == (0, 0, 2, 0) and len(names(lakehouse)) == 4


def test_a_moved_file_is_replaced_where_it_lies_now(lakehouse: Lakehouse, tmp_path: Path) -> None:
    first = runs_file(tmp_path / "exp1" / "runs.csv")
    import_path(lakehouse, first)
    moved = tmp_path / "exp2" / "runs.csv"
    moved.parent.mkdir()
    shutil.move(first, moved)
    runs_file(moved, SIZES[:2])
    assert did(replaced(lakehouse, moved))[3] == 4 and names(lakehouse) == ["m10", "m20"]


def test_each_of_several_paths_replaces_its_own(tmp_path: Path) -> None:
    paths = [runs_file(tmp_path / f"{name}.csv", sizes) for name, sizes in (("a", (10, 20)), ("b", (40, 80)))]
    command = ["import", *map(str, paths), "--lake", str(tmp_path / "x.duckdb")]
    assert CliRunner().invoke(app, command).exit_code == 0
    runs_file(paths[0], (10,)), runs_file(paths[1], (80, 160))
    refused = CliRunner().invoke(app, [*command, "--replace"])
    assert isinstance(refused.exception, UsageError) and "--yes does it unasked" in str(refused.exception.hint)
    shown = CliRunner().invoke(app, [*command, "--replace", "--dry-run"])
    assert "would remove: m20" in shown.stderr and "would remove: m40" in shown.stderr
    with Lakehouse(tmp_path / "x.duckdb") as lake:
        assert names(lake) == ["m10", "m20", "m40", "m80"]
    done = CliRunner().invoke(app, [*command, "--replace", "--yes", "--json"])
    assert [(row["added"], row["removed"]) for row in json.loads(done.stdout)] == [(0, 1), (1, 1)]
    with Lakehouse(tmp_path / "x.duckdb") as lake:
        assert names(lake) == ["m10", "m160", "m80"]


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_terminal_is_asked(tmp_path: Path, answer: str) -> None:
    path = runs_file(tmp_path / "runs.csv", (10, 20))
    command = ["import", str(path), "--lake", str(tmp_path / "x.duckdb")]
    assert CliRunner().invoke(app, command).exit_code == 0
    runs_file(path, (10,))
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(
        [sys.executable, "-m", "isoflop", *command, "--replace"], stdin=theirs, capture_output=True, text=True
    )
    os.close(theirs), os.close(ours)
    assert "no longer has 1 run that the lake has from it: m20. Remove it" in done.stderr
    assert (done.returncode == 0) == (answer == "y")
    with Lakehouse(tmp_path / "x.duckdb") as lake:
        assert names(lake) == (["m10"] if answer == "y" else ["m10", "m20"])


def test_laws_fitted_to_removed_runs_are_stale(tmp_path: Path) -> None:
    path, other = runs_file(tmp_path / "runs.csv"), runs_file(tmp_path / "b" / "more.csv", (15, 25))
    with isoflop.open(tmp_path / "x.duckdb") as lake:
        import_path(lake, path), import_path(lake, other)
        lake.sql("CREATE LAW size AS FIT loss ~ power(params) FROM runs WITH (resamples = 0)")
        assert lake.sql("SELECT stale FROM laws").rows() == [(False,)]
        runs_file(path, SIZES[:5])
        assert replaced(lake, path).removed == 1
        assert lake.sql("SELECT stale FROM laws").rows() == [(True,)]
        assert lake.sql("REFIT LAW size").records()[0]["rows"] == 7


def test_a_file_that_cannot_be_read_keeps_the_folder_as_it_was(lakehouse: Lakehouse, tmp_path: Path) -> None:
    folder = tmp_path / "all"
    runs_file(folder / "a.csv", (10, 20)), runs_file(folder / "b.csv", (40, 80))
    import_path(lakehouse, folder)
    runs_file(folder / "a.csv", (10,))
    (folder / "b.csv").write_text("params,loss\nmany,3\n")
    with pytest.raises(RecordError, match="not a number"):
        replaced(lakehouse, folder)
    assert len(names(lakehouse)) == 4


def test_experiments_of_mlflow_replace_their_own(lakehouse: Lakehouse, tmp_path: Path) -> None:
    store = copied("mlruns", tmp_path)
    table = runs_file(store / "beside.csv", (10,))
    assert import_path(lakehouse, store).added == 4 and import_path(lakehouse, table).added == 1
    run = next(path.parent for path in store.glob("[0-9]*/*/meta.yaml") if "name: smooth" in path.read_text())
    shutil.rmtree(run)
    done = replaced(lakehouse, store)
    assert did(done) == (0, 0, 3, 1) and "m10" in names(lakehouse)  # a table's runs are no runs of MLflow's


def test_runs_of_wandb_and_of_another_tracker_in_one_folder(lakehouse: Lakehouse, tmp_path: Path) -> None:
    home = tmp_path / "both"
    shutil.copytree(STORES / "wandb", home / "wandb")
    shutil.copytree(STORES / "tensorboard", home / "tensorboard")
    first = import_path(lakehouse, home, format="wandb")
    second = import_path(lakehouse, home, format="tensorboard")
    assert first.added and second.added
    assert did(replaced(lakehouse, home)) == (0, 0, first.added, 0)
    runs = sorted(path for path in (home / "wandb").glob("*run-*") if path.is_dir())
    shutil.rmtree(runs[0])
    assert replaced(lakehouse, home).removed == 1 and len(names(lakehouse)) == first.added + second.added - 1


@pytest.mark.parametrize("is_there", [True, False])
def test_a_correction_under_another_name_takes_the_place_of_the_first_file(tmp_path: Path, is_there: bool) -> None:
    first, second = runs_file(tmp_path / "runs.csv"), runs_file(tmp_path / "corrected.csv", SIZES[1:])
    second.write_text(second.read_text().replace("m80,", "m80,"))
    lake = str(tmp_path / "x.duckdb")
    assert CliRunner().invoke(app, ["import", str(first), "--lake", lake]).exit_code == 0
    hinted = CliRunner().invoke(app, ["import", str(second), "--lake", lake])
    assert f"runs are called as runs from {first} are" in hinted.output
    assert f"--in-place-of {first}" in hinted.output
    if not is_there:
        first.unlink()
    command = ["import", str(second), "--in-place-of", str(first), "--lake", lake]
    assert CliRunner().invoke(app, command).exit_code != 0  # nobody can answer
    done = CliRunner().invoke(app, [*command, "--yes"])
    assert done.exit_code == 0 and "removed" in done.output
    with Lakehouse(lake) as opened:
        assert names(opened) == sorted(f"m{size}" for size in SIZES[1:])


def test_runs_that_an_earlier_mapping_made_are_said(tmp_path: Path) -> None:
    rows = [f"{run},{k},{10**7 * run},{3 - k / 10}" for run in ("1", "2") for run in [int(run)] for k in range(1, 6)]
    (tmp_path / "curves.csv").write_text("\n".join(["trial,tick,params,loss", *rows]))
    with Lakehouse(tmp_path / "lake.duckdb") as lake:
        assert import_path(lake, tmp_path / "curves.csv").added == 10
        mapping = {"run_id": "'trial ' || trial", "step": "tick"}
        again = import_path(lake, tmp_path / "curves.csv", mapping=mapping)
        said = "10 runs of an earlier import from here are not among these and stay; --replace removes what is no"
        assert again.added == 2 and [note for note in again.notes if note.startswith(said)]
        third = import_path(lake, tmp_path / "curves.csv", mapping=mapping)
        assert not [note for note in third.notes if "earlier import" in note]
