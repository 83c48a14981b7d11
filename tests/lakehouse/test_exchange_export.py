"""Out of the lake and back: tables in every format, and runs for other trackers."""

from __future__ import annotations

import csv
import json
import math
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from isoflop.lakehouse.errors import EmptySelection, UsageError
from isoflop.lakehouse.exchange import import_path, import_table
from isoflop.lakehouse.exchange.export import TABLE_SUFFIXES, export_runs, export_table, statement_of

SETTLED = "run_id, name, family, seed, tags, status, reason, params, tokens, steps, flops, width, learning_rate, loss"
MEASURED = "run_id, loss, validation_loss, train_seconds"
AWKWARD = pa.table(
    {
        "run_id": ["a", 'b,"c"', "d\nöé"],
        "loss": [0.1, math.nan, math.inf],
        "low": [1e-300, -math.inf, None],
        "count": [2**53 + 1, -1, None],
        "flag": [True, False, None],
        "when": [datetime(2026, 1, 2, 3, 4, 5, 678900), None, None],
        "betas": [[0.9, 0.95], [], None],
        "about": [{"name": "adam", "lr": 1e-3}, {"name": None, "lr": None}, None],
    }
)


@pytest.fixture
def filled(lakehouse: Lakehouse) -> Lakehouse:
    """A lake with a run that finished, one that diverged, one that failed and one that still waits."""
    finished = lakehouse.run(
        "small", {"width": 64, "learning_rate": 1e-3, "optimizer": {"name": "adam"}, "note": "ä: 1"},
        seed=3, name="wide one", tags=("web", "team=a b"), params=1e6, tokens=4e3, steps=4,
    )  # fmt: skip
    with finished as run:
        for step in range(1, 5):
            run.log(step=step, loss=4.0 / step, tokens=1000.0 * step)
            if step % 2 == 0:
                run.log(step=step, seconds=step / 10, **{"eval/loss": 5.0 / step, "grad norm": 1.0})
        run.summary(loss=1.0, validation_loss=1.5)
    with lakehouse.run("small", {"width": 128, "learning_rate": 1.0}, steps=2) as run:
        run.log(step=1, loss=math.inf)
        run.log(step=2, loss=math.nan)
    with pytest.raises(ValueError, match="planted"), lakehouse.run("other", {"width": 32}, steps=1) as run:
        run.log(step=1, loss=9.0)
        raise ValueError("planted failure")
    return lakehouse


def ids(lake: Lakehouse) -> list[str]:
    return [row["run_id"] for row in lake.query("SELECT run_id FROM runs").to_pylist()]


def points(lake: Lakehouse) -> list[str]:
    """Every valid point, as text, so that NaN equals NaN."""
    rows = lake.query("SELECT run_id, metric, step, value FROM metrics ORDER BY ALL").to_pylist()
    return [str(tuple(row.values())) for row in rows]


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_every_value_survives_a_file(tmp_path: Path, suffix: str) -> None:
    import duckdb

    path = tmp_path / f"answer{suffix}"
    assert export_table(AWKWARD, path) == 3
    with duckdb.connect() as con:
        match suffix:
            case ".arrow" | ".feather":
                with pa.ipc.open_file(path) as file:
                    back = file.read_all()
            case ".csv" | ".tsv":
                delimiter = "\t" if suffix == ".tsv" else ","
                back = con.execute(f"FROM read_csv('{path}', delim = '{delimiter}', quote = '\"')").to_arrow_table()
            case ".parquet":
                back = con.execute(f"FROM '{path}'").to_arrow_table()
            case _:
                back = con.execute(f"FROM read_json('{path}', format = 'newline_delimited')").to_arrow_table()
    plain = ["run_id", "loss", "low", "flag"]
    assert back["count"].to_pylist() == AWKWARD["count"].to_pylist()
    assert str(back.select(plain).to_pylist()) == str(AWKWARD.select(plain).to_pylist())
    assert [str(when)[:22] for when in back["when"].to_pylist()] == [
        str(when)[:22] for when in AWKWARD["when"].to_pylist()
    ]
    betas, about = (
        [json.loads(cell) if isinstance(cell, str) else cell for cell in back[name].to_pylist()]
        for name in ("betas", "about")
    )
    assert (betas, about[0]) == ([[0.9, 0.95], [], None], {"name": "adam", "lr": 1e-3})
    assert list(tmp_path.iterdir()) == [path]  # nothing half-written stays behind


def test_an_ending_that_is_not_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'.parqet' is not an ending[\s\S]*did you mean '.parquet'"):
        export_table(AWKWARD, tmp_path / "x.parqet")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".arrow"])
