"""Finding out what a path holds, and `--map` for runs of trackers."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
from exchange_stores import STEPS, STORES, copied, curve, loss_at, mlflow_database, runs_by_name

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import FileError, RecordError, UsageError
from isoflop.lakehouse.exchange import import_path
from isoflop.lakehouse.exchange.formats import found_format

WANDB_FILE = STORES / "wandb" / "offline-run-20231114_221320-smooth00" / "run-smooth00.wandb"


def test_each_store_is_found_by_its_content(tmp_path: Path) -> None:
    renamed = Path(shutil.copy(mlflow_database(tmp_path), tmp_path / "anything"))
    event_file = next((STORES / "tensorboard" / "torch").iterdir())
    table = tmp_path / "r.csv"
    table.write_text("params,loss\n1,2\n")
    paths = {
        renamed: "mlflow", STORES / "mlruns": "mlflow", WANDB_FILE: "wandb", STORES / "wandb": "wandb",
        STORES / "ray_tune": "ray-tune", event_file: "tensorboard", STORES / "tensorboard": "tensorboard",
        table: "table",
    }  # fmt: skip
    assert {path: found_format(path)[0] for path in paths} == paths


def test_event_files_of_other_trackers_are_mentioned_or_known(lakehouse: Lakehouse, tmp_path: Path) -> None:
    event_file = next((STORES / "tensorboard" / "torch").iterdir())
    trial = next(copied("ray_tune", tmp_path).glob("small/*width=64*"))
    shutil.copy(event_file, trial)
    assert found_format(tmp_path / "ray_tune") == ("ray-tune", ())
    shutil.copy(event_file, copied("wandb", tmp_path))
    done = import_path(lakehouse, tmp_path / "wandb")
    assert done.format == "wandb" and "there are tensorboard files too; import them with --as tensorboard" in done.notes
    assert import_path(lakehouse, tmp_path / "wandb", format="tensorboard").runs == 1


def test_what_cannot_be_imported_says_what_was_looked_for(lakehouse: Lakehouse, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file or folder"):
        import_path(lakehouse, tmp_path / "none")
    (tmp_path / "a.md").write_text("loss\n1\n")
    with pytest.raises(FileError, match=r"looked for mlflow, wandb, ray-tune, [\w\s,-]*tensorboard and tables"):
        import_path(lakehouse, tmp_path)
    with pytest.raises(UsageError, match=r"no format 'tensorbord'[\s\S]*did you mean 'tensorboard'"):
        import_path(lakehouse, tmp_path, format="tensorbord")
    with pytest.raises(RecordError, match=r"no runs in it[\s\S]*read as wandb"):
        import_path(lakehouse, tmp_path, format="wandb")


def test_metrics_and_settings_are_named_or_worked_out(lakehouse: Lakehouse) -> None:
    mapping = {
        "loss": "val/loss", "tokens": "step * width * 4", "params": "12 * width ^ 2", "half": '"train/loss" / 2',
        "flops": "6 * params * tokens", "corpus": "'web'",
    }  # fmt: skip
    store = STORES / "tensorboard"
    import_path(lakehouse, store, mapping={"width": "64", **mapping})
    run = runs_by_name(lakehouse)["torch"]
    assert (run["params"], run["width"], run["corpus"]) == (12 * 64**2, 64, "web")
    assert (run["tokens"], run["flops"]) == (70_000 * 256, 6 * 12 * 64**2 * 70_000 * 256)
    point = lakehouse.query("SELECT tokens, flops, loss FROM curves WHERE name = 'torch' AND step = 200").to_pylist()[0]
    assert point == {"tokens": 51_200, "flops": 6 * 12 * 64**2 * 51_200, "loss": pytest.approx(loss_at(200, 2.5))}
    assert curve(lakehouse, "torch", "half")[0] == (1, 5.0)


def test_bits_become_nats_at_every_step(lakehouse: Lakehouse) -> None:
    import_path(lakehouse, WANDB_FILE, mapping={"loss": '"train.loss" * ln(2)'})
    assert curve(lakehouse, "smooth") == [(step, pytest.approx(loss_at(step, 2.0) * math.log(2))) for step in STEPS]


def test_the_step_and_the_time_can_be_a_metric_of_the_trainer(lakehouse: Lakehouse, tmp_path: Path) -> None:
    history = tmp_path / "history.csv"
    history.write_text("_step,loss,trainer/global_step,clock\n0,4.0,10,0.5\n1,,10,0.6\n2,3.0,20,1.5\n3,2.0,,\n")
    import_path(lakehouse, history, mapping={"step": "trainer/global_step", "seconds": "clock"})
    assert curve(lakehouse, "history") == [(10, 4.0), (20, 3.0)]
    rows = lakehouse.query("SELECT seconds FROM curves ORDER BY step").to_pylist()
    assert [row["seconds"] for row in rows] == [0.5, 1.5]


def test_a_name_that_no_run_has_is_refused_with_those_it_has(lakehouse: Lakehouse) -> None:
    with pytest.raises(FileError, match=r"--map loss=train.los: [\s\S]*did you mean 'train.loss'"):
        import_path(lakehouse, WANDB_FILE, mapping={"loss": "train.los"})
    with pytest.raises(FileError, match=r"--map params=64 \*"):
        import_path(lakehouse, WANDB_FILE, mapping={"params": "64 *"})


def test_runs_without_a_loss_are_counted_and_the_metrics_named(lakehouse: Lakehouse, tmp_path: Path) -> None:
    history = tmp_path / "history.csv"
    history.write_text("_step,reward,cost\n1,1.0,2.0\n")
    notes = import_path(lakehouse, history).notes
    assert notes == ("no loss in 1 of 1 run; name one with --map loss=METRIC, the metrics are cost, reward",)


def test_family_and_source_can_be_given(lakehouse: Lakehouse) -> None:
    import_path(lakehouse, WANDB_FILE, family="mine", source="mine")
    (row,) = lakehouse.query("SELECT family, source FROM runs").to_pylist()
    assert row == {"family": "mine", "source": "import:mine"}
    with pytest.raises(RecordError, match="in the lake already, from import:mine"):
        import_path(lakehouse, WANDB_FILE)
