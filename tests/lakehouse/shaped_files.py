"""Files as the field writes them, made in a folder: what trainers, trackers, tuners and spreadsheets leave behind.

Each function writes one file or folder and returns the path that a user would name. The losses lie on
L = 1.7 + 400 / N^0.34 + 410 / D^0.28, so that a number that comes out in a wrong unit is seen.
"""

from __future__ import annotations

import datetime
import decimal
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import yaml
from test_exchange_tensorboard import event, record, scalar

SIZES = {"14M": 14_067_712, "70M": 70_426_624, "160M": 162_322_944, "410M": 405_334_016}  # the Pythia suite's
STEPS = range(100, 1100, 100)
BATCH = 2**19  # tokens a step, nanoGPT's
ISO = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def loss(params: float, tokens: float) -> float:
    return 1.7 + 400 / params**0.34 + 410 / tokens**0.28


def at(step: int, params: float = 124_439_808) -> float:
    return loss(params, step * BATCH)


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def csv(path: Path, rows: Sequence[Mapping[str, Any]], delimiter: str = ",") -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, *([str(row.get(name, "")) for name in names] for row in rows)]
    return written(path, "".join(delimiter.join(line) + "\n" for line in lines))


def trainer_state(folder: Path) -> Path:
    history: list[dict[str, Any]] = []
    for step in STEPS:
        epoch = step / 1000
        history.append(
            {"epoch": epoch, "grad_norm": 0.61, "learning_rate": 3e-4, "loss": round(at(step), 4), "step": step}
        )
        if step % 500 == 0:
            history.append({"epoch": epoch, "eval_loss": at(step) + 0.02, "eval_runtime": 1.9, "step": step})
    history.append({"epoch": 1.0, "step": 1000, "total_flos": 3.9e17, "train_loss": 3.6, "train_runtime": 512.3})
    state = {
        "best_metric": None, "epoch": 1.0, "eval_steps": 500, "global_step": 1000, "is_world_process_zero": True,
        "log_history": history, "logging_steps": 100, "max_steps": 1000, "num_input_tokens_seen": 1000 * BATCH,
        "num_train_epochs": 1, "save_steps": 500, "total_flos": 3.9e17, "train_batch_size": 8, "trial_name": None,
    }  # fmt: skip
    return written(folder / "gpt2-openwebtext" / "trainer_state.json", json.dumps(state, indent=2)).parent


def evaluation_harness(folder: Path) -> Path:
    for name, params in SIZES.items():
        told = {
            "results": {
                "lambada_openai": {"alias": "lambada_openai", "perplexity,none": 12.1, "acc,none": 0.44},
                "arc_easy": {"alias": "arc_easy", "acc,none": 0.4 + 1e-9 * params, "acc_stderr,none": 0.01},
            },
            "config": {
                "model": "hf", "model_args": f"pretrained=EleutherAI/pythia-{name.lower()}",
                "model_num_parameters": params, "batch_size": "16",
            },
            "model_name": f"EleutherAI/pythia-{name.lower()}", "date": 1.7e9,
        }  # fmt: skip
        home = folder / "out" / f"EleutherAI__pythia-{name.lower()}"
        written(home / "results_2026-01-01T00-00-00.000000.json", json.dumps(told))
    return folder / "out"


def wandb_runs_csv(folder: Path) -> Path:
    """The runs table of a project, as its page exports it."""
    rows = [
        {
            "Name": f"pythia-{name}", "State": "finished" if name != "410M" else "crashed", "Notes": "-",
            "User": "someone", "Tags": "", "Created": "2026-01-01T10:00:00.000Z", "Runtime": "5120",
            "Sweep": "", "model.n_params": params, "optimizer.lr": 1e-3, "train/loss": f"{loss(params, 2e10):.6f}",
            "tokens_seen": 20_000_000_000,
        }
        for name, params in SIZES.items()
    ]  # fmt: skip
    return csv(folder / "wandb_export_2026-01-01T10_00_00.000+00_00.csv", rows)