def test_runs_come_back_as_they_left(filled: Lakehouse, tmp_path: Path, suffix: str) -> None:
    export_table(filled.query("FROM runs"), tmp_path / f"runs{suffix}")
    with Lakehouse(tmp_path / "other.duckdb") as other:
        done = import_table(other, tmp_path / f"runs{suffix}", skip_bad_rows=True)
        assert (done.added, done.skipped) == (3, 0)  # a loss that is NaN is a run that diverged
        statement = f"SELECT {SETTLED}, config FROM runs WHERE NOT isnan(loss) ORDER BY run_id"
        before, after = (lake.query(statement).to_pylist() for lake in (filled, other))
        for row in (*before, *after):
            row["tags"] = [] if suffix == ".csv" else row["tags"]
            row["config"] = json.loads(row["config"]).get("optimizer")
        assert before == after


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".arrow"])
def test_every_metric_comes_back_by_the_view_of_metrics(filled: Lakehouse, tmp_path: Path, suffix: str) -> None:
    export_table(filled.query("FROM metrics"), tmp_path / f"metrics{suffix}")
    with Lakehouse(tmp_path / "other.duckdb") as other:
        import_table(other, tmp_path / f"metrics{suffix}")
        assert points(other) == points(filled)


def test_curves_come_back_with_their_axes(filled: Lakehouse, tmp_path: Path) -> None:
    export_table(filled.query("FROM curves"), tmp_path / "curves.parquet")
    with Lakehouse(tmp_path / "other.duckdb") as other:
        import_table(other, tmp_path / "curves.parquet")
        statement = "SELECT run_id, step, tokens, seconds, loss, width, params FROM curves ORDER BY run_id, step"
        assert str(other.query(statement).to_pylist()) == str(filled.query(statement).to_pylist())


@pytest.mark.parametrize("format", ["mlflow", "wandb"])
def test_runs_written_for_a_tracker_come_back_whole(filled: Lakehouse, tmp_path: Path, format: str) -> None:
    folder = tmp_path / "out"
    assert export_runs(filled, ids(filled), folder, format) == 3
    with Lakehouse(tmp_path / "other.duckdb") as other:
        done = import_path(other, folder)
        assert (done.format, done.runs) == (format, 3)
        back = {row["run_id"]: row for row in other.query(f"SELECT {SETTLED} FROM runs").to_pylist()}
        for row in filled.query(f"SELECT {SETTLED} FROM runs").to_pylist():
            row["name"] = row["name"] or row["run_id"]
            if format == "mlflow":  # whose tags all have values
                row["tags"] = sorted(tag if "=" in tag else f"{tag}=true" for tag in row["tags"])
            assert str(back[row["run_id"]]) == str(row)
        ends = [str(lake.query(f"SELECT {MEASURED} FROM runs ORDER BY run_id").to_pylist()) for lake in (filled, other)]
        assert ends[0] == ends[1] or format == "mlflow"  # which counts time in milliseconds
        expected, found = points(filled), points(other)
        if format == "mlflow":  # what a run ended with has no place of its own there: it is a metric of one point
            found = [line for line in found if "train_seconds" not in line and "validation_loss" not in line]
        else:
            expected = sorted(line.replace("'eval/loss'", "'validation_loss'") for line in expected)
        assert found == expected


def test_names_that_a_file_store_cannot_hold_side_by_side_are_bent(lakehouse: Lakehouse, tmp_path: Path) -> None:
    table = tmp_path / "c.csv"
    table.write_text("run_id,metric,step,value\na,eval,1,1\na,eval/loss,1,2\na,../up,1,3\na,loss (nats),1,4\n")
    import_table(lakehouse, table)
    export_runs(lakehouse, ["a"], tmp_path / "out", "mlflow")
    (metrics,) = (tmp_path / "out").rglob("metrics")
    assert sorted(path.relative_to(metrics).as_posix() for path in metrics.rglob("*")) == [
        "eval", "eval_loss", "loss _nats_", "up",
    ]  # fmt: skip


def test_exporting_again_replaces_and_adds_nothing(filled: Lakehouse, tmp_path: Path) -> None:
    for format in ("mlflow", "wandb"):
        folder = tmp_path / format
        export_runs(filled, ids(filled), folder, format)
        before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        export_runs(filled, ids(filled), folder, format)
        assert {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()} == before


