"""Stores that the real libraries write here and now: MLflow, TensorBoard. The extra `exchange-test` installs them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange_stores import curve, runs_by_name, same

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.exchange import import_path
from isoflop.lakehouse.maintenance import find_problems

# What the libraries themselves warn about is not ours to fail on.
pytestmark = pytest.mark.filterwarnings("ignore")

EXTRA = "is not installed (pip install -e '.[exchange-test]')"
PARAMS = {"width": 64, "learning_rate": 1e-3, "amp": True, "optimizer": "adam", "betas": (0.9, 0.95), "clip": None}
DIVERGING = [(1, 9.0), (2, math.inf), (3, -math.inf), (4, math.nan)]


def losses(start: int, stop: int) -> list[tuple[int, float]]:
    return [(step, 2.0 + 8.0 / math.sqrt(step)) for step in range(start, stop)]


def stored_points(lake: Lakehouse) -> int:
    return int(lake.query("SELECT count(*) AS n FROM store.metrics")["n"][0].as_py())


@pytest.fixture(params=["sqlite", "files"])
def mlflow_client(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow's own client of a new store at tmp_path / "mlflow.db", or in the folder tmp_path / "mlruns"."""
    mlflow = pytest.importorskip("mlflow", reason=f"mlflow {EXTRA}")
    if request.param == "sqlite":
        pytest.importorskip("sqlalchemy", reason=f"sqlalchemy {EXTRA}")
        pytest.importorskip("alembic", reason=f"alembic {EXTRA}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    where = f"sqlite:///{tmp_path / 'mlflow.db'}" if request.param == "sqlite" else str(tmp_path / "mlruns")
    return mlflow.MlflowClient(tracking_uri=where)


def mlflow_store(folder: Path) -> Path:
    return next(path for path in (folder / "mlflow.db", folder / "mlruns") if path.exists())


@pytest.mark.slow
def test_what_mlflow_logs_comes_in_exactly_and_a_grown_run_adds_its_new_points(
    lakehouse: Lakehouse, tmp_path: Path, mlflow_client: Any
) -> None:
    client = mlflow_client
    experiment = client.create_experiment("small-isoflop")
    smooth = client.create_run(experiment, run_name="smooth", tags={"team": "a b"})
    diverged = client.create_run(experiment, run_name="diverged")
    for key, value in PARAMS.items():
        client.log_param(smooth.info.run_id, key, value)
    for step, value in losses(1, 40):
        client.log_metric(smooth.info.run_id, "loss", value, step=step)
        client.log_metric(smooth.info.run_id, "eval/loss", value + 0.5, step=step)
    for step, value in DIVERGING:
        client.log_metric(diverged.info.run_id, "loss", value, step=step)
    client.set_terminated(diverged.info.run_id, "FINISHED")
    done = import_path(lakehouse, mlflow_store(tmp_path))
    assert (done.format, done.runs, done.added, done.points) == ("mlflow", 2, 2, 2 * 39 + 4)
    run = runs_by_name(lakehouse)["smooth"]
    assert (run["family"], run["status"], run["tags"]) == ("small-isoflop", "running", ["team=a b"])
    assert {name: run[name] for name in ("width", "learning_rate", "amp", "optimizer", "betas")} == {
        "width": 64, "learning_rate": 1e-3, "amp": True, "optimizer": "adam", "betas": "(0.9, 0.95)",
    }  # fmt: skip
    assert curve(lakehouse, "smooth") == losses(1, 40)
    assert curve(lakehouse, "smooth", "validation_loss") == [(step, value + 0.5) for step, value in losses(1, 40)]
    assert same(curve(lakehouse, "diverged"), DIVERGING)
    assert (runs_by_name(lakehouse)["diverged"]["status"], stored_points(lakehouse)) == ("failed", 82)
    for step, value in losses(40, 60):
        client.log_metric(smooth.info.run_id, "loss", value, step=step)
    client.set_terminated(smooth.info.run_id, "FINISHED")
    again = import_path(lakehouse, mlflow_store(tmp_path))
    assert (again.added, again.changed, again.unchanged) == (0, 1, 1)
    grown = runs_by_name(lakehouse)["smooth"]
    assert (grown["status"], grown["attempt"], grown["last_step"], grown["loss"]) == (
        "finished", 1, 59, losses(59, 60)[0][1],
    )  # fmt: skip
    assert curve(lakehouse, "smooth") == losses(1, 60) and stored_points(lakehouse) == 82 + 20
    assert import_path(lakehouse, mlflow_store(tmp_path)).unchanged == 2
    assert find_problems(lakehouse).records() == []


def test_what_tensorboard_logs_comes_in_exactly_and_a_grown_run_adds_its_new_points(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason=f"tensorboard {EXTRA}")
    from torch.utils.tensorboard import SummaryWriter

    def single(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
        return [(step, float(np.float32(value))) for step, value in points]  # what the writer keeps

    writer = SummaryWriter(str(tmp_path / "logs" / "smooth"))
    for step, value in losses(1, 40):
        writer.add_scalar("loss", value, step)
        writer.add_scalar("Loss/val", value + 0.5, step, new_style=True)
    writer.flush()
    with SummaryWriter(str(tmp_path / "logs" / "settings")) as settings:
        settings.add_hparams({"width": 64, "lr": 1e-3, "optimizer": "adam", "amp": True}, {"final": 3.25})
    with SummaryWriter(str(tmp_path / "logs" / "diverged")) as other:
        for step, value in DIVERGING:
            other.add_scalar("loss", value, step)
    done = import_path(lakehouse, tmp_path / "logs")
    assert (done.format, done.runs, done.added) == ("tensorboard", 3, 3)
    assert curve(lakehouse, "smooth") == single(losses(1, 40))
    assert same(curve(lakehouse, "diverged"), DIVERGING)
    row = runs_by_name(lakehouse)["settings"]
    assert (row["width"], row["lr"], row["optimizer"], row["amp"]) == (64, 1e-3, "adam", 1)
    before = stored_points(lakehouse)
    for step, value in losses(40, 60):
        writer.add_scalar("loss", value, step)
    writer.close()
    again = import_path(lakehouse, tmp_path / "logs")
    assert (again.added, again.changed, again.unchanged) == (0, 1, 2)
    assert curve(lakehouse, "smooth") == single(losses(1, 60)) and stored_points(lakehouse) == before + 20
    assert runs_by_name(lakehouse)["smooth"]["attempt"] == 1
    assert find_problems(lakehouse).records() == []


def test_a_grown_table_and_a_grown_history_add_their_new_points(lakehouse: Lakehouse, tmp_path: Path) -> None:
    def write(stop: int, *, first: float = 10.0) -> None:
        rows = [(1, first), *losses(2, stop)]
        table = "".join(f"a,64,{step},{value!r}\n" for step, value in rows)
        (tmp_path / "curve.csv").write_text("run_id,width,step,loss\n" + table)
        (tmp_path / "history.csv").write_text(
            "_step,_runtime,loss\n" + "".join(f"{step},{step / 2},{value!r}\n" for step, value in rows)
        )

    for name in ("curve.csv", "history.csv"):
        write(40)
        import_path(lakehouse, tmp_path / name)
        before = stored_points(lakehouse)
        write(60)
        done = import_path(lakehouse, tmp_path / name)
        assert (done.changed, stored_points(lakehouse)) == (1, before + 20), name
        write(60, first=11.0)  # history itself has changed: a new attempt, with all of it
        assert import_path(lakehouse, tmp_path / name).changed == 1
        assert stored_points(lakehouse) == before + 20 + 59, name
        write(50, first=11.0)  # and so is less than there was
        assert import_path(lakehouse, tmp_path / name).changed == 1
        assert stored_points(lakehouse) == before + 20 + 59 + 49, name
    rows = lakehouse.query("SELECT attempt, count(*) AS n, min(step) AS first FROM curves GROUP BY run_id, attempt")
    assert rows.to_pylist() == [{"attempt": 3, "n": 49, "first": 1}] * 2
    finals = lakehouse.query("SELECT attempt, last_step, count FROM finals WHERE metric = 'loss' ORDER BY ALL")
    assert finals.to_pylist()[::2] == [
        {"attempt": 1, "last_step": 59, "count": 59}, {"attempt": 2, "last_step": 59, "count": 59},
        {"attempt": 3, "last_step": 49, "count": 49},
    ]  # fmt: skip
    assert find_problems(lakehouse).records() == []