def wandb_chart_csv(folder: Path) -> Path:
    """A chart's data: a column a run, with its bounds."""
    rows = []
    for step in STEPS:
        row: dict[str, Any] = {'"Step"': f'"{step}"'}
        for name, params in SIZES.items():
            for bound in ("", "__MIN", "__MAX"):
                row[f'"pythia-{name} - train/loss{bound}"'] = f'"{at(step, params):.6f}"'
        rows.append(row)
    return csv(folder / "wandb_export.csv", rows)


def wandb_history(folder: Path) -> Path:
    """What `run.history().to_parquet()` leaves."""
    columns = {
        "_step": list(STEPS), "_timestamp": [1.7e9 + step for step in STEPS],
        "_runtime": [0.5 * step for step in STEPS], "train/loss": [at(step) for step in STEPS],
        "val/loss": [at(step) if step % 500 == 0 else None for step in STEPS],
        "tokens": [step * BATCH for step in STEPS],
    }  # fmt: skip
    pq.write_table(pa.table(columns), folder / "history.parquet")
    return folder / "history.parquet"


def mlflow_folder(folder: Path) -> Path:
    experiment = folder / "mlruns" / "1"
    meta = {"artifact_location": "file:///x", "experiment_id": "1", "lifecycle_stage": "active", "name": "scaling"}
    written(experiment / "meta.yaml", yaml.safe_dump(meta))
    for place, (name, params) in enumerate(SIZES.items()):
        run_id = f"{place:032x}"
        home = experiment / run_id
        about = {
            "run_id": run_id, "run_uuid": run_id, "run_name": name, "experiment_id": "1", "status": 3, "tags": [],
            "start_time": 1_700_000_000_000, "end_time": 1_700_000_900_000, "lifecycle_stage": "active",
            "artifact_uri": "file:///x", "user_id": "someone", "source_type": 4, "source_name": "",
            "deleted_time": None, "entry_point_name": "", "source_version": "",
        }  # fmt: skip
        written(home / "meta.yaml", yaml.safe_dump(about))
        written(home / "params" / "num_params", str(params))
        points = [f"{1_700_000_000_000 + step} {at(step, params)} {step}\n" for step in STEPS]
        written(home / "metrics" / "train_loss", "".join(points))
    return folder / "mlruns"


def neptune_export(folder: Path) -> Path:
    time = pa.timestamp("ms", tz="UTC")
    schema = pa.schema(
        [
            ("project_id", pa.string()), ("run_id", pa.string()), ("attribute_path", pa.string()),
            ("attribute_type", pa.string()), ("step", pa.decimal128(18, 6)), ("timestamp", time),
            ("int_value", pa.int64()), ("float_value", pa.float64()), ("string_value", pa.string()),
            ("bool_value", pa.bool_()), ("datetime_value", time), ("string_set_value", pa.list_(pa.string())),
        ]
    )  # fmt: skip
    home = folder / "export" / "lab_scaling_ab12"
    home.mkdir(parents=True)
    for place, params in enumerate(SIZES.values()):
        about = {"project_id": "lab/scaling", "run_id": f"SCAL-{place}"}
        rows = [{**about, "attribute_path": "config/num_params", "attribute_type": "int", "int_value": params}]
        for step in STEPS:
            point = {"attribute_path": "train/loss", "attribute_type": "float_series", "float_value": at(step, params)}
            rows.append({**about, **point, "step": decimal.Decimal(step), "timestamp": ISO})
        pq.write_table(pa.Table.from_pylist(rows, schema), home / f"SCAL-{place}_part_0.parquet")
    return folder / "export"


def tensorboard_events(folder: Path) -> Path:
    for name, params in SIZES.items():
        home = folder / "runs" / f"pythia-{name}"
        home.mkdir(parents=True)
        varint = {step: bytes([16, step & 127 | 128, step >> 7]) for step in STEPS}  # field 2 of an event
        points = [record(event(varint[step], scalar(b"Loss/train", at(step, params)))) for step in STEPS]
        (home / "events.out.tfevents.1700000000.node.1.0").write_bytes(b"".join(points))
    return folder / "runs"