def test_only_points_that_still_count_are_written(lakehouse: Lakehouse, tmp_path: Path) -> None:
    table = tmp_path / "c.csv"
    table.write_text("run_id,step,loss\na,1,4\na,2,3\n")
    import_table(lakehouse, table)
    table.write_text("run_id,step,loss\na,1,5\n")
    import_table(lakehouse, table)
    export_runs(lakehouse, ["a"], tmp_path / "out", "wandb")
    rows = [json.loads(line) for line in (tmp_path / "out" / "run-a" / "history.jsonl").read_text().splitlines()]
    assert [(row["_step"], row["loss"]) for row in rows] == [(1, 5.0)]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "note": TEXT,
            "loss": st.floats(allow_nan=False, allow_infinity=False),
            "count": st.integers(-(2**63), 2**63 - 1),
            "rate": st.floats() | st.none(),
            "flag": st.booleans() | st.none(),
        }
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, suffix=st.sampled_from([".parquet", ".arrow", ".jsonl"]))
def test_what_goes_in_comes_out(tmp_path: Path, rows: list[dict[str, Any]], suffix: str) -> None:
    kinds = {"note": pa.string(), "loss": pa.float64(), "count": pa.int64(), "rate": pa.float64(), "flag": pa.bool_()}
    wanted = [{"run_id": f"r{i}", **row} for i, row in enumerate(rows)]
    table = pa.Table.from_pylist(wanted, pa.schema({"run_id": pa.string(), **kinds}))
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder, Lakehouse(Path(folder) / "x.duckdb") as lake:
        export_table(table, Path(folder) / f"rows{suffix}")
        import_table(lake, Path(folder) / f"rows{suffix}")
        names = [row["name"] for row in lake.query("SELECT column_name AS name FROM (DESCRIBE runs)").to_pylist()]
        there = ", ".join(name if name in names else f"NULL AS {name}" for name in kinds)
        back = lake.query(f"SELECT run_id, {there} FROM runs ORDER BY run_id").to_pylist()
    for row, other in zip(wanted, back, strict=True):
        assert {**row, "rate": str(row["rate"])} == {**other, "rate": str(other["rate"])}


def test_an_unknown_tracker_a_file_and_no_runs_are_refused(filled: Lakehouse, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'mlfow'[\s\S]*did you mean 'mlflow'"):
        export_runs(filled, ids(filled), tmp_path / "out", "mlfow")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        export_runs(filled, ids(filled), tmp_path / "file", "mlflow")
    with pytest.raises(EmptySelection):
        export_runs(filled, [], tmp_path / "out", "mlflow")


def test_mlflow_itself_reads_what_is_written_for_it(
    filled: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="pip install -e '.[exchange-test]' installs mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    export_runs(filled, ids(filled), tmp_path / "out", "mlflow")
    client = mlflow.MlflowClient(tracking_uri=str(tmp_path / "out"))
    experiments = {experiment.name: experiment.experiment_id for experiment in client.search_experiments()}
    assert set(experiments) - {"Default"} == {"small", "other"}
    runs = {run.info.run_id: run for run in client.search_runs(list(experiments.values()))}
    assert set(runs) == set(ids(filled))
    (wide,) = [run for run in runs.values() if run.info.run_name == "wide one"]
    params: dict[str, Any] = wide.data.params
    assert (params["width"], params["learning_rate"], params["params"]) == ("64", "0.001", "1000000.0")
    assert (wide.info.status, wide.data.tags["team"], wide.data.tags["web"]) == ("FINISHED", "a b", "true")
    history = client.get_metric_history(wide.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(step, 4.0 / step) for step in range(1, 5)]
    (diverged,) = [run for run in runs.values() if run.data.params.get("width") == "128"]
    assert client.get_metric_history(diverged.info.run_id, "loss")[0].value == math.inf


def test_a_csv_export_is_plain_csv(filled: Lakehouse, tmp_path: Path) -> None:
    export_table(filled.query("SELECT name, tags, loss FROM runs WHERE name = 'wide one'"), tmp_path / "r.csv")
    with open(tmp_path / "r.csv", newline="") as file:
        assert list(csv.reader(file)) == [["name", "tags", "loss"], ["wide one", '["web","team=a b"]', "1.0"]]


def test_metrics_go_out_as_readers_see_them_and_raw_when_asked(lakehouse: Lakehouse) -> None:
    run = RunRecord(family="mine")
    lakehouse.record_runs([run])
    for attempt, start, stop, resumed in ((1, 0, 10, None), (2, 6, 20, 5), (3, 20, 30, 19)):
        with Spool(lakehouse.spool_folder, run.run_id, attempt) as spool:
            spool.started(host="here", device="cpu", resumed_step=resumed)
            for step in range(start, stop):
                spool.log(step, loss=float(attempt), norm=1.0)
    lakehouse.drain()
    curve = lakehouse.query("SELECT step, loss FROM curves ORDER BY step").to_pylist()
    seen = lakehouse.sql(statement_of("metrics")).arrow()
    assert seen.column_names == lakehouse.query("FROM metrics LIMIT 0").column_names
    losses = sorted((row["step"], row["value"]) for row in seen.to_pylist() if row["metric"] == "loss")
    assert losses == [(row["step"], row["loss"]) for row in curve] and len(losses) == 30
    assert seen.num_rows == 60
    assert lakehouse.sql(statement_of("metrics", all_attempts=True)).arrow().num_rows == 2 * 34