def lightning_logs(folder: Path) -> Path:
    for version, params in enumerate(SIZES.values()):
        home = folder / "lightning_logs" / f"version_{version}"
        rows = [{"epoch": 0, "step": step, "train_loss_step": at(step, params), "val_loss": ""} for step in STEPS]
        rows.append({"epoch": 0, "step": 1000, "train_loss_step": "", "val_loss": at(1000, params) + 0.02})
        csv(home / "metrics.csv", rows)
        written(home / "hparams.yaml", yaml.safe_dump({"n_params": params, "lr": 1e-3, "model": {"d_model": 512}}))
    return folder / "lightning_logs"


def optuna_trials(folder: Path) -> Path:
    """What `study.trials_dataframe().to_csv()` leaves, with pandas's index in front."""
    rows = [
        {
            "": place, "number": place, "value": f"{loss(params, 2e9):.6f}", "datetime_start": "2026-01-01 10:00:00.1",
            "datetime_complete": "2026-01-01 10:10:00.1", "duration": "0 days 00:10:00", "params_learning_rate": 1e-3,
            "params_n_params": params, "system_attrs_x": "", "state": "COMPLETE",
        }
        for place, params in enumerate(SIZES.values())
    ]  # fmt: skip
    return csv(folder / "trials.csv", rows)


def tune_results(folder: Path) -> Path:
    for place, params in enumerate(SIZES.values()):
        home = folder / "ray_results" / "train_2026-01-01" / f"train_ab12c_{place:05d}"
        reports = [
            {
                "loss": at(step, params), "training_iteration": step // 100, "timestamp": 1_700_000_000 + step,
                "time_total_s": step / 2, "done": step == 1000, "trial_id": f"ab12c_{place:05d}",
                "config": {"num_params": params, "lr": 1e-3},
            }
            for step in STEPS
        ]  # fmt: skip
        written(home / "result.json", "".join(json.dumps(report) + "\n" for report in reports))
        written(home / "params.json", json.dumps({"num_params": params, "lr": 1e-3}))
        csv(home / "progress.csv", [{key: value for key, value in row.items() if key != "config"} for row in reports])
    return folder / "ray_results"


def tune_progress(folder: Path) -> Path:
    """One trial's progress.csv, taken out of its folder."""
    rows = [
        {
            "loss": at(step), "time_this_iter_s": 50.0, "done": False, "training_iteration": step // 100,
            "trial_id": "ab12c_00000", "date": "2026-01-01_10-00-00", "timestamp": 1_700_000_000 + step,
            "time_total_s": step / 2, "pid": 1234, "hostname": "node", "config/num_params": SIZES["70M"],
            "config/lr": 1e-3,
        }
        for step in STEPS
    ]  # fmt: skip
    return csv(folder / "progress.csv", rows)


def spreadsheet(folder: Path) -> Path:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["Model", "Params", "Tokens (B)", "Train loss", "Date"])
    for name, params in SIZES.items():
        sheet.append([f"pythia-{name.lower()}", name, 300, loss(params, 3e11), datetime.date(2026, 1, 1)])
    book.save(folder / "sizes.xlsx")
    return folder / "sizes.xlsx"


def compressed(folder: Path) -> Path:
    with gzip.open(folder / "runs.csv.gz", "wt") as file:
        file.write("N,D,loss\n" + "".join(f"{params},2e10,{loss(params, 2e10)}\n" for params in SIZES.values()))
    return folder / "runs.csv.gz"


def zstandard(folder: Path) -> Path:
    lines = [json.dumps({"N": params, "D": 2e10, "loss": loss(params, 2e10)}) for params in SIZES.values()]
    with pa.CompressedOutputStream(pa.OSFile(str(folder / "runs.jsonl.zst"), "wb"), "zstd") as file:
        file.write(("\n".join(lines) + "\n").encode())
    return folder / "runs.jsonl.zst"


def arrow(folder: Path) -> Path:
    columns = {"params": list(SIZES.values()), "tokens": [2e10] * 4, "loss": [loss(n, 2e10) for n in SIZES.values()]}
    feather.write_feather(pa.table(columns), folder / "sizes.feather")  # compressed, as pandas writes it
    return folder / "sizes.feather"
